"""What the tests of whole parts need: a real Redis."""

from __future__ import annotations

from tests.support.redis_server import redis, redis_url

__all__ = ["redis", "redis_url"]
