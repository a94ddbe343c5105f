"""Signatures of an API key's three kinds: HMAC, RSA and Ed25519 (web-socket-api.md, Request security)."""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Callable, Mapping

from cryptography.hazmat.primitives.asymmetric import ed25519, padding, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from exchange_kernel.errors import ConfigError

Sign = Callable[[str], str]


def signer(secret: str) -> Sign:
    """Signs payloads with this secret: text, or an RSA or Ed25519 private key as PEM. Raises ConfigError."""
    if "PRIVATE KEY" not in secret:
        shared = secret.encode()
        return lambda payload: hmac.new(shared, payload.encode(), hashlib.sha256).hexdigest()
    try:
        key = load_pem_private_key(secret.encode(), None)
    except (ValueError, TypeError):
        raise ConfigError("secrets.secret", "", "is no PEM of a private key without a password") from None
    if isinstance(key, ed25519.Ed25519PrivateKey):
        return lambda payload: base64.b64encode(key.sign(payload.encode())).decode()
    if isinstance(key, rsa.RSAPrivateKey):
        return lambda payload: base64.b64encode(key.sign(payload.encode(), padding.PKCS1v15(), SHA256())).decode()
    raise ConfigError("secrets.secret", "", "is neither an RSA nor an Ed25519 key")


def signed_frame(fields: Mapping[str, str | int], sign: Sign) -> dict[str, str | int]:
    """Parameters of a WebSocket request with their signature, over the fields sorted by name."""
    payload = "&".join(f"{name}={fields[name]}" for name in sorted(fields))
    return {**fields, "signature": sign(payload)}
