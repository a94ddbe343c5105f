"""References to secrets: the configuration says where one is, never what it is."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from exchange_kernel.errors import ConfigError

LARGEST: Final = 65_536
FORMS: Final = "env:NAME, file:PATH or keyring:SERVICE/USER"
PATTERN: Final = (
    r"env:(?P<env>[A-Za-z_][A-Za-z0-9_]*)|file:(?P<file>[^\x00-\x1f]+)"
    r"|keyring:(?P<service>[^\x00-\x1f/]+)/(?P<user>[^\x00-\x1f]+)"
)
TOO_OPEN: Final = stat.S_IWGRP | stat.S_IRWXO
"""A secret's file may be read by its owner's group at most: anybody else on the machine must not even read it."""

_FORM = re.compile(PATTERN).fullmatch


def is_reference(text: str) -> bool:
    """Has this text one of the :data:`FORMS`?"""
    return _FORM(text) is not None


@dataclass(frozen=True, slots=True)
class Reference:
    """One of the :data:`FORMS`; ``folder``: where relative paths begin. Showing it shows no secret."""

    text: str
    folder: Path

    def resolve(self, field: str, environment: Mapping[str, str] | None = None) -> str:
        """The secret itself; the end of a file's last line is not part of it. ``field`` names the key in errors.

        Raises ConfigError when there is none, it is empty, or it cannot be read."""
        form = _FORM(self.text)
        assert form is not None, "made from a text that is_reference"
        if form["env"] is not None:
            value = (os.environ if environment is None else environment).get(form["env"])
            if not value:
                raise ConfigError(field, self.text, "this environment variable is not set", "set it and start again")
            return value
        if form["service"] is not None:
            return self._from_keyring(field, form["service"], form["user"])
        return self._from_file(field, self.folder / Path(form["file"]).expanduser())

    def _from_keyring(self, field: str, service: str, user: str) -> str:
        """From the operating system's store of passwords, which may ask its user to unlock it."""
        try:
            import keyring
            from keyring.errors import KeyringError
        except ImportError:
            hint = 'pip install "exchange-kernel[keyring]"'
            raise ConfigError(field, self.text, "needs the package keyring, which is not installed", hint) from None
        try:
            value = keyring.get_password(service, user)
        except KeyringError as error:
            rule = f"cannot be read: {type(error).__name__}"
            raise ConfigError(
                field, self.text, rule, "`keyring diagnose` tells about the keyring of this user"
            ) from None
        if not value:
            hint = f"put it there: keyring set {service} {user}"
            raise ConfigError(field, self.text, "this keyring has no such entry", hint)
        return value

    def _from_file(self, field: str, path: Path) -> str:
        try:
            with path.open("rb") as file:
                # Of the file that is open: not of one that was there a moment ago.
                mode = os.fstat(file.fileno()).st_mode
                raw = file.read(LARGEST + 1)
        except OSError as error:
            raise ConfigError(field, self.text, f"cannot be read: {error.strerror}") from None
        if os.name == "posix" and mode & TOO_OPEN:
            who = "read" if mode & stat.S_IROTH else "changed"
            rule = f"can be {who} by other users of this machine (mode {stat.S_IMODE(mode):04o})"
            raise ConfigError(field, self.text, rule, "chmod 600 the file; if others had access, change the secret")
        if len(raw) > LARGEST:
            raise ConfigError(field, self.text, f"is larger than {LARGEST} bytes: not a secret")
        try:
            value = raw.decode().removesuffix("\n").removesuffix("\r")
        except UnicodeDecodeError:
            raise ConfigError(field, self.text, "is not UTF-8 text") from None
        if not value:
            raise ConfigError(field, self.text, "is empty")
        return value
