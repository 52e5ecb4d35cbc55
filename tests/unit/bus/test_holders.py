"""A hint that comes again is worked on only if nobody else works on it, and only if it is not done."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager

import pytest

from partsong.bus.claims import Claim, claim, report
from partsong.bus.holders import Holders, standing_of
from partsong.bus.jobs import Jobs
from partsong.contracts import events as e
from partsong.contracts.errors import Unavailable
from partsong.contracts.wire.headers import REMINDER
from partsong.contracts.wire.heartbeat import Beat, HeldCall
from partsong.contracts.wire.subjects import Subjects
from partsong.contracts.wire.work import WORK, FunctionWork, ToolWork, Work
from partsong.runtime import clock
from partsong.runtime.heartbeat.identity import worker_id
from partsong.runtime.heartbeat.monitor import LivenessMonitor
from partsong.runtime.heartbeat.task import TaskHeartbeat
from partsong.runtime.nats.server import EmbeddedNats
from partsong.testing.nats import Bus, a_bus
from tests.support.damage import damaged

PATIENCE = 30.0
SERVICE = "tool-runner"
HINT = FunctionWork(run_id="r_1", call_id="f:1", node="f", attempt=2, function="m:f", state={})


def beat(*held: HeldCall, more: int = 0) -> Beat:
    return Beat(service=SERVICE, name="w", incarnation="1", started="", held=held, held_more=more)


def call(run_id: str = "r_1", attempt: int = 2, *, asking: bool = False) -> HeldCall:
    return HeldCall(run_id=run_id, call_id="f:1", attempt=attempt, asking=asking)


@pytest.mark.parametrize(
    ("beats", "missing", "standing"),
    [
        ([], False, "free"),
        ([beat()], False, "free"),
        ([beat(call("r_2")), beat(call(attempt=1))], False, "free"),
        ([beat(), beat(call())], False, "held"),
        ([beat(call())], True, "held"),
        ([beat(call(asking=True))], False, "unknown"),
        ([beat(call(asking=True)), beat(call())], False, "held"),
        ([beat(more=1)], False, "unknown"),
        ([beat(more=1), beat(call())], False, "held"),
        ([beat()], True, "unknown"),
    ],
)
def test_how_a_call_stands_by_what_the_others_say(
    beats: list[Beat], missing: bool, standing: str
) -> None:
    assert standing_of(HINT, beats, missing=missing) == standing


class Worker:
    """One worker of the service: it notes what it begins, and works until it is let go."""

    def __init__(self) -> None:
        self.begun: list[str] = []
        self.cancelled: list[str] = []
        self.go = asyncio.Event()
        self.first = asyncio.Event()
        self.holders: Holders
        self.heartbeat: TaskHeartbeat
        self.id = ""

    async def __call__(self, work: Work) -> None:
        self.begun.append(work.id)
        self.first.set()
        try:
            await self.go.wait()
        except asyncio.CancelledError:
            self.cancelled.append(work.id)
            raise

    @asynccontextmanager
    async def running(self, bus: Bus, name: str) -> AsyncIterator[Worker]:
        """Alive, and known to hold nothing yet."""
        async with AsyncExitStack() as stack:
            store = bus.log()
            stack.push_async_callback(store.close)
            monitor = LivenessMonitor(bus.nc, bus.subjects)
            await monitor.start()
            stack.push_async_callback(monitor.stop)
            monitor._began -= 10  # it has listened long enough to know everybody
            incarnation, self.id = worker_id(name)
            self.heartbeat = TaskHeartbeat(
                bus.nc, bus.subjects, SERVICE, name, incarnation, in_flight=int
            )
            await self.heartbeat.start()
            stack.push_async_callback(self.heartbeat.stop)
            self.holders = Holders(bus.nc, bus.subjects, monitor, store, SERVICE, self.id)
            yield self

    @asynccontextmanager
    async def working(self, bus: Bus) -> AsyncIterator[None]:
        """Taking hints."""
        store = bus.log()
        jobs = Jobs(
            bus.nc,
            bus.subjects,
            SERVICE,
            self,
            store,
            held=self.heartbeat.held,
            holders=self.holders,
        )
        await jobs.start()
        try:
            yield
        finally:
            self.go.set()
            await jobs.drain(10.0)
            await store.close()


@pytest.fixture
async def pair(bus: Bus) -> AsyncIterator[tuple[Worker, Worker]]:
    """Two workers that know each other."""
    async with Worker().running(bus, "a") as a, Worker().running(bus, "b") as b:
        for one, other in ((a, b), (b, a)):
            assert await one.holders._monitor.heard(other.id.partition("~")[0], within=PATIENCE)
        yield a, b


async def publish(bus: Bus, work: Work = HINT, /, **headers: str) -> None:
    subject = bus.subjects.work(SERVICE)
    await bus.nc.jetstream().publish(subject, WORK.dump_json(work), headers=headers or None)


async def until(what: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(PATIENCE):
        while not await what():  # noqa: ASYNC110  # the server has no event for it
            await asyncio.sleep(0.01)


async def test_two_that_want_the_same_call_do_not_both_take_it(pair: tuple[Worker, Worker]) -> None:
    for one in pair:
        one.heartbeat.held.hold(HINT.run_id, HINT.call_id, HINT.attempt, "f", asking=True)
    found = await asyncio.gather(*(one.holders.standing(HINT) for one in pair))
    assert found == ["unknown", "unknown"]
    assert pair[0].holders.delay() != pair[1].holders.delay()


async def test_what_another_one_works_on_is_held_and_then_free(pair: tuple[Worker, Worker]) -> None:
    a, b = pair
    slot = a.heartbeat.held.hold(HINT.run_id, HINT.call_id, HINT.attempt, "f")
    assert await b.holders.standing(HINT) == "held"
    assert await a.holders.standing(HINT) == "free", "oneself is nobody else"
    a.heartbeat.held.release(slot)
    assert await b.holders.standing(HINT) == "free"


async def test_whoever_does_not_answer_may_hold_it_until_it_is_known_to_be_dead(
    bus: Bus, pair: tuple[Worker, Worker]
) -> None:
    a, b = pair
    assert a.heartbeat._sub is not None
    await a.heartbeat._sub.unsubscribe()
    assert await b.holders.standing(HINT) == "unknown"
    await a.heartbeat.stop()

    async def gone() -> bool:
        return not b.holders._monitor.living(SERVICE) - {b.id}

    await until(gone)
    assert await b.holders.standing(HINT) == "free"


async def test_what_has_its_result_is_done(bus: Bus, pair: tuple[Worker, Worker]) -> None:
    store = bus.log()
    for attempt, standing in ((1, "free"), (2, "done")):
        event = e.CallCompleted(
            id=f"r_1.f:1.{attempt}.closed", call_id="f:1", attempt=attempt, update={}
        )
        await report(store, bus.subjects, "r_1", event)
        assert await pair[0].holders.standing(HINT) == standing
    assert await pair[0].holders.standing(HINT, seen=await store.head() - 1) == "done"
    assert await pair[0].holders.standing(HINT, seen=await store.head()) == "free"
    await store.close()


async def test_a_reminder_of_a_call_in_anothers_hands_is_dropped(
    bus: Bus, pair: tuple[Worker, Worker]
) -> None:
    a, b = pair
    async with a.working(bus):
        await publish(bus)
        await asyncio.wait_for(a.first.wait(), PATIENCE)
    a.go.clear()
    slot = a.heartbeat.held.hold(HINT.run_id, HINT.call_id, HINT.attempt, "f")
    async with b.working(bus):
        await publish(bus, **{REMINDER: "1"})

        async def empty() -> bool:
            return (await bus.nc.jetstream().stream_info(bus.names.work)).state.messages == 0

        await until(empty)
    assert b.begun == []
    a.heartbeat.held.release(slot)


async def test_a_hint_that_comes_again_waits_for_the_one_who_works_on_it(
    bus: Bus, pair: tuple[Worker, Worker]
) -> None:
    """Not dropped: if that one dies, this hint is all that is left."""
    a, b = pair
    slot = a.heartbeat.held.hold(HINT.run_id, HINT.call_id, HINT.attempt, "f")
    await publish(bus)
    consumer = await bus.nc.jetstream().pull_subscribe_bind(consumer=SERVICE, stream=bus.names.work)
    (message,) = await consumer.fetch(1, timeout=PATIENCE)
    await message.nak()  # delivered once, to somebody who did not acknowledge it
    async with b.working(bus):

        async def handed_back() -> bool:
            info = await bus.nc.jetstream().consumer_info(bus.names.work, SERVICE)
            return bool(info.num_redelivered) and bool(info.num_ack_pending)

        await until(handed_back)
        assert b.begun == []
        a.heartbeat.held.release(slot)
        await asyncio.wait_for(b.first.wait(), PATIENCE)
        assert b.begun == [HINT.id]


async def test_a_first_hint_is_worked_on_without_asking_anybody(
    bus: Bus, pair: tuple[Worker, Worker]
) -> None:
    asked: list[object] = []

    async def heard(msg: object) -> None:
        asked.append(msg)

    await bus.nc.subscribe(bus.subjects.query(SERVICE, "ping"), cb=heard)
    _, b = pair
    async with b.working(bus):
        await publish(bus)
        await asyncio.wait_for(b.first.wait(), PATIENCE)
    assert asked == []


async def test_a_hint_that_the_server_forgot_was_acknowledged_is_not_worked_on_again(
    bus: Bus, pair: tuple[Worker, Worker]
) -> None:
    """As after a full disk: acknowledgements were not stored, so to the server it is a first delivery."""
    a, _ = pair
    log = bus.log()
    done = e.CallCompleted(id="r_1.f:1.2.done", call_id="f:1", attempt=2, worker="a~1")
    await report(log, bus.subjects, "r_1", done)
    await log.close()
    await publish(bus)
    async with a.working(bus):

        async def gone() -> bool:
            return (await bus.nc.jetstream().stream_info(bus.names.work)).state.messages == 0

        await until(gone)
    assert a.begun == []


async def test_what_comes_out_of_the_connection_after_a_stall_is_asked_about(
    bus: Bus, pair: tuple[Worker, Worker]
) -> None:
    """It may have been delivered to another worker while this one did not answer."""
    a, b = pair
    slot = a.heartbeat.held.hold(HINT.run_id, HINT.call_id, HINT.attempt, "f")
    b.heartbeat.held.stalled = clock.monotonic() + PATIENCE
    async with b.working(bus):
        await publish(bus)

        async def handed_back() -> bool:
            info = await bus.nc.jetstream().consumer_info(bus.names.work, SERVICE)
            return bool(info.num_redelivered)

        await until(handed_back)
        assert b.begun == []
        a.heartbeat.held.release(slot)
        await asyncio.wait_for(b.first.wait(), PATIENCE)


async def test_a_call_whose_claim_cannot_be_read_is_not_begun(
    nats_server: EmbeddedNats, subjects: Subjects
) -> None:
    """The server takes the claim for none, so its guard would let a second one in."""
    async with a_bus(nats_server.url, subjects) as bus:
        claimed = e.CallClaimed(id="r_1.f:1.2", call_id="f:1", attempt=2, worker="gone~1")
        log = bus.log()
        assert isinstance(await claim(log, subjects, "r_1", claimed), Claim)
        await log.close()
        work = ToolWork(run_id="r_1", call_id="f:1", node="f", attempt=2, tool="charge", args={})
        await publish(bus, work)
        async with damaged(nats_server, bus.names.log, b'"gone~1"'):
            async with Worker().running(bus, "a") as worker, worker.working(bus):

                async def told_twice() -> bool:
                    info = await bus.nc.jetstream().consumer_info(bus.names.work, SERVICE)
                    return info.delivered is not None and info.delivered.consumer_seq >= 2

                await until(told_twice)
            assert worker.begun == []
            with pytest.raises(Unavailable, match=r"log\.unreadable"):
                await worker.holders.standing(work)
