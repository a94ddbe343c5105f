"""API keys and their signatures: HMAC, RSA and Ed25519 (rest-api.md, SIGNED Endpoint security)."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass, field

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ed25519, padding, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from exchange_kernel_binance.simulator.errors import ApiError

ALL_PERMISSIONS = frozenset({"TRADE", "USER_DATA", "USER_STREAM"})
STANDARD = frozenset({"enableReading", "enableSpotAndMarginTrading", "enableMargin", "enableFutures", "ipRestrict"})
"""What a key may unless its account's configuration says otherwise."""
PERMISSIONS = (
    "ipRestrict",
    "enableReading",
    "enableWithdrawals",
    "enableInternalTransfer",
    "enableMargin",
    "enableFutures",
    "permitsUniversalTransfer",
    "enableVanillaOptions",
    "enableFixApiTrade",
    "enableFixReadOnly",
    "enableSpotAndMarginTrading",
    "enablePortfolioMarginTrading",
)
"""What Get API Key Permission tells of (Wallet)."""
REFUSED = (-2015, "Invalid API-key, IP, or permissions for action.", 401)


@dataclass(frozen=True, slots=True)
class ApiKey:
    """Who may do what. `secret` signs with HMAC; `public_key` (PEM, RSA or Ed25519) checks the other two kinds."""

    key: str
    account: str
    secret: str = field(default="", repr=False)
    public_key: str = ""
    permissions: frozenset[str] = ALL_PERMISSIONS
    restrictions: Mapping[str, bool] = field(default_factory=dict)

    def allows(self, name: str) -> bool:
        """One of the key's permissions by Binance's name, for example ``enableFutures``."""
        return self.restrictions.get(name, name in STANDARD)

    @property
    def is_ed25519(self) -> bool:
        return bool(self.public_key) and isinstance(
            load_pem_public_key(self.public_key.encode()), ed25519.Ed25519PublicKey
        )

    def verifies(self, payload: bytes, signature: str) -> bool:
        """Whether the signature is this key's over exactly these bytes."""
        if not self.public_key:
            expected = hmac.new(self.secret.encode(), payload, hashlib.sha256).hexdigest()
            return hmac.compare_digest(expected.encode(), signature.lower().encode())
        try:
            raw = base64.b64decode(signature, validate=True)
            key = load_pem_public_key(self.public_key.encode())
            if isinstance(key, ed25519.Ed25519PublicKey):
                key.verify(raw, payload)
            elif isinstance(key, rsa.RSAPublicKey):
                key.verify(raw, payload, padding.PKCS1v15(), SHA256())
            else:
                return False
        except (InvalidSignature, binascii.Error):
            return False
        return True


class KeyRing:
    """The keys the exchange knows."""

    def __init__(self) -> None:
        self._keys: dict[str, ApiKey] = {}

    def add(self, key: ApiKey) -> None:
        self._keys[key.key] = key

    def revoke(self, key: str) -> None:
        self._keys.pop(key, None)

    def known(self, key: str | None, permission: str) -> ApiKey:
        """:raises ApiError: -2014 where no key was sent or it has no key's shape, -2015 where it may not do this."""
        if not key or not key.isascii() or not key.isalnum():
            raise ApiError(-2014, "API-key format invalid.", 401)
        found = self._keys.get(key)
        if found is None or (permission and permission not in found.permissions):
            raise ApiError(*REFUSED)
        return found


def permitted(key: ApiKey, path: str, security: str) -> None:
    """:raises ApiError: -2015 where the key's permissions do not cover such a request."""
    needed = "enableFutures" if path.startswith("/fapi") else "enableReading"
    if security == "TRADE" and not path.startswith("/fapi"):
        needed = "enableSpotAndMarginTrading"
    if not key.allows(needed):
        raise ApiError(*REFUSED)


def signed(key: ApiKey, payload: bytes, signature: str) -> None:
    """:raises ApiError: -1022."""
    if not key.verifies(payload, signature):
        raise ApiError(-1022, "Signature for this request is not valid.")


def timely(timestamp: int, window: float, now: int) -> None:
    """The recvWindow rule; ms, or microseconds where the number is that long. :raises ApiError: -1021."""
    sent = timestamp / 1000 if timestamp >= 10**15 else timestamp
    if sent >= now + 1000:
        raise ApiError(-1021, "Timestamp for this request was 1000ms ahead of the server's time.")
    if now - sent > window:
        raise ApiError(-1021, "Timestamp for this request is outside of the recvWindow.")
