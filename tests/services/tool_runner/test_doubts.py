"""After a restore, what a run may have done in the lost time is asked about before it is done again, and once."""

from __future__ import annotations

from collections.abc import AsyncGenerator

import pytest

from partsong.contracts import events as e
from partsong.contracts.errors import Problem, Unavailable
from partsong.contracts.events import Event, Parent, RunOptions
from partsong.contracts.events.envelope import START_HASH, encode_commit, encode_report
from partsong.contracts.graph.validate import parse_graph
from partsong.contracts.wire.headers import ASKED
from partsong.contracts.wire.marks import Restored
from partsong.contracts.wire.work import ToolWork, child_of
from partsong.log.memory import MemoryLog
from partsong.log.port import Record
from partsong.testing.nats import fresh_subjects
from partsong.tool_runner.doubts import Doubts

SUBJECTS = fresh_subjects()
RUN, CALL = "r_1", "pay:1"
BODY = b'{"run":"r_1","events":[]}'
BEFORE, AT, LATER = (f"2026-01-01T00:{minute}:00.000Z" for minute in (10, 20, 30))


def restored(kept: int, *, upto: int | None = None) -> Restored:
    return Restored(
        log_id="a", epoch=2, kept=kept, upto=upto, lost=None, since="", at=AT, by="ann", source="backup"
    )  # fmt: skip


def work(attempt: int = 1) -> ToolWork:
    return ToolWork(run_id=RUN, call_id=CALL, node="pay", attempt=attempt, tool="pay", args={})


def failed(attempt: int) -> Event:
    error = Problem(code="tool.raised", message="no")
    return e.CallFailed(id=f"f{attempt}", call_id=CALL, attempt=attempt, error=error)


def claimed(attempt: int) -> Event:
    return e.CallClaimed(id=f"c{attempt}", call_id=CALL, attempt=attempt, worker="w~1")


async def a_log(*before: Event, since: tuple[Event, ...] = (), run: str = RUN) -> MemoryLog:
    """A run with a record, what was said of its call, a restore, and what was said since."""
    log = MemoryLog()
    await log.append(SUBJECTS.engine(run), BODY, id="begun")
    for event in (*before, None, *since):
        if event is None:
            await log.append(SUBJECTS.restored(), b"{}", id="restored")
            continue
        body = encode_report(RUN, event)
        await log.append(SUBJECTS.call(RUN, CALL), body, id=event.id)
    return log


@pytest.mark.parametrize(
    ("before", "since", "attempt"),
    [
        ((), (), 1),
        ((), (claimed(1),), 1),
        ((failed(1),), (), 2),
        ((claimed(1), failed(1)), (claimed(2),), 2),
    ],
    ids=["never asked for", "claimed by ourselves", "the next attempt", "and claimed"],
)
async def test_the_first_attempt_since_a_restore_may_have_been_made(
    before: tuple[Event, ...], since: tuple[Event, ...], attempt: int
) -> None:
    log = await a_log(*before, since=since)
    why = await Doubts(log, SUBJECTS).about(work(attempt), [restored(1 + len(before))])
    assert why is not None
    assert "ann restored the log from backup" in why


async def test_it_is_asked_once() -> None:
    log = await a_log(since=(claimed(1), failed(1)))
    assert await Doubts(log, SUBJECTS).about(work(2), [restored(1)]) is None
    assert await Doubts(log, SUBJECTS).about(work(2), []) is None


async def test_what_an_earlier_restore_left_open_is_asked_about_no_more_than_once() -> None:
    log = await a_log(since=(claimed(1), failed(1)))
    head = await log.head()
    assert await Doubts(log, SUBJECTS).about(work(2), [restored(1), restored(head)]) is not None
    assert await Doubts(log, SUBJECTS).about(work(2), [restored(1)]) is None


async def test_a_run_that_began_since_made_nothing_before() -> None:
    log = await a_log(run="r_other")
    assert await Doubts(log, SUBJECTS).about(work(), [restored(1)]) is None
    await log.append(SUBJECTS.engine(RUN), BODY, id="begun later")
    assert await Doubts(log, SUBJECTS).about(work(), [restored(1)]) is None


async def test_what_was_left_and_stands_behind_what_is_vouched_for_was_there_too() -> None:
    log = await a_log()
    assert await Doubts(log, SUBJECTS).about(work(), [restored(0, upto=1)]) is not None


GRAPH = parse_graph({"name": "g", "nodes": {"n": {"type": "wait", "signal": "go"}}})
CALL_OF_A_CHILD = "sub:1"


def child(of: str, attempt: int = 1) -> str:
    return child_of(Parent(run_id=of, call_id=CALL_OF_A_CHILD, attempt=attempt))


