"""After a restore, what a run may have done in the lost time is asked about before it is done again, and once."""

from __future__ import annotations

import pytest

from partsong.contracts import events as e
from partsong.contracts.envelope import encode_report
from partsong.contracts.errors import Problem
from partsong.contracts.events import Event
from partsong.contracts.marks import Restored
from partsong.contracts.work import ToolWork
from partsong.log.memory import MemoryLog
from partsong.testing.nats import fresh_subjects
from partsong.tool_runner.doubts import doubt

SUBJECTS = fresh_subjects()
RUN, CALL = "r_1", "pay:1"
BODY = b'{"run":"r_1","events":[]}'


def restored(kept: int, *, upto: int | None = None) -> Restored:
    return Restored(
        log_id="a", epoch=2, kept=kept, upto=upto, lost=None, since="", at="then", by="ann", source="backup"
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
    why = await doubt(log, SUBJECTS, work(attempt), [restored(1 + len(before))])
    assert why is not None
    assert "ann restored the log from backup" in why


async def test_it_is_asked_once() -> None:
    log = await a_log(since=(claimed(1), failed(1)))
    assert await doubt(log, SUBJECTS, work(2), [restored(1)]) is None
    assert await doubt(log, SUBJECTS, work(2), []) is None


async def test_what_an_earlier_restore_left_open_is_asked_about_no_more_than_once() -> None:
    log = await a_log(since=(claimed(1), failed(1)))
    head = await log.head()
    assert await doubt(log, SUBJECTS, work(2), [restored(1), restored(head)]) is not None
    assert await doubt(log, SUBJECTS, work(2), [restored(1)]) is None


async def test_a_run_that_began_since_made_nothing_before() -> None:
    log = await a_log(run="r_other")
    assert await doubt(log, SUBJECTS, work(), [restored(1)]) is None
    await log.append(SUBJECTS.engine(RUN), BODY, id="begun later")
    assert await doubt(log, SUBJECTS, work(), [restored(1)]) is None


async def test_what_was_left_and_stands_behind_what_is_vouched_for_was_there_too() -> None:
    log = await a_log()
    assert await doubt(log, SUBJECTS, work(), [restored(0, upto=1)]) is not None
