"""Ids made from a seed: the same run gives the same ids."""

from __future__ import annotations

import random
import string

_ALPHABET = string.ascii_letters + string.digits


class SeededIds:
    """Client order ids as Binance makes them: 22 letters and digits."""

    def __init__(self, seed: int = 0) -> None:
        self._random = random.Random(seed)

    def client_id(self) -> str:
        return "".join(self._random.choices(_ALPHABET, k=22))

    def key(self, length: int = 64) -> str:
        return "".join(self._random.choices(_ALPHABET, k=length))
