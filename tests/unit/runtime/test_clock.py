"""The clock: one source for everything, which may be another one in another context."""

from __future__ import annotations

import asyncio
from contextvars import copy_context

from partsong.runtime import clock


class Frozen:
    def wall(self) -> float:
        return 1.5

    def monotonic(self) -> float:
        return 7.0

    def randbits(self, bits: int, /) -> int:
        return 0


def test_a_source_holds_for_its_context_and_the_tasks_that_begin_in_it() -> None:
    async def read() -> tuple[str, float, str]:
        return await asyncio.create_task(later())

    async def later() -> tuple[str, float, str]:
        return clock.now_text(), clock.monotonic(), clock.new_id()

    def simulated() -> tuple[str, float, str]:
        clock.set_source(Frozen())
        return asyncio.run(read())

    clock.set_offset(-0.001)
    try:
        said = copy_context().run(simulated)
    finally:
        clock.set_offset(0.0)
    assert said[:2] == ("1970-01-01T00:00:01.500Z", 7.0)
    assert set(said[2][10:]) == {"0"}, "what is random comes from the source too"
    assert clock.now_text() > "2020"
