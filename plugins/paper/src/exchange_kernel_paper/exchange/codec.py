"""JSON on the wire, both ways."""

from __future__ import annotations

from typing import Any

import msgspec


def _refuse(value: object) -> object:
    raise TypeError(f"{type(value).__name__} does not go over the wire")


_encoder = msgspec.json.Encoder(enc_hook=_refuse)
_decoder = msgspec.json.Decoder()


def encode(value: Any) -> bytes:
    """``value`` as JSON. Raises TypeError for what JSON has no words for."""
    return _encoder.encode(value)


def decode(data: bytes) -> Any:
    """What the JSON in ``data`` says. Raises ValueError."""
    try:
        return _decoder.decode(data)
    except (msgspec.DecodeError, RecursionError) as error:
        raise ValueError(f"not JSON: {error}") from None
