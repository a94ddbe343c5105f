"""What an account says about itself in ``exk.yaml``, checked."""

from __future__ import annotations

from dataclasses import dataclass, fields

from exchange_kernel.errors import ConfigError
from exchange_kernel.venue import Context


@dataclass(frozen=True, slots=True)
class Config:
    """``account``: its name at the venue. ``exchange``: which of the exchanges in this process, by name."""

    account: str
    exchange: str = "myvenue"

    @classmethod
    def of(cls, ctx: Context) -> Config:
        """From an account's configuration. Raises ConfigError with the key, the value and the rule."""
        known = {each.name for each in fields(cls)}
        for key, value in ctx.config.items():
            if key not in known:
                raise ConfigError(key, value, "is no setting of this venue", f"there are {', '.join(sorted(known))}")
            if not isinstance(value, str) or not value.isprintable() or not value:
                raise ConfigError(key, value, "must be printable text")
        return cls(**{"account": ctx.account, **ctx.config})


def secret_of(ctx: Context) -> str:
    """The key that signs the account's requests. Raises ConfigError."""
    secret = ctx.secrets.get("secret", "")
    if not secret:
        raise ConfigError("secrets.secret", "", "is required", "name where it is kept, never the secret itself")
    return secret
