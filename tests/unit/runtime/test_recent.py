"""What is kept under names that others choose has an end."""

from __future__ import annotations

import asyncio

from partsong.approval.hub import TOO_SLOW, Hub
from partsong.models.guard import Guard
from partsong.models.limiter import MODELS, RateLimiter, Whom
from partsong.runtime.recent import Recent


def test_the_key_that_was_set_longest_ago_goes_first() -> None:
    kept: Recent[str, int] = Recent(2)
    kept["a"], kept["b"] = 1, 1
    kept["a"] = 2
    kept["c"] = 1
    assert dict(kept) == {"a": 2, "c": 1}


async def test_models_that_anybody_may_name_take_no_room_and_the_one_in_use_keeps_its_limit() -> (
    None
):
    limiter = RateLimiter(requests=1, per=3600.0)
    guard = Guard(limiter, lambda: 0.0)
    whom = Whom("openai:mine")
    await limiter.admit(whom)
    for number in range(3 * MODELS):
        if number % 100 == 0:
            limiter.hold(whom, 1.0)
        await guard.enter(f"made-up:{number}")
    assert len(limiter._quotas) == len(guard.breakers) == MODELS
    waiting = asyncio.ensure_future(limiter.admit(whom))
    done, _ = await asyncio.wait({waiting}, timeout=0.05)
    assert not done, "it had its one request"
    waiting.cancel()


async def test_one_viewer_too_many_is_sent_away() -> None:
    hub = Hub(viewers=1)
    with hub.join() as first:
        with hub.join() as second:
            await asyncio.wait_for(second.over(), 30)
            assert second.code == TOO_SLOW
        assert not first._over.is_set()
        with hub.join() as third:
            assert third._over.is_set()
    with hub.join() as later:
        assert not later._over.is_set()
