"""Suspects: what may have killed a worker runs alone at first, and keeps the others waiting no longer than that."""

from __future__ import annotations

import asyncio

from partsong.bus.suspects import Suspects

FOREVER = (3600.0,)
AT_ONCE = (0.0,)
PATIENCE = 30.0


class Jobs:
    """Jobs that run until they are let go."""

    def __init__(self, suspects: Suspects) -> None:
        self._suspects = suspects
        self.running: list[str] = []
        self._go: dict[str, asyncio.Event] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}

    def begin(self, name: str, deaths: int = 0) -> None:
        self._go[name] = asyncio.Event()
        self._tasks[name] = asyncio.create_task(self._run(name, deaths))

    async def end(self, name: str) -> None:
        self._go[name].set()
        await self._tasks[name]

    async def cancel(self, name: str) -> None:
        self._tasks[name].cancel()
        await asyncio.gather(self._tasks[name], return_exceptions=True)

    async def settled(self) -> list[str]:
        """Who runs when nobody can begin any more without an end of somebody else."""
        for _ in range(50):
            await asyncio.sleep(0)
        return sorted(self.running)

    async def until(self, *names: str) -> None:
        async with asyncio.timeout(PATIENCE):
            while sorted(self.running) != sorted(names):  # noqa: ASYNC110
                await asyncio.sleep(0.005)

    async def _run(self, name: str, deaths: int) -> None:
        async with self._suspects.admitted(deaths):
            self.running.append(name)
            try:
                await self._go[name].wait()
            finally:
                self.running.remove(name)


async def test_what_nobody_suspects_runs_beside_anything() -> None:
    jobs = Jobs(Suspects(FOREVER))
    for name in "abc":
        jobs.begin(name)
    assert await jobs.settled() == ["a", "b", "c"]


async def test_a_suspect_waits_for_the_others_and_runs_alone() -> None:
    jobs = Jobs(Suspects(FOREVER))
    jobs.begin("a")
    await jobs.settled()
    jobs.begin("suspect", deaths=1)
    jobs.begin("later")
    assert await jobs.settled() == ["a"]
    await jobs.end("a")
    assert await jobs.settled() == ["suspect"]
    await jobs.end("suspect")
    assert await jobs.settled() == ["later"]


async def test_suspects_run_one_after_the_other_and_the_others_when_they_came() -> None:
    jobs = Jobs(Suspects(FOREVER))
    jobs.begin("first", deaths=1)
    await jobs.settled()
    jobs.begin("between")
    jobs.begin("second", deaths=1)
    assert await jobs.settled() == ["first"]
    await jobs.end("first")
    assert await jobs.settled() == ["between"]
    await jobs.end("between")
    assert await jobs.settled() == ["second"]


async def test_a_suspect_that_has_been_alone_for_long_enough_is_joined_by_the_others() -> None:
    jobs = Jobs(Suspects(AT_ONCE))
    jobs.begin("suspect", deaths=1)
    await jobs.until("suspect")
    jobs.begin("later")
    await jobs.until("suspect", "later")


async def test_a_suspect_does_not_wait_for_ever_for_what_takes_long() -> None:
    jobs = Jobs(Suspects(AT_ONCE))
    jobs.begin("long")
    await jobs.until("long")
    jobs.begin("suspect", deaths=1)
    await jobs.until("long", "suspect")


async def test_the_more_workers_died_the_longer_it_is_alone() -> None:
    jobs = Jobs(Suspects((0.0, 3600.0)))
    jobs.begin("again", deaths=7)
    await jobs.settled()
    jobs.begin("later")
    assert await jobs.settled() == ["again"]
    await jobs.end("again")
    assert await jobs.settled() == ["later"]


async def test_a_suspect_that_is_cancelled_keeps_nobody_waiting() -> None:
    jobs = Jobs(Suspects(FOREVER))
    jobs.begin("a")
    await jobs.settled()
    jobs.begin("waits", deaths=1)
    jobs.begin("later")
    await jobs.settled()
    await jobs.cancel("waits")
    assert await jobs.settled() == ["a", "later"]
    await jobs.end("a")
    await jobs.end("later")
    jobs.begin("runs", deaths=1)
    assert await jobs.settled() == ["runs"]
    await jobs.cancel("runs")
    jobs.begin("last")
    assert await jobs.settled() == ["last"]


async def test_others_wait_for_one_suspect_and_not_for_the_line_of_them() -> None:
    jobs = Jobs(Suspects(FOREVER))
    for name in ("s1", "s2", "s3"):
        jobs.begin(name, deaths=3)
    await jobs.settled()
    jobs.begin("short")
    assert await jobs.settled() == ["s1"]
    await jobs.end("s1")
    assert await jobs.settled() == ["short"], "the next suspect is alone, too"
    await jobs.end("short")
    assert await jobs.settled() == ["s2"]


async def test_one_that_is_cancelled_as_it_is_let_in_does_not_count_as_running() -> None:
    jobs = Jobs(Suspects(FOREVER))
    jobs.begin("s1", deaths=1)
    jobs.begin("s2", deaths=1)
    await jobs.settled()
    jobs.begin("short")
    jobs.begin("away")
    await jobs.settled()
    await jobs.cancel("away")
    await jobs.end("s1")
    await jobs.cancel("short")
    assert await jobs.settled() == ["s2"]
