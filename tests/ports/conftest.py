"""What the suites of the ports need: a real Redis."""

from __future__ import annotations

from tests.support.redis_server import redis, redis_url

__all__ = ["redis", "redis_url"]
