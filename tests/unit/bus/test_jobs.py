"""Jobs on a real work queue: slots, repeats, stops, failures, dead letters, drain."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest
from nats.aio.msg import Msg
from pydantic import JsonValue

from partsong.bus.claims import claimed_by
from partsong.bus.handling import Busy
from partsong.bus.jobs import Jobs
from partsong.bus.parts import Parts
from partsong.contracts import events as e
from partsong.contracts.errors import InvalidInput, Unavailable
from partsong.contracts.events.envelope import decode, encode_report
from partsong.contracts.graph import AgentSpec
from partsong.contracts.wire.headers import BLOB, SEEN
from partsong.contracts.wire.work import WORK, FunctionWork, HookWork, ToolWork, TurnWork, Work
from partsong.runtime import logs
from partsong.runtime.visible import visible
from partsong.testing.nats import Bus
from tests.support.given_up import broadcast, give_up

PATIENCE = 30.0
SERVICE = "tool-runner"


def hint(call: str = "f:1", run: str = "r_1", attempt: int = 1) -> FunctionWork:
    return FunctionWork(
        run_id=run, call_id=call, node="f", attempt=attempt, function="m:f", state={}
    )


async def publish(bus: Bus, *works: Work) -> None:
    """Without ids, so that the same hint can be in the queue twice."""
    for work in works:
        subject = bus.subjects.work(SERVICE)
        await bus.nc.jetstream().publish(subject, WORK.dump_json(work))


async def left(bus: Bus) -> int:
    return (await bus.nc.jetstream().stream_info(bus.names.work)).state.messages


async def until(what: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(PATIENCE):
        while not await what():  # noqa: ASYNC110 — the server has no event for it
            await asyncio.sleep(0.01)


async def worked_off(bus: Bus) -> None:
    async def empty() -> bool:
        return await left(bus) == 0

    await until(empty)


async def dead_letters(bus: Bus, count: int) -> list[dict[str, JsonValue]]:
    sub = await bus.nc.jetstream().subscribe(bus.subjects.dead(SERVICE), ordered_consumer=True)
    found = [json.loads((await sub.next_msg(timeout=PATIENCE)).data) for _ in range(count)]
    await sub.unsubscribe()
    return found


@asynccontextmanager
async def working(
    bus: Bus,
    work: Callable[[Work], Awaitable[None]],
    *,
    slots: int = 8,
    most: int = 20,
    drain: float = 10.0,
) -> AsyncIterator[Jobs]:
    store = bus.log()
    jobs = Jobs(bus.nc, bus.subjects, SERVICE, work, store, slots=slots, most=most)
    await jobs.start()
    try:
        yield jobs
    finally:
        await jobs.drain(drain)
        await store.close()


class Worker:
    """Notes what it is given; works until it is let go, if it is told to wait."""

    def __init__(self, *, wait: bool = False) -> None:
        self.begun: list[str] = []
        self.done: list[str] = []
        self.cancelled: list[str] = []
        self._queue: asyncio.Queue[str] = asyncio.Queue()
        self.go = asyncio.Event()
        if not wait:
            self.go.set()

    async def __call__(self, work: Work) -> None:
        self.begun.append(work.id)
        self._queue.put_nowait(work.id)
        try:
            await self.go.wait()
        except asyncio.CancelledError:
            self.cancelled.append(work.id)
            raise
        self.done.append(work.id)

    async def next(self) -> str:
        async with asyncio.timeout(PATIENCE):
            return await self._queue.get()


async def test_hints_are_worked_off_and_leave_the_queue(bus: Bus) -> None:
    worker = Worker()
    async with working(bus, worker):
        await publish(bus, hint("a"), hint("b"))
        await worked_off(bus)
    assert worker.done == [hint("a").id, hint("b").id]


async def test_no_more_run_at_once_than_there_are_slots(bus: Bus) -> None:
    running = most = 0
    together = asyncio.Barrier(3)

    async def work(_: Work) -> None:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await together.wait()
        await asyncio.sleep(0.01)
        running -= 1

    async with working(bus, work, slots=3):
        await publish(bus, *(hint(f"f:{i}") for i in range(21)))
        await worked_off(bus)
    assert most == 3


async def test_a_job_may_take_longer_than_the_queue_waits(bus: Bus) -> None:
    worker = Worker(wait=True)
    said: asyncio.Queue[bytes] = asyncio.Queue()

    async def answered(msg: Msg) -> None:
        if f".{bus.names.work}." in msg.subject:
            said.put_nowait(msg.data)

    await bus.nc.subscribe("$JS.ACK.>", cb=answered)
    async with working(bus, worker) as jobs:
        await publish(bus, hint())
        await worker.next()
        async with asyncio.timeout(PATIENCE):
            beats = [await said.get() for _ in range(5)]  # half a second apart; the queue waits two
        assert set(beats) == {b"+WPI"}
        assert jobs.in_flight == 1
        worker.go.set()
        await worked_off(bus)
    assert worker.begun == [hint().id]


async def test_a_hint_that_comes_again_while_its_job_runs_starts_no_second_one(bus: Bus) -> None:
    worker = Worker(wait=True)
    consumer = await bus.nc.jetstream().consumer_info(bus.names.work, SERVICE)
    assert consumer.config.ack_wait == 2
    async with working(bus, worker) as jobs:
        assert jobs._ticker is not None
        jobs._ticker.cancel()  # as if the loop had been blocked for longer than the ack wait
        await publish(bus, hint())
        await worker.next()

        async def redelivered() -> bool:
            return any(job.delivery.num_delivered > 1 for job in jobs._jobs.values())

        await until(redelivered)
        worker.go.set()
        await worked_off(bus)
    assert worker.begun == [hint().id]


async def test_a_second_copy_of_a_running_hint_is_dropped(bus: Bus) -> None:
    worker = Worker(wait=True)
    async with working(bus, worker):
        await publish(bus, hint(), hint(), hint("other"))
        assert {await worker.next(), await worker.next()} == {hint().id, hint("other").id}

        async def two_left() -> bool:
            return await left(bus) == 2

        await until(two_left)
        worker.go.set()
        await worked_off(bus)
    assert worker.begun.count(hint().id) == 1


async def test_the_next_attempt_is_not_a_copy(bus: Bus) -> None:
    worker = Worker(wait=True)
    async with working(bus, worker):
        await publish(bus, hint(), hint(attempt=2))
        assert [await worker.next(), await worker.next()] == [hint().id, hint(attempt=2).id]
        worker.go.set()
        await worked_off(bus)


async def test_a_stop_cancels_the_jobs_of_its_run_only(bus: Bus) -> None:
    worker = Worker(wait=True)
    async with working(bus, worker):
        await publish(bus, hint(run="r_1"), hint(run="r_2"))
        await worker.next()
        await worker.next()
        await broadcast(bus, "r_1", await give_up(bus, "r_1"))

        async def one_left() -> bool:
            return await left(bus) == 1

        await until(one_left)
        worker.go.set()
        await worked_off(bus)
    assert worker.cancelled == [hint(run="r_1").id]
    assert worker.done == [hint(run="r_2").id]


async def test_what_fails_is_delivered_again_until_it_works(bus: Bus) -> None:
    tries = 0

    async def work(_: Work) -> None:
        nonlocal tries
        tries += 1
        if tries == 1:
            raise Unavailable("x.down", "not now", retryable=True)
        if tries == 2:
            raise Busy

    async with working(bus, work):
        await publish(bus, hint())
        await worked_off(bus)
    assert tries == 3


async def test_what_fails_too_often_becomes_a_dead_letter_with_the_reason(bus: Bus) -> None:
    tries = 0

    async def work(_: Work) -> None:
        nonlocal tries
        tries += 1
        raise ZeroDivisionError("by nought")

    async with working(bus, work, most=2):
        await publish(bus, hint())
        await worked_off(bus)
        (letter,) = await dead_letters(bus, 1)
    assert tries == 2
    assert letter["deliveries"] == 2
    assert letter["subject"] == bus.subjects.work(SERVICE)
    assert letter["seq"] == 1
    assert letter["body"] == WORK.dump_json(hint()).decode()
    assert isinstance(letter["reason"], dict)
    assert letter["reason"]["code"] == "worker.fault"
    assert letter["reason"]["message"] == "ZeroDivisionError: by nought"


@pytest.mark.parametrize("body", [b"\xff\x00", b"{}", b"[]", b'{"kind":"function","run_id":"r"}'])
async def test_what_cannot_be_read_becomes_a_dead_letter_at_once(bus: Bus, body: bytes) -> None:
    worker = Worker()
    async with working(bus, worker):
        await bus.nc.jetstream().publish(bus.subjects.work(SERVICE), body)
        (letter,) = await dead_letters(bus, 1)
        await worked_off(bus)
    assert isinstance(letter["reason"], dict)
    assert letter["reason"]["code"] == "work.malformed"
    assert letter["body"] == visible(body.decode(errors="replace"))
    assert letter["deliveries"] == 1
    assert worker.begun == []


@pytest.mark.parametrize(
    "work",
    [
        hint().model_copy(update={"state": {"doc": "x" * 100_000}}),
        ToolWork(run_id="r_1", call_id="f:1", node="f", tool="t", args={"doc": "x" * 100_000}),
        TurnWork(
            run_id="r_1",
            call_id="f:1",
            node="f",
            agent=AgentSpec(model="scripted:echo", instructions="x" * 100_000),
            messages=(),
        ),
    ],
)
async def test_a_hint_whose_parts_are_gone_for_good_closes_its_call(bus: Bus, work: Work) -> None:
    worker, store = Worker(), bus.log()
    body, packed = await Parts(store.blobs.beside(bus.names.hints)).pack(work)
    assert packed is not None
    await bus.nc.jetstream().purge_stream(f"OBJ_{bus.names.hints}")
    async with working(bus, worker, most=2):
        subject = bus.subjects.work(SERVICE)
        await bus.nc.jetstream().publish(subject, body, headers={BLOB: packed})
        (letter,) = await dead_letters(bus, 1)
        await worked_off(bus)
    run = [r async for r in store.read(bus.subjects.run("r_1"))]
    closed = decode(run[-1].body).events[-1]
    assert isinstance(closed, e.CallFailed | e.AgentTurnFailed)
    assert (closed.call_id, closed.error.code) == ("f:1", "work.part_missing")
    assert (letter["deliveries"], worker.begun) == (2, [])
    await store.close()


async def test_what_no_worker_can_do_becomes_a_dead_letter_at_once(bus: Bus) -> None:
    async def work(_: Work) -> None:
        raise InvalidInput("work.wrong_service", "not here")

    async with working(bus, work):
        await publish(bus, hint())
        (letter,) = await dead_letters(bus, 1)
        await worked_off(bus)
    assert isinstance(letter["reason"], dict)
    assert letter["reason"]["code"] == "work.wrong_service"


async def test_nothing_is_acknowledged_before_its_dead_letter_is_kept(bus: Bus) -> None:
    js = bus.nc.jetstream()
    config = (await js.stream_info(bus.names.dead)).config
    await js.delete_stream(bus.names.dead)
    worker = Worker()
    async with working(bus, worker):
        await js.publish(bus.subjects.work(SERVICE), b"?")
        consumer = bus.names.work, SERVICE

        async def refused() -> bool:
            return bool((await js.consumer_info(*consumer)).num_redelivered)

        await until(refused)
        assert await left(bus) == 1
        await js.add_stream(config)
        await dead_letters(bus, 1)
        await worked_off(bus)


async def test_drain_lets_running_jobs_finish_and_takes_no_new_ones(bus: Bus) -> None:
    worker = Worker(wait=True)
    async with working(bus, worker) as jobs:
        await publish(bus, hint("running"))
        await worker.next()
        draining = asyncio.create_task(jobs.drain(PATIENCE))
        await asyncio.sleep(0)
        await publish(bus, hint("late"))
        worker.go.set()
        await draining
    assert worker.done == [hint("running").id]

    async def acknowledged() -> bool:  # the server may still be at it
        return await left(bus) < 2

    await until(acknowledged)
    assert await left(bus) == 1


async def test_what_runs_is_given_back_also_by_a_drain_that_is_cut_short(bus: Bus) -> None:
    first, second = Worker(wait=True), Worker()
    async with working(bus, first) as jobs:
        await publish(bus, hint())
        await first.next()
        draining = asyncio.create_task(jobs.drain(PATIENCE))
        await asyncio.wait({draining}, timeout=0.1)
        draining.cancel()
        await asyncio.wait({draining})
        assert first.cancelled == [hint().id]
        async with working(bus, second):
            assert await second.next() == hint().id


async def test_what_is_cut_short_by_a_drain_goes_to_another_worker_at_once(bus: Bus) -> None:
    first, second = Worker(wait=True), Worker()
    async with working(bus, first) as jobs:
        await publish(bus, hint())
        await first.next()
        await jobs.drain(0.01)
    assert first.cancelled == [hint().id]
    async with working(bus, second):
        await worked_off(bus)
    assert second.done == [hint().id]


async def test_the_hints_of_a_worker_that_vanishes_go_to_another_one(bus: Bus) -> None:
    first, second = Worker(wait=True), Worker()
    async with working(bus, first, drain=0.0) as jobs:
        await publish(bus, hint())
        await first.next()
        # What a kill -9 leaves behind: a delivery that nobody answers.
        assert jobs._ticker is not None
        jobs._ticker.cancel()
        await jobs._loop.stop()
        async with working(bus, second):
            await second.next()
            await worked_off(bus)
    assert second.done == [hint().id]


async def test_a_job_logs_under_its_run_and_trace(bus: Bus) -> None:
    seen: list[tuple[str, str]] = []

    async def work(_: Work) -> None:
        seen.append((logs.current_run.get(), logs.current_trace.get()))

    async with working(bus, work):
        await bus.nc.jetstream().publish(
            bus.subjects.work(SERVICE),
            WORK.dump_json(hint()),
            headers={"traceparent": f"00-{'a' * 32}-{'b' * 16}-01"},
        )
        await worked_off(bus)
    assert seen == [("r_1", "a" * 32)]


async def test_a_hint_that_comes_long_after_its_run_was_given_up_is_not_worked_on(
    bus: Bus, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker, js = Worker(), bus.nc.jetstream()
    for run in ("r_1", "r_2"):
        body = WORK.dump_json(hint(run=run))
        await js.publish(bus.subjects.work(SERVICE), body, headers={SEEN: "0"})
    await give_up(bus, "r_1")  # and nobody is there who could be told
    monkeypatch.setattr("partsong.bus.jobs.OLD", 0.0)
    async with working(bus, worker):
        await worked_off(bus)
    assert worker.done == [hint(run="r_2").id]


async def test_a_hint_that_comes_behind_the_stop_of_its_run_is_not_worked_on(bus: Bus) -> None:
    worker = Worker()
    async with working(bus, worker) as jobs:
        await broadcast(bus, "r_1", await give_up(bus, "r_1"))

        async def heard() -> bool:
            return jobs._stops.heard("r_1")

        await until(heard)
        subject = bus.subjects.work(SERVICE)
        await bus.nc.jetstream().publish(
            subject, WORK.dump_json(hint("early")), headers={SEEN: "0"}
        )
        await bus.nc.jetstream().publish(subject, WORK.dump_json(hint("late")), headers={SEEN: "9"})
        await worked_off(bus)
    assert worker.done == [hint("late").id]


async def closed(bus: Bus, subject: str) -> list[e.Event]:
    store = bus.log()
    found = [event async for record in store.read(subject) for event in decode(record.body).events]
    await store.close()
    return found


TURN = TurnWork(
    run_id="r_1", call_id="a:1/t1", node="a", agent=AgentSpec(model="scripted:x"), messages=()
)
TOOL = ToolWork(run_id="r_1", call_id="t:1", node="t", tool="look", args={})
HOOK = HookWork(
    run_id="r_1", call_id="/h.before_run", node="", point="before_run", plugins=(), payload={}
)


@pytest.mark.parametrize("work", [hint(), TOOL, HOOK, TURN])
async def test_a_dead_letter_closes_its_call(bus: Bus, work: Work) -> None:
    async def fault(_: Work) -> None:
        raise ZeroDivisionError("by nought")

    async with working(bus, fault, most=1):
        await publish(bus, work)
        await dead_letters(bus, 1)
        await worked_off(bus)
    *_, last = await closed(bus, bus.subjects.run("r_1"))
    assert isinstance(last, e.CallFailed | e.AgentTurnFailed)
    assert (last.call_id, last.error.code) == (work.call_id, "worker.fault")


@pytest.mark.parametrize(
    "work", [hint(run="a.b *>"), hint(run="~"), hint(run=""), hint("x y.>"), hint("z" * 3000)]
)
async def test_a_hint_for_what_cannot_be_a_call_is_buried_once(bus: Bus, work: Work) -> None:
    tries = 0

    async def nobody_can(_: Work) -> None:
        nonlocal tries
        tries += 1
        raise InvalidInput("id.invalid", "no such call")

    async with working(bus, nobody_can):
        await publish(bus, work)
        await dead_letters(bus, 1)
        await worked_off(bus)
    assert tries == 1


async def test_a_dead_letter_closes_no_call_that_another_worker_has_claimed(bus: Bus) -> None:
    store, subject = bus.log(), bus.subjects.call("r_1", "t:1")
    claim = claimed_by("other", TOOL)
    await store.append(subject, encode_report("r_1", claim), id=claim.id)

    async def fault(_: Work) -> None:
        raise InvalidInput("work.wrong_service", "not here")

    async with working(bus, fault):
        await publish(bus, TOOL)
        await dead_letters(bus, 1)
        await worked_off(bus)
    await store.close()
    assert [event.type for event in await closed(bus, subject)] == ["call.claimed"]
