"""A partition's processor: whoever owns it, and however many believe they do, each run has one history."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import AsyncIterator
from contextlib import aclosing

import pytest

from partsong.bus.bucket import Entry
from partsong.contracts import events as e
from partsong.contracts.errors import Conflict, PartsongError, Unavailable
from partsong.contracts.events.envelope import encode_report
from partsong.contracts.graph.validate import parse_graph
from partsong.contracts.state.state import Call, Pending, RunState, Timer
from partsong.contracts.state.verify import replay
from partsong.contracts.wire.requests import Accepted, Rejected, RunRequest
from partsong.contracts.wire.subjects import Subjects, partition_of
from partsong.engine.commands.outcomes import Prepared
from partsong.graph_engine import held_runs
from partsong.graph_engine.catch_up import CatchUp
from partsong.graph_engine.checkpoints import Checkpoint, Checkpoints
from partsong.graph_engine.processor import Processor
from partsong.log.memory import MemoryLog
from partsong.log.port import Log
from partsong.runtime import clock
from partsong.runtime.clock import new_id
from partsong.runtime.nats.server import EmbeddedNats
from partsong.testing.bucket import MemoryBucket
from partsong.testing.nats import Bus, a_bus
from tests.services.graph_engine.engines import PATIENCE, World, ends_at, history
from tests.support.damage import damaged
from tests.support.whole_log import WholeLogOf

GRAPH = parse_graph(
    {
        "name": "stress",
        "entry": "a",
        "nodes": {n: {"type": "function", "function": f"m:{n}"} for n in ("a", "b", "c", "d", "e")},
        "edges": [
            {"from": "a", "to": "b"},
            {"from": "a", "to": "c"},
            {"from": "b", "to": "d"},
            {"from": "c", "to": "d"},
            {"from": "d", "to": "a", "on": "again"},
            {"from": "d", "to": "e", "on": "done"},
        ],
        "reducers": {"log": "append"},
    }
)
AGENT = parse_graph(
    {
        "name": "a",
        "entry": "x",
        "nodes": {"x": {"type": "agent", "agent": {"model": "scripted:echo"}, "prompt": "hi"}},
    }
)


@pytest.fixture(params=["memory", "jetstream"])
async def world(request: pytest.FixtureRequest, bus: Bus) -> AsyncIterator[World]:
    log: Log = MemoryLog() if request.param == "memory" else bus.log()
    yield World(log, bus.subjects, GRAPH)
    if not isinstance(log, MemoryLog):
        await log.close()  # type: ignore[attr-defined]  # JetStream's


class Stubborn(Processor):
    """A processor that does not give up when another engine takes its partition over."""

    lost = property(lambda _self: False, lambda _self, _value: None)


@pytest.fixture
async def two(world: World) -> AsyncIterator[World]:
    """Two engines that both believe to own everything, for good."""
    engines = [world.engine(f"e{i}", Checkpoints(MemoryBucket())) for i in range(2)]
    for engine in engines:
        for processor in engine.processors:
            processor.__class__ = Stubborn
        await engine.start()
    yield world
    await asyncio.gather(*(engine.stop() for engine in engines))


@pytest.fixture
async def one(world: World) -> AsyncIterator[World]:
    engine = world.engine("e0")
    await engine.start()
    yield world
    await engine.stop()


async def test_many_runs_on_two_engines_at_once_neither_fork_nor_lose_an_event(two: World) -> None:
    runs = [f"r_{i}" for i in range(40)]
    await asyncio.gather(*(two.start(run_id) for run_id in runs))
    await asyncio.gather(*(two.ended(run_id) for run_id in runs))
    for run_id in runs:
        state, _ = await history(two.log, two.subjects, run_id)
        assert state.status == "completed"
        assert state.values["log"] == [
            x
            for visit in (1, 2, 3)
            for x in (f"a:{visit}", f"b:{visit}", f"c:{visit}", f"d:{visit}")
        ] + ["e:1"]
        assert state.steps == 13
        assert not state.pending


async def test_a_request_is_decided_once_however_many_engines_see_it(two: World) -> None:
    runs = [f"r_{i}" for i in range(12)]
    two.work = two.nothing
    await asyncio.gather(*(two.start(run_id) for run_id in runs))
    answers = await asyncio.gather(*(two.cancel(run_id, f"c-{run_id}") for run_id in runs))
    assert all(isinstance(answer, Accepted) for answer in answers)
    for run_id in runs:
        _, commits = await history(two.log, two.subjects, run_id)
        settled = [
            event.request_id
            for commit in commits
            for event in commit.events
            if isinstance(event, e.CommandSettled)
        ]
        assert sorted(settled) == [f"c-{run_id}", f"q-{run_id}"]


async def test_a_start_repeated_is_the_same_run(one: World) -> None:
    first = await one.start("r_same", "q1")
    again = await asyncio.gather(*(one.start("r_same", f"q{i}") for i in (1, 2, 3)))
    assert {answer.seq for answer in (first, *again) if isinstance(answer, Accepted)} == {
        first.seq if isinstance(first, Accepted) else 0
    }
    assert (await one.ended("r_same")).steps == 13


async def test_a_run_id_with_another_input_is_refused_and_nothing_of_the_run_changes(
    one: World,
) -> None:
    await one.start("r_1", "q1", {"x": 1})
    other = await one.start("r_1", "q2", {"x": 2})
    assert isinstance(other, Rejected)
    assert other.error.code == "run.exists"
    state = await one.ended("r_1")
    assert state.values["x"] == 1
    found, _ = await history(one.log, one.subjects, "r_1")
    assert found.status == "completed"


async def test_what_is_asked_of_a_run_before_its_first_decision_is_done_in_order(
    world: World,
) -> None:
    """A start and a cancel lie in the log when an engine comes."""
    asked = [
        asyncio.ensure_future(world.start("r_1")),
        asyncio.ensure_future(world.cancel("r_1")),
    ]
    async with asyncio.timeout(PATIENCE), aclosing(world.log.tail(world.subjects.log())) as records:
        async for record in records:
            if record.seq == 2:
                break
    engine = world.engine("e0")
    await engine.start()
    answers = await asyncio.gather(*asked)
    assert all(isinstance(answer, Accepted) for answer in answers)
    assert (await world.ended("r_1")).status == "cancelled"
    await engine.stop()


async def test_a_cancel_ends_a_run_and_says_why(one: World) -> None:
    one.work = one.nothing
    await one.start("r_c")
    assert isinstance(await one.cancel("r_c"), Accepted)
    state = await one.ended("r_c")
    assert state.error is not None
    assert state.error.message == "enough"


async def test_a_request_that_must_be_refused_has_its_outcome_in_the_log(one: World) -> None:
    one.work = one.nothing
    await one.start("r_1")
    refused = await one.signal("r_1", "s1", "nobody-waits")
    assert isinstance(refused, Rejected)
    assert refused.error.code == "signal.unknown"
    assert await one.commands.outcome("r_1", "s1") == refused


async def test_a_request_id_is_not_used_for_two_things(one: World) -> None:
    one.work = one.nothing
    await one.start("r_1", "q", {"x": 1})
    with pytest.raises(PartsongError, match="asked for something else"):
        await one.start("r_1", "q", {"x": 2})


async def test_an_engine_goes_on_where_another_has_stopped(world: World) -> None:
    first, second = world.engine("e0"), world.engine("e1")
    await first.start()
    held: list[tuple[str, Call]] = []

    async def hold(run_id: str, call: Call, _view: object) -> None:
        held.append((run_id, call))

    world.work = hold
    await asyncio.gather(*(world.start(f"r_{i}") for i in range(10)))
    await first.stop()
    world.work = world.finish
    await asyncio.gather(*(world.finish(run_id, call, {}) for run_id, call in held))
    await second.start()
    states = await asyncio.gather(*(world.ended(f"r_{i}") for i in range(10)))
    assert {state.status for state in states} == {"completed"}
    assert {state.steps for state in states} == {13}
    await second.stop()


async def test_an_engine_that_died_is_followed_from_the_log_alone(world: World) -> None:
    """No checkpoint was ever kept."""
    first = world.engine("e0", Checkpoints(MemoryBucket()))
    await first.start()
    world.work = world.nothing
    await asyncio.gather(*(world.start(f"r_{i}") for i in range(10)))
    await first.stop()
    world.work = world.finish
    second = world.engine("e1", Checkpoints(MemoryBucket()))
    await second.start()
    states = await asyncio.gather(*(world.ended(f"r_{i}") for i in range(10)))
    assert {state.steps for state in states} == {13}
    await second.stop()


async def test_an_ended_run_is_held_no_longer(one: World) -> None:
    await one.start("r_1")
    await one.ended("r_1")
    engine = one.engine("e1")
    await engine.start()
    assert all(len(processor.runs.open) == 0 for processor in engine.processors)
    await engine.stop()


async def test_a_checkpoint_beyond_the_logs_end_is_not_believed(world: World) -> None:
    """A restore brings the log back to where it was; what was kept beside it may speak of what came later."""
    checkpoints, here = Checkpoints(MemoryBucket()), partition_of("r_1")
    await checkpoints.keep(here, Checkpoint(seq=99, epoch=4, open={"r_gone": 98}))
    engine = world.engine("e0", checkpoints)
    await engine.start()
    assert engine.processors[here].owned
    assert engine.processors[here].checkpoint.epoch == 5, "owners are counted on"
    assert isinstance(await world.start("r_1"), Accepted)
    assert (await world.ended("r_1")).status == "completed"
    assert (await checkpoints.load(here, ends_at(1_000))).open.keys() <= {"r_1"}
    await engine.stop()


async def test_a_checkpoint_of_another_log_or_another_of_its_lives_is_not_believed() -> None:
    bucket, kept = MemoryBucket(), Checkpoint(seq=7, epoch=2, open={"r_1": 6})
    await Checkpoints(bucket, lambda: ("a", 1)).keep(3, kept)
    for life, seq in ((("a", 1), 7), (("a", 2), 0), (("b", 1), 0)):
        found = await Checkpoints(bucket, lambda life=life: life).load(3, ends_at(100))  # type: ignore[misc]
        assert (found.seq, found.epoch) == (seq, 2)
    assert (await Checkpoints(bucket, lambda: ("a", 1)).load(3, ends_at(6))).seq == 0


async def test_however_many_checkpoints_are_loaded_the_logs_head_is_asked_for_once() -> None:
    checkpoints, asked = Checkpoints(MemoryBucket()), 0

    async def head() -> int:
        nonlocal asked
        asked += 1
        return 6

    for partition in (1, 2, 3):
        await checkpoints.keep(partition, Checkpoint(seq=partition * 3, epoch=2))
    found = await checkpoints.load_all(range(5), head)
    assert [(one.seq, one.epoch) for one in found] == [(0, 0), (3, 2), (6, 2), (0, 2), (0, 0)]
    assert asked == 1


class Moving(MemoryBucket):
    """A bucket into which the owner of before keeps a newer checkpoint at the moment in which one is asked for."""

    def __init__(self, world: World) -> None:
        super().__init__()
        self._world = world

    async def get(self, key: str) -> Entry:
        log, subject = self._world.log, self._world.subjects.engine("r_1")
        kept = await super().get(key)
        seq = (await log.append(subject, b"", id=new_id())).seq
        theirs = Checkpoint(seq=seq, epoch=7, revision=kept.revision)
        await Checkpoints(self).keep(int(key), theirs)
        return await super().get(key)


async def test_a_checkpoint_that_is_kept_while_the_log_grows_is_believed(world: World) -> None:
    checkpoints = Checkpoints(Moving(world))
    processor = world.engine("e0", checkpoints).processors[partition_of("r_1")]
    assert await processor.take()
    assert (processor.checkpoint.seq, processor.checkpoint.epoch) == (1, 8)
    await processor.release()
    whole = WholeLogOf(world.log, world.subjects)
    late = await CatchUp(checkpoints, world.subjects, whole, far=0).behind([3])
    assert late == {}, "it lies at the head, and is not processed anew"


async def test_a_run_whose_log_cannot_be_read_is_set_aside_and_its_requests_are_answered(
    one: World,
) -> None:
    one.work = one.nothing
    await one.start("r_bad")
    await one.log.append(one.subjects.engine("r_bad").replace("engine", "fact"), b"{}", id="junk")
    answer = await one.cancel("r_bad")
    assert isinstance(answer, Rejected)
    assert answer.error.code == "envelope.malformed"
    one.work = one.finish
    await one.start("r_good")
    assert (await one.ended("r_good")).status == "completed"


async def test_what_was_asked_of_a_bad_run_before_its_owner_came_is_answered(world: World) -> None:
    """The door had stored it, and the engine that would have answered is dead."""
    world.work = world.nothing
    engine = world.engine("e0")
    await engine.start()
    await world.start("r_bad")
    await engine.stop()
    asked = asyncio.ensure_future(world.cancel("r_bad", "late"))
    async with aclosing(world.log.tail(world.subjects.command("r_bad", "late"))) as records:
        await anext(records)
    await world.log.append(world.subjects.fact("r_bad"), b"{}", id="junk")
    engine = world.engine("e1")
    await engine.start()
    answer = await asked
    assert isinstance(answer, Rejected)
    assert answer.error.code == "envelope.malformed"
    again = [reply.id for reply in world.answered if isinstance(reply, Rejected)]
    assert again == ["late"], "what had its outcome before is not answered anew"
    await engine.stop()


@pytest.mark.parametrize("place", ["engine", "call", "command"])
async def test_a_record_that_only_moves_a_guard_parks_its_run(one: World, place: str) -> None:
    """It can be read, and nothing follows from it; but the server refuses whoever does not know of it."""
    one.work = one.nothing
    await one.start("r_bad")
    where = {
        "engine": one.subjects.engine("r_bad"),
        "call": one.subjects.call("r_bad", "x:1/t1"),
        "command": one.subjects.command("r_bad", "q9"),
    }[place]
    await one.log.append(where, encode_report("r_bad"), id="junk")
    answer = await one.cancel("r_bad")
    assert isinstance(answer, Rejected)
    assert answer.error.code == "log.misplaced"
    assert answer.error.where is not None
    assert where in answer.error.where
    one.work = one.finish
    await one.start("r_good")
    assert (await one.ended("r_good")).status == "completed"


async def test_the_same_request_about_a_bad_run_has_the_same_answer_each_time(one: World) -> None:
    one.work = one.nothing
    await one.start("r_bad")
    junk = await one.log.append(one.subjects.fact("r_bad"), b"null", id="junk")
    first = await one.cancel("r_bad")
    assert isinstance(first, Rejected)
    assert str(junk.seq) in str(first.error.where)
    assert await one.commands.outcome("r_bad", "c") == first
    began = await one.commands.outcome("r_bad", "q-r_bad")
    assert isinstance(began, Accepted), "what was decided before stays decided"


@pytest.mark.parametrize("body", [b"{}", b"[" * 100_000, b'{"run":"r_bad","events":[],"n":1e999}'])
@pytest.mark.parametrize("tail", ["fact", "weird", "call.a.b.c"])
async def test_whatever_stands_under_a_runs_subjects_parks_it_at_once(
    one: World, tail: str, body: bytes
) -> None:
    """Passed over now, it would be found by whoever reads the run anew, and the two would differ."""
    one.work = one.nothing
    await one.start("r_bad")
    await one.log.append(one.subjects.run("r_bad").replace(">", tail), body, id="junk")
    assert isinstance(await one.cancel("r_bad"), Rejected)
    one.work = one.finish
    await one.start("r_good")
    assert (await one.ended("r_good")).status == "completed"


async def test_a_start_behind_a_refused_one_is_decided_on_by_the_next_owner(world: World) -> None:
    """The engine refuses the first, has seen the second, and dies before it has what that one needs."""
    engine = world.engine("e0")
    ready = world.prepared

    async def prepared(state: RunState, command: Pending) -> Prepared:
        if command.request_id == "second":
            raise Unavailable("graph.store", "no answer", retryable=True)
        second = RunRequest(id="second", run_id="r_1", graph=world.graph.hash)
        await world.commands.append("run", "r_1", "second", second)
        ledger = engine.processors[partition_of("r_1")].runs.slots["r_1"].ledger
        while "second" not in ledger.state.pending:  # noqa: ASYNC110  # the engine has no event for it
            await asyncio.sleep(0.001)
        return Prepared(refused=Conflict("thread.busy", "somebody has it"))

    world.prepared = prepared  # type: ignore[method-assign]
    await engine.start()
    assert isinstance(await world.start("r_1", "first"), Rejected)
    await engine.stop()
    world.prepared = ready  # type: ignore[method-assign]
    engine = world.engine("e1", Checkpoints(MemoryBucket()))
    await engine.start()
    assert (await world.ended("r_1")).status == "completed"
    await engine.stop()


async def test_a_command_that_no_door_has_written_is_refused_and_its_run_goes_on(
    one: World,
) -> None:
    await one.start("r_1")
    for verb in ("pause", "run", "fork"):
        received = e.CommandReceived(
            id=f"r_1.{verb}.received",
            request_id=verb,
            verb=verb,
            digest="d",
            request={"id": verb},
        )
        answer = one.answers[verb] = asyncio.get_running_loop().create_future()
        body = encode_report("r_1", received)
        await one.log.append(one.subjects.command("r_1", verb), body, id=received.id)
        refused = await asyncio.wait_for(answer, PATIENCE)
        assert isinstance(refused, Rejected)
        assert refused.error.code == "request.malformed"
    assert (await one.ended("r_1")).status == "completed"


async def test_a_run_whose_turns_break_again_and_again_is_parked_with_the_reason(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, engine = world, world.engine("e0")
    await engine.start()
    monkeypatch.setattr(held_runs, "_AGAIN", 0.01)  # seconds are too long for a test

    async def breaks(state: RunState, command: Pending) -> Prepared:
        raise ZeroDivisionError("of no use")

    prepared, one.prepared = one.prepared, breaks  # type: ignore[method-assign]
    answer = await one.start("r_bad")
    assert isinstance(answer, Rejected)
    assert answer.error.code == "engine.fault"
    assert "ZeroDivisionError: of no use" in answer.error.message
    one.prepared = prepared  # type: ignore[method-assign]
    await one.start("r_good")
    assert (await one.ended("r_good")).status == "completed"
    state, (commit,) = await history(one.log, one.subjects, "r_bad")
    (parked,) = commit.events
    assert isinstance(parked, e.RunParked)
    assert parked.traceback[-1].endswith(" in breaks")
    assert state.parked == answer.error == parked.error
    await engine.stop()
    engine = world.engine("e1")
    await engine.start()
    assert (await one.ended("r_bad")).parked is None
    await engine.stop()


async def test_a_guard_that_is_not_what_was_folded_is_not_tried_without_end(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    """Whatever the reason: the run is read anew, instead of the same commit being refused over and over."""
    caplog.set_level("INFO", "partsong.graph_engine")
    world.work = world.nothing
    engine = world.engine("e0")
    await engine.start()
    await world.start("r_g")
    engine.processors[partition_of("r_g")].runs.slots["r_g"].ledger.commit_seq += 100
    assert isinstance(await world.cancel("r_g"), Accepted)
    assert [r.message for r in caplog.records].count("commit refused, another was first") == 1
    await engine.stop()


async def test_a_silent_workers_claim_lapses_and_the_turn_is_asked_for_again(world: World) -> None:
    world.graph = AGENT
    hinted: list[int] = []
    first, again = asyncio.Event(), asyncio.Event()

    async def hint(run_id: str, call: Call, _view: object) -> None:
        hinted.append(call.attempt)
        (first if call.attempt == 1 else again).set()

    world.work = hint
    engine = world.engine("e0")
    await engine.start()
    await world.start("r_l")
    await asyncio.wait_for(first.wait(), PATIENCE)
    claimed = e.AgentTurnClaimed(
        id="r_l.x:1/t1.1.claimed", call_id="x:1/t1", attempt=1, worker="w~1"
    )
    await world.log.append(
        world.subjects.call("r_l", "x:1/t1"), encode_report("r_l", claimed), id=claimed.id, expect=0
    )
    world.silent.add("w~1")
    async with asyncio.timeout(PATIENCE):
        while not again.is_set():
            for processor in engine.processors:
                processor.runs.look()
            await asyncio.sleep(0.01)
    state, _ = await history(world.log, world.subjects, "r_l")
    assert state.calls["x:1/t1"].attempt == 2
    await engine.stop()


async def test_a_timer_that_could_not_be_set_is_set_later_and_its_run_is_not_told_off(
    world: World,
) -> None:
    world.graph = parse_graph({"name": "p", "nodes": {"w": {"type": "wait", "seconds": 3600}}})
    tried: list[str] = []
    again = asyncio.Event()

    async def timer(run_id: str, timer: Timer) -> None:
        tried.append(timer.id)
        if len(tried) == 1:
            raise Unavailable("timer.not_set", "no answer", retryable=True)
        again.set()

    world.timer = timer  # type: ignore[method-assign]
    engine = world.engine("e0")
    await engine.start()
    assert isinstance(await world.start("r_t"), Accepted)
    await asyncio.wait_for(again.wait(), PATIENCE)
    assert tried == ["w:1/w0"] * 2
    await engine.stop()


class Ahead:
    """A clock that can be put forward."""

    by = 0.0
    monotonic = staticmethod(time.monotonic)
    randbits = staticmethod(secrets.randbits)

    def wall(self) -> float:
        return time.time() + self.by


@pytest.mark.parametrize("keep", [500, 0], ids=["held", "forgotten"])
async def test_a_timer_that_the_server_has_lost_fires_when_it_is_late(
    world: World, keep: int
) -> None:
    ahead = Ahead()
    clock.set_source(ahead)
    world.graph = parse_graph({"name": "p", "nodes": {"w": {"type": "wait", "seconds": 3600}}})
    world.timer = world.lost  # type: ignore[method-assign]
    engine = world.engine("e0")
    await engine.start()
    runs = engine.processors[partition_of("r_t")].runs
    runs._keep = keep
    assert isinstance(await world.start("r_t"), Accepted)
    ahead.by = 3599.0
    runs.look()
    await runs.ring()
    assert (await history(world.log, world.subjects, "r_t"))[0].timers, "it is not late"
    ahead.by = 3630.0
    ended = asyncio.ensure_future(world.ended("r_t"))
    while not ended.done():
        runs.look()
        await runs.ring()
        await asyncio.wait({ended}, timeout=0.05)
    assert ended.result().status == "completed"
    await engine.stop()


async def test_live_state_is_what_a_replay_gives(one: World) -> None:
    await asyncio.gather(*(one.start(f"r_{i}", input={"n": i}) for i in range(5)))
    for i in range(5):
        live = await one.ended(f"r_{i}")
        records = [(r.seq, r.body) async for r in one.log.read(one.subjects.run(f"r_{i}"))]
        found = replay(f"r_{i}", records)
        assert found.ok, found.findings
        assert isinstance(live, RunState)
        assert live.values == found.state.values
        assert found.state.values["n"] == i


async def test_a_run_whose_commit_cannot_be_read_is_parked_before_anything_is_written(
    nats_server: EmbeddedNats, subjects: Subjects
) -> None:
    """The server takes the commit for none, so its guard would let it be made once more."""
    async with a_bus(nats_server.url, subjects) as bus:
        log = bus.log()
        world = World(log, subjects, AGENT)
        world.work = world.nothing
        engine = world.engine("e0")
        await engine.start()
        await asyncio.gather(*(world.start(run) for run in ("r_bad", "r_good")))
        await engine.stop()
        commit = await log.last(subjects.engine("r_bad"))
        assert commit is not None
        newest = await log.append(subjects.fact("r_bad"), b"{}", id="late")
        async with damaged(nats_server, bus.names.log, commit.body[-80:]):
            engine = world.engine("e1")
            await engine.start()
            slots = engine.processors[partition_of("r_bad")].runs
            async with asyncio.timeout(PATIENCE):
                while (slot := slots.slots.get("r_bad")) is None or slot.parked is None:  # noqa: ASYNC110  # the engine has no event for it
                    await asyncio.sleep(0.01)
            assert slot.parked.code == "log.unreadable"
            answer = await world.cancel("r_bad")
            assert isinstance(answer, Rejected)
            assert isinstance(await world.cancel("r_good", "c2"), Accepted)
            last = await log.last(subjects.fact("r_bad"))
            assert await log.last(subjects.engine("r_bad")) is None
            assert last is not None
            assert last.seq == newest.seq
            await engine.stop()
        await log.close()


async def test_a_run_whose_claim_is_lost_under_a_running_engine_is_parked(
    nats_server: EmbeddedNats, subjects: Subjects
) -> None:
    """Its worker is dead, so the engine closes the call: under a guard that the server has lost."""
    async with a_bus(nats_server.url, subjects) as bus:
        world = World(bus.log(), subjects, AGENT)
        world.work = world.nothing
        engine = world.engine("e0")
        await engine.start()
        await world.start("r_l")
        call, subject = "x:1/t1", subjects.call("r_l", "x:1/t1")
        claimed = e.AgentTurnClaimed(
            id=f"r_l.{call}.1.claimed", call_id=call, attempt=1, worker="w~1"
        )
        body = encode_report("r_l", claimed)
        await world.log.append(subject, body, id=claimed.id, expect=0)
        runs = engine.processors[partition_of("r_l")].runs
        async with asyncio.timeout(PATIENCE):
            while runs.slots["r_l"].ledger.state.calls[call].worker is None:  # noqa: ASYNC110  # the engine has no event for it
                await asyncio.sleep(0.01)
            async with damaged(nats_server, bus.names.log, b'"w~1"'):
                world.silent.add("w~1")
                while (parked := runs.slots["r_l"].parked) is None:
                    runs.look()
                    await asyncio.sleep(0.05)
                assert parked.code == "log.unreadable"
                assert await world.log.last(subject) is None, "nothing was written in its place"
                await engine.stop()
