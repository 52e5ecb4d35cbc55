"""A stop ends what its commit gives up, and nothing else: whoever sends it, and however late it comes."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest

from partsong.bus.jobs import Jobs
from partsong.contracts import events as e
from partsong.contracts.errors import Problem
from partsong.contracts.wire.headers import SEEN
from partsong.contracts.wire.work import WORK, FunctionWork, ToolWork, Work
from partsong.testing.nats import Bus
from tests.support.given_up import broadcast, give_up

PATIENCE = 30.0
SERVICE = "tool-runner"
PASSED_OVER = "stop passed over"


def function(call: str = "f:1") -> FunctionWork:
    return FunctionWork(run_id="r_1", call_id=call, node="f", function="m:f", state={})


def tool(call: str = "f:1") -> ToolWork:
    return ToolWork(run_id="r_1", call_id=call, node="f", tool="charge", args={})


class Worker:
    """Works until it is let go, and notes what was cut short."""

    def __init__(self) -> None:
        self.begun, self.cancelled = list[str](), list[str]()
        self.go = asyncio.Event()

    async def __call__(self, work: Work) -> None:
        self.begun.append(work.call_id)
        try:
            await self.go.wait()
        except asyncio.CancelledError:
            self.cancelled.append(work.call_id)
            raise


@asynccontextmanager
async def at_work(bus: Bus, *works: Work, seen: int = 0) -> AsyncIterator[Worker]:
    """A worker that has begun all of this, the last of which was asked for after the record `seen`."""
    worker, store = Worker(), bus.log()
    jobs = Jobs(bus.nc, bus.subjects, SERVICE, worker, store, slots=8)
    await jobs.start()
    for work in works:
        subject, headers = bus.subjects.work(SERVICE), {SEEN: f"{seen if work is works[-1] else 0}"}
        await bus.nc.jetstream().publish(subject, WORK.dump_json(work), headers=headers)
    await until(lambda: len(worker.begun) == len(works))
    try:
        yield worker
    finally:
        worker.go.set()
        await jobs.drain(PATIENCE)
        await store.close()


async def until(true: Callable[[], bool | Awaitable[bool]]) -> None:
    async with asyncio.timeout(PATIENCE):
        while not (said if isinstance(said := true(), bool) else await said):  # noqa: ASYNC110
            await asyncio.sleep(0.01)


@pytest.mark.parametrize("work", [function(), tool()], ids=["a function", "a tool"])
async def test_what_the_log_gives_up_is_stopped_and_leaves_the_queue(bus: Bus, work: Work) -> None:
    async with at_work(bus, work) as worker:
        await broadcast(bus, "r_1", await give_up(bus, "r_1"))
        await until(lambda: worker.cancelled == ["f:1"])

        async def empty() -> bool:
            return (await bus.nc.jetstream().stream_info(bus.names.work)).state.messages == 0

        await until(empty)


@pytest.mark.parametrize("work", [function(), tool()], ids=["a function", "a tool"])
@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\xff",
        b"{}",
        b"null",
        b'{"commit": 0}',
        b'{"commit": 999}',
        b'{"commit": %s}' % (b"9" * 5_000),
        b'{"commit": 1}',
        b'{"commit": 2}',
        b'{"commit": 3}',
    ],
    ids=lambda body: body.decode(errors="replace")[:16] or "nothing",
)
async def test_what_the_log_does_not_give_up_goes_on(
    bus: Bus, work: Work, body: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    """Whoever is on the bus can say so. 1 gives up another part of the run, 2 another run, 3 is a claim."""
    caplog.set_level(logging.INFO, "partsong.bus")
    await give_up(bus, "r_1", e.NodeCancelled(id="c", exec="g:1"))
    await give_up(bus, "r_2")
    store = bus.log()
    await store.append(bus.subjects.call("r_1", "f:1"), b'{"run":"r_1","events":[]}', id="claim")
    await store.close()
    async with at_work(bus, work) as worker:
        await bus.nc.publish(bus.subjects.stop("r_1"), body)
        await until(lambda: PASSED_OVER in caplog.text)
        assert worker.cancelled == []


async def test_a_stop_that_comes_late_ends_nothing_that_was_asked_for_since(bus: Bus) -> None:
    """The run was retried meanwhile."""
    old = await give_up(bus, "r_1")
    async with at_work(bus, function("old:1"), tool(), seen=old) as worker:
        await broadcast(bus, "r_1", old)
        await until(lambda: bool(worker.cancelled))
        assert worker.cancelled == ["old:1"]


@pytest.mark.parametrize(
    ("event", "owner", "ended"),
    [
        (e.RunStopping(id="s", outcome="failed"), None, ["f:1", "m:1/0/g:1"]),
        (e.NodeCancelled(id="s", exec="f:1"), "f:1", ["f:1"]),
        (
            e.ScopeClosed(id="s", scope="m:1/0", error=Problem(code="x", message="x")),
            "m:1/0",
            ["m:1/0/g:1"],
        ),
    ],
)
async def test_a_stop_ends_the_part_of_its_run_that_is_over_and_what_undoes_never(
    bus: Bus, event: e.Event, owner: str | None, ended: list[str]
) -> None:
    works = function("f:1"), function("m:1/0/g:1"), function("f:1/undo")
    async with at_work(bus, *works) as worker:
        await broadcast(bus, "r_1", await give_up(bus, "r_1", event), owner)
        await until(lambda: sorted(worker.cancelled) == ended)


async def test_a_stop_waits_for_a_log_that_does_not_answer(bus: Bus) -> None:
    """It is broadcast once: given up here, its work would be finished in vain."""
    async with at_work(bus, function()) as worker:
        commit = await give_up(bus, "r_1")
        js = bus.nc.jetstream()
        config = (await js.stream_info(bus.names.log)).config
        await js.update_stream(config, allow_direct=False)
        await broadcast(bus, "r_1", commit)
        await bus.nc.flush()
        assert worker.cancelled == []
        await js.update_stream(config, allow_direct=True)
        await until(lambda: worker.cancelled == ["f:1"])


async def test_a_stop_does_not_stand_behind_those_that_are_passed_over(
    bus: Bus, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "partsong.bus")
    commit, many = await give_up(bus, "r_1"), 200
    async with at_work(bus, function()) as worker:
        for n in range(many):
            await broadcast(bus, "r_1", commit + 1 + n)
        await broadcast(bus, "r_1", commit)
        await until(lambda: worker.cancelled == ["f:1"])
        assert caplog.text.count(PASSED_OVER) < many
