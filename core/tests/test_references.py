"""Where secrets are: files that nobody else may read, and the keyring of the operating system."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import keyring
import pytest
from keyring.backend import KeyringBackend
from keyring.errors import KeyringLocked

from exchange_kernel.config import Reference
from exchange_kernel.errors import ConfigError

CANARY = "canary-8c21"


class Ring(KeyringBackend):
    """A keyring in memory. One entry of it is locked."""

    priority = 1  # type: ignore[assignment]

    def __init__(self) -> None:
        super().__init__()
        self.entries = {("exk", "main/key"): CANARY, ("exk", "empty"): ""}

    def get_password(self, service: str, username: str) -> str | None:
        if username == "locked":
            raise KeyringLocked(f"the entry {CANARY} is locked")
        return self.entries.get((service, username))

    def set_password(self, service: str, username: str, password: str) -> None:
        self.entries[service, username] = password

    def delete_password(self, service: str, username: str) -> None:
        del self.entries[service, username]


@pytest.fixture
def ring() -> Iterator[None]:
    """The process' keyring is one in memory."""
    before = keyring.get_keyring()
    keyring.set_keyring(Ring())
    yield
    keyring.set_keyring(before)


@pytest.mark.parametrize("mode", [0o400, 0o440, 0o600, 0o640])
def test_a_file_that_its_owner_keeps_is_read(mode: int, tmp_path: Path) -> None:
    """Its owner's group may read a secret, as service managers set it up."""
    (tmp_path / "key").write_text(f"{CANARY}\n")
    (tmp_path / "key").chmod(mode)
    assert Reference("file:key", tmp_path).resolve("x") == CANARY


@pytest.mark.parametrize(
    ("mode", "who"), [(0o644, "read"), (0o604, "read"), (0o602, "changed"), (0o660, "changed"), (0o777, "read")]
)
def test_a_file_that_others_can_reach_is_refused(mode: int, who: str, tmp_path: Path) -> None:
    """A secret that other users of the machine can read is none, and one they can change is somebody else's."""
    (tmp_path / "key").write_text(CANARY)
    (tmp_path / "key").chmod(mode)
    with pytest.raises(ConfigError) as caught:
        Reference("file:key", tmp_path).resolve("accounts.a.secrets.key")
    assert f"can be {who} by other users of this machine (mode {mode:04o}); chmod 600" in str(caught.value)
    assert CANARY not in str(caught.value)


def test_a_link_is_judged_by_the_file_it_leads_to(tmp_path: Path) -> None:
    """The mode that counts is that of what is read, not of a link to it."""
    (tmp_path / "open").write_text(CANARY)
    (tmp_path / "open").chmod(0o644)
    (tmp_path / "key").symlink_to("open")
    with pytest.raises(ConfigError, match="can be read by other users"):
        Reference("file:key", tmp_path).resolve("x")


@pytest.mark.usefixtures("ring")
def test_the_keyring_gives_its_entry(tmp_path: Path) -> None:
    """Service and user are split at the first slash."""
    assert Reference("keyring:exk/main/key", tmp_path).resolve("x") == CANARY


@pytest.mark.usefixtures("ring")
@pytest.mark.parametrize(
    ("entry", "said"),
    [
        ("keyring:exk/none", "this keyring has no such entry; put it there: keyring set exk none"),
        ("keyring:exk/empty", "this keyring has no such entry"),
        ("keyring:exk/locked", "cannot be read: KeyringLocked"),
    ],
)
def test_a_keyring_without_it_says_what_to_do(entry: str, said: str, tmp_path: Path) -> None:
    """Nothing there, or a locked keyring: the error names the entry, and repeats nothing that the keyring said."""
    with pytest.raises(ConfigError) as caught:
        Reference(entry, tmp_path).resolve("accounts.a.secrets.key")
    assert str(caught.value).startswith(f"accounts.a.secrets.key '{entry}': {said}")
    assert CANARY not in str(caught.value)
