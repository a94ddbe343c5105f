"""What an account says about itself in ``exk.yaml``, checked."""

from __future__ import annotations

from dataclasses import dataclass, fields

from exchange_kernel.errors import ConfigError
from exchange_kernel.venue import Context


@dataclass(frozen=True, slots=True)
class Config:
    """``address``: which the key must sign for; "" for whatever it does. ``chain``: which of those in this process."""

    address: str = ""
    chain: str = "myvenue"

    @classmethod
    def of(cls, ctx: Context) -> Config:
        """From an account's configuration. Raises ConfigError with the key, the value and the rule."""
        known = {each.name for each in fields(cls)}
        for key, value in ctx.config.items():
            if key not in known:
                raise ConfigError(key, value, "is no setting of this venue", f"there are {', '.join(sorted(known))}")
            if not isinstance(value, str) or not value.isprintable() or not value:
                raise ConfigError(key, value, "must be printable text")
        return cls(**ctx.config)


def secret_of(ctx: Context) -> str:
    """The key that signs the account's transactions. Raises ConfigError."""
    secret = ctx.secrets.get("secret", "")
    if not secret:
        raise ConfigError("secrets.secret", "", "is required", "name where it is kept, never the secret itself")
    return secret