async def begins(
    log: MemoryLog, run_id: str, of: str | None = None, asked: str | None = None
) -> None:
    """A run that was asked for by a caller, or by the run that waits for it."""
    parent = None if of is None else Parent(run_id=of, call_id=CALL_OF_A_CHILD)
    options = RunOptions(parent=parent)
    started = e.RunStarted(id=f"{run_id}.s", graph=GRAPH, graph_hash="", input={}, options=options)
    headers = {ASKED: asked} if asked else None
    await log.append(SUBJECTS.command(run_id, "q"), BODY, id=f"{run_id}.q", headers=headers)
    _, body = encode_commit(run_id, 1, 0, START_HASH, (started,))
    await log.append(SUBJECTS.engine(run_id), body, id=f"{run_id}.1")


def work_of(run_id: str, attempt: int = 1) -> ToolWork:
    return work(attempt).model_copy(update={"run_id": run_id})


@pytest.mark.parametrize("depth", [1, 2, 3])
async def test_the_platform_may_have_begun_a_run_before_that_one_of_before_waits_for(
    depth: int,
) -> None:
    log = MemoryLog()
    await begins(log, RUN)
    here, parent = RUN, RUN
    for _ in range(depth):
        parent, here = here, child(here)
        await begins(log, here, parent)
    why = await Doubts(log, SUBJECTS).about(work_of(here), [restored(2)])
    assert why is not None
    assert f"what run {RUN}, for which this one began, did behind record 2 is not known" in why


async def test_about_a_call_of_a_child_is_asked_once() -> None:
    log = MemoryLog()
    await begins(log, RUN)
    await begins(log, child(RUN), RUN)
    body = encode_report(child(RUN), failed(1))
    await log.append(SUBJECTS.call(child(RUN), CALL), body, id="f1")
    assert await Doubts(log, SUBJECTS).about(work_of(child(RUN), 2), [restored(2)]) is None


async def test_the_child_of_a_run_that_began_since_made_nothing_before() -> None:
    log = MemoryLog()
    await begins(log, "r_before")
    await begins(log, RUN)
    await begins(log, child(RUN), RUN)
    assert await Doubts(log, SUBJECTS).about(work_of(child(RUN)), [restored(2)]) is None


@pytest.mark.parametrize(("asked", "doubted"), [(BEFORE, True), (AT, True), (LATER, False)])
async def test_a_run_that_was_asked_for_before_the_restore_may_have_begun_before(
    asked: str, doubted: bool
) -> None:
    log = MemoryLog()
    await begins(log, "r_before")
    await begins(log, RUN, asked=asked)
    await begins(log, child(RUN), RUN)
    doubts = Doubts(log, SUBJECTS)
    for run_id in (RUN, child(RUN)):
        assert (await doubts.about(work_of(run_id), [restored(2)]) is not None) is doubted


async def test_how_a_run_began_is_read_once_and_anew_after_the_next_restore() -> None:
    log = Counting()
    await begins(log, RUN)
    await begins(log, child(RUN), RUN)
    doubts = Doubts(log, SUBJECTS)
    first, second = restored(2), restored(5).model_copy(update={"epoch": 3})
    assert await doubts.about(work_of(child(RUN)), [first]) is not None
    once = log.reads
    assert await doubts.about(work_of(child(RUN)), [first]) is not None
    assert log.reads == once
    assert await doubts.about(work_of(child(RUN)), [first, second]) is not None
    assert log.reads == once + 1, "the run itself was there by then"


async def test_of_a_parent_that_cannot_be_read_nobody_knows_when_it_began() -> None:
    log = Counting()
    await begins(log, RUN)
    await begins(log, child(RUN), RUN)
    log.lost = SUBJECTS.run(RUN)
    assert await Doubts(log, SUBJECTS).about(work_of(child(RUN)), [restored(2)]) is not None


async def test_a_fork_is_another_run_that_somebody_asked_for() -> None:
    log = MemoryLog()
    await begins(log, child(RUN), RUN)
    forked = e.RunForked(id="f", origin=child(RUN), origin_seq=2, state={})
    _, body = encode_commit("r_fork", 1, 0, START_HASH, (forked,))
    await log.append(SUBJECTS.engine("r_fork"), body, id="r_fork.1")
    assert await Doubts(log, SUBJECTS).about(work_of("r_fork"), [restored(2)]) is None


class Counting(MemoryLog):
    """Counts how often a run is read, and may have lost one."""

    reads = 0
    lost = ""

    async def read(
        self, filter: str, *, after: int = 0, upto: int | None = None
    ) -> AsyncGenerator[Record, None]:
        self.reads += filter.endswith(">")
        if filter == self.lost:
            raise Unavailable("log.unreadable", "its bytes went bad")
        async for record in super().read(filter, after=after, upto=upto):
            yield record
