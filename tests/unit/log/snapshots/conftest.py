"""A real Redis, for the store that keeps snapshots there."""

from __future__ import annotations

from tests.support.redis_server import redis, redis_url

__all__ = ["redis", "redis_url"]
