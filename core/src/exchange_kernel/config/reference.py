"""References to secrets: the configuration says where one is, never what it is."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from exchange_kernel.errors import ConfigError

LARGEST = 65_536

_FORM = re.compile(r"env:(?P<env>[A-Za-z_][A-Za-z0-9_]*)|file:(?P<file>[^\x00-\x1f]+)").fullmatch


def is_reference(text: str) -> bool:
    """Has this text the form ``env:NAME`` or ``file:PATH``?"""
    return _FORM(text) is not None


@dataclass(frozen=True, slots=True)
class Reference:
    """``env:NAME`` or ``file:PATH``; ``folder``: where relative paths begin. Showing it shows no secret."""

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
        path = self.folder / Path(form["file"]).expanduser()
        try:
            raw = path.read_bytes()
        except OSError as error:
            raise ConfigError(field, self.text, f"cannot be read: {error.strerror}") from None
        if len(raw) > LARGEST:
            raise ConfigError(field, self.text, f"is larger than {LARGEST} bytes: not a secret")
        try:
            value = raw.decode().removesuffix("\n").removesuffix("\r")
        except UnicodeDecodeError:
            raise ConfigError(field, self.text, "is not UTF-8 text") from None
        if not value:
            raise ConfigError(field, self.text, "is empty")
        return value
