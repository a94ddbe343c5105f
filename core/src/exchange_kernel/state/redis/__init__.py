"""What several processes share beside SQL, on Redis or Valkey: hints and copies that may vanish at any moment (S13)."""

from exchange_kernel.state.redis.link import LinkDown, RedisLink, Script

__all__ = ["LinkDown", "RedisLink", "Script"]
