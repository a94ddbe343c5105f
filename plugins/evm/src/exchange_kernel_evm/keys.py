"""Who signs. A key comes from an encrypted keystore or a named secret, and leaves this module never.

It is in no attribute, so that no repr, log, error, copy or pickle can show it.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NoReturn, Protocol

from coincurve import PrivateKey
from eth_account import Account
from eth_account.messages import encode_typed_data
from eth_keyfile.keyfile import decode_keyfile_json

from exchange_kernel.errors import ConfigError, NotAuthorized
from exchange_kernel_evm.transactions import Unsigned

__all__ = ["LocalSigner", "Signer", "signer_of"]

_KEY_CHARS = 64


class Signer(Protocol):
    """Signs for one address. A remote one implements this; what it answers is checked before it is used."""

    @property
    def address(self) -> str:
        """With its checksum."""
        ...

    async def sign(self, transaction: Unsigned) -> bytes:
        """The signed transaction's bytes. Raises NotAuthorized, Unavailable."""
        ...

    async def sign_typed(self, message: Mapping[str, Any]) -> bytes:
        """The signature of EIP-712 data: 65 bytes. Raises NotAuthorized, Unavailable."""
        ...


class LocalSigner:
    """Signs with a key in this process' memory."""

    __slots__ = ("_sign", "_sign_typed", "address")

    def __init__(self, key: bytes) -> None:
        try:
            account = Account.from_key(key)
        except Exception:  # noqa: BLE001 - the messages of eth-keys show what they were given
            raise ConfigError("secrets.key", "", "is no private key of 32 bytes") from None
        self.address: str = account.address
        # Kept in closures: an attribute is what repr, copy and pickle look at.
        secret = PrivateKey(bytes(account.key))
        self._sign: Callable[[bytes], bytes] = lambda digest: secret.sign_recoverable(digest, hasher=None)
        self._sign_typed: Callable[[dict[str, Any]], bytes] = lambda message: bytes(
            account.sign_message(encode_typed_data(full_message=message)).signature
        )

    async def sign(self, transaction: Unsigned) -> bytes:
        found = self._sign(transaction.digest())
        return transaction.signed(found[64], int.from_bytes(found[:32], "big"), int.from_bytes(found[32:64], "big"))

    async def sign_typed(self, message: Mapping[str, Any]) -> bytes:
        return self._sign_typed(dict(message))

    def __repr__(self) -> str:
        return f"LocalSigner({self.address})"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a signer is neither copied nor pickled: it holds a key")

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        raise TypeError("a signer is neither copied nor pickled: it holds a key")


class NoSigner:
    """Stands for an address that is only looked at, and signs nothing."""

    __slots__ = ("address",)

    def __init__(self, address: str) -> None:
        self.address = address

    async def sign(self, transaction: Unsigned) -> bytes:
        raise NotAuthorized(f"{self.address} is only observed: there is no key")

    async def sign_typed(self, message: Mapping[str, Any]) -> bytes:
        raise NotAuthorized(f"{self.address} is only observed: there is no key")


async def signer_of(secrets: Mapping[str, str], keystore: str = "", *, watched: str = "") -> Signer:
    """The signer an account's secrets make.

    ``secrets["key"]``: 32 bytes in hex, from wherever the account's configuration says (an environment variable, a
    secret file). Or ``keystore``: path of an encrypted keystore (version 3, scrypt), and ``secrets["password"]``.
    ``watched``: an address that is only looked at; where it is given and no key is, nobody signs.

    Raises ConfigError where neither or both are there or the file is no such keystore, NotAuthorized for a wrong
    password.
    """
    if watched and not secrets.get("key") and not keystore:
        return NoSigner(watched)
    if bool(secrets.get("key")) == bool(keystore):
        raise ConfigError(
            "secrets.key",
            "",
            "or a keystore must be given, and not both",
            "name where it is kept, never the key itself",
        )
    if keystore:
        return await asyncio.to_thread(_from_keystore, Path(keystore), secrets.get("password", ""))
    text = secrets["key"].strip().removeprefix("0x")
    try:
        key = bytes.fromhex(text)
    except ValueError:
        key = b""
    if len(text) != _KEY_CHARS or len(key) * 2 != _KEY_CHARS:
        raise ConfigError("secrets.key", "", "is no private key: 64 hexadecimal digits")
    return LocalSigner(key)


def _from_keystore(path: Path, password: str) -> LocalSigner:
    try:
        content = json.loads(path.read_text("utf-8"))
    except OSError as error:
        raise ConfigError("keystore", str(path), "cannot be read", type(error).__name__) from None
    except ValueError:
        raise ConfigError("keystore", str(path), "is no JSON") from None
    crypto = content.get("crypto", content.get("Crypto")) if isinstance(content, dict) else None
    if not isinstance(crypto, dict) or crypto.get("kdf") != "scrypt":
        raise ConfigError("keystore", str(path), "is no encrypted keystore of version 3 with scrypt")
    try:
        key = decode_keyfile_json(content, password.encode())
    except ValueError:
        raise NotAuthorized(f"the password does not open the keystore {path.name}") from None
    except Exception as error:  # noqa: BLE001 - whatever a broken file makes the decoder do
        raise ConfigError("keystore", str(path), f"cannot be decrypted ({type(error).__name__})") from None
    return LocalSigner(bytes(key))
