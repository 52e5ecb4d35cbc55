"""Claims over the log: one worker acts, one result counts, and a silent log costs nothing but time."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import replace

import pytest

from partsong.bus.claims import Claim, claim, report
from partsong.contracts import events as e
from partsong.contracts.errors import InvalidInput, Problem, Unavailable
from partsong.contracts.events.envelope import decode, encode_report
from partsong.contracts.wire.subjects import Subjects
from partsong.log.memory import MemoryLog
from partsong.log.port import Appended, Record

RUN, CALL = "r_1", "send:1"
SUBJECTS = Subjects()
SUBJECT = SUBJECTS.call(RUN, CALL)
WHEN = "2026-01-01T00:00:00.000Z"


def claimed(worker: str, attempt: int = 1) -> e.CallClaimed:
    return e.CallClaimed(
        id=f"{RUN}.{CALL}.{attempt}.claimed.{worker}",
        time=WHEN,
        cause="c",
        call_id=CALL,
        attempt=attempt,
        worker=worker,
    )


def completed(attempt: int = 1, content: str = "done") -> e.CallCompleted:
    return e.CallCompleted(
        id=f"{RUN}.{CALL}.{attempt}.closed",
        time=WHEN,
        cause="c",
        call_id=CALL,
        attempt=attempt,
        content=content,
    )


def failed(attempt: int = 1) -> e.CallFailed:
    return e.CallFailed(
        id=f"{RUN}.{CALL}.{attempt}.closed",
        time=WHEN,
        cause="c",
        call_id=CALL,
        attempt=attempt,
        error=Problem(code="x", message="x"),
    )


def lapsed(attempt: int = 1) -> e.CallLapsed:
    return e.CallLapsed(
        id=f"{RUN}.{CALL}.{attempt}.lapsed",
        time=WHEN,
        cause="c",
        call_id=CALL,
        attempt=attempt,
        worker="w1",
    )


def cancelled(attempt: int = 0) -> e.CallCancelled:
    return e.CallCancelled(
        id=f"{RUN}.{CALL}.cancelled", time=WHEN, cause="c", call_id=CALL, attempt=attempt
    )


async def put(store: MemoryLog, event: e.Event) -> None:
    last = await store.last(SUBJECT)
    await store.append(
        SUBJECT, encode_report(RUN, event), id=event.id, expect=last.seq if last else 0
    )


async def ours(store: MemoryLog, worker: str, attempt: int = 1) -> Claim:
    found = await claim(store, SUBJECTS, RUN, claimed(worker, attempt))
    assert isinstance(found, Claim), found
    return found


async def story(store: MemoryLog) -> list[str]:
    return [
        event.type async for record in store.read(SUBJECT) for event in decode(record.body).events
    ]


async def test_a_free_call_is_claimed_and_closed() -> None:
    store = MemoryLog()
    mine = await ours(store, "w1")
    assert await mine.close(completed())
    assert await story(store) == ["call.claimed", "call.completed"]


async def test_a_call_claimed_by_another_worker_is_busy() -> None:
    store = MemoryLog()
    await ours(store, "w1")
    assert await claim(store, SUBJECTS, RUN, claimed("w2")) == "busy"


async def test_of_workers_that_claim_at_once_one_wins() -> None:
    store = MemoryLog()
    found = await asyncio.gather(*(claim(store, SUBJECTS, RUN, claimed(f"w{i}")) for i in range(8)))
    assert sorted(str(one) for one in found if not isinstance(one, Claim)) == ["busy"] * 7


async def test_a_claim_of_ours_whose_append_was_never_confirmed_is_ours() -> None:
    store = MemoryLog()
    await put(store, claimed("w1"))
    mine = await ours(store, "w1")
    assert await mine.close(completed())
    assert await story(store) == ["call.claimed", "call.completed"]


@pytest.mark.parametrize("end", [completed(2), cancelled(2), cancelled()])
async def test_an_attempt_that_has_ended_is_closed_and_so_are_those_before(end: e.Event) -> None:
    store = MemoryLog()
    await put(store, end)
    for attempt in (1, 2):
        assert await claim(store, SUBJECTS, RUN, claimed("w1", attempt)) == "closed"


@pytest.mark.parametrize("end", [failed(), lapsed(), cancelled(1), completed()])
async def test_when_an_attempt_has_ended_the_next_one_asked_for_is_free(end: e.Event) -> None:
    store = MemoryLog()
    await put(store, claimed("w1"))
    await put(store, end)
    assert await claim(store, SUBJECTS, RUN, claimed("w2")) == "closed"
    assert await (await ours(store, "w2", attempt=2)).close(completed(2))


async def test_a_claim_of_a_later_attempt_closes_the_earlier_ones() -> None:
    store = MemoryLog()
    await put(store, claimed("w1", attempt=2))
    assert await claim(store, SUBJECTS, RUN, claimed("w2", attempt=1)) == "closed"


async def test_a_worker_that_was_given_up_cannot_close() -> None:
    store = MemoryLog()
    mine = await ours(store, "w1")
    await put(store, lapsed())
    assert not await mine.close(completed())
    assert await story(store) == ["call.claimed", "call.lapsed"]


async def test_two_reports_of_one_attempt_are_one_record() -> None:
    store = MemoryLog()
    await report(store, SUBJECTS, RUN, completed(content="first"))
    await report(store, SUBJECTS, RUN, completed(content="second"))
    bodies = [record.body async for record in store.read(SUBJECTS.fact(RUN))]
    assert len(bodies) == 1
    assert b"first" in bodies[0]


class Silent(MemoryLog):
    """A log whose first appends go unanswered; `stored` says whether they arrived all the same."""

    def __init__(self, times: int, *, stored: bool) -> None:
        super().__init__()
        self.times, self.stored = times, stored

    async def append(
        self,
        subject: str,
        body: bytes,
        *,
        id: str,
        expect: int | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Appended:
        if self.times == 0:
            return await super().append(subject, body, id=id, expect=expect, headers=headers)
        self.times -= 1
        if self.stored:
            await super().append(subject, body, id=id, expect=expect, headers=headers)
        raise Unavailable("log.silent", "no answer", retryable=True)


@pytest.mark.parametrize("stored", [False, True])
async def test_a_result_is_appended_however_long_the_log_is_silent(
    stored: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("partsong.bus.claims._FIRST", 0.001)
    store = Silent(0, stored=stored)
    mine = await ours(store, "w1")
    store.times = 3
    assert await mine.close(completed())
    store.times = 3
    await report(store, SUBJECTS, RUN, completed(2))
    assert await story(store) == ["call.claimed", "call.completed"]
    assert len([record async for record in store.read(SUBJECTS.fact(RUN))]) == 1


async def test_a_claim_that_was_not_confirmed_is_not_acted_on_but_found_again() -> None:
    store = Silent(1, stored=True)
    with pytest.raises(Unavailable):
        await claim(store, SUBJECTS, RUN, claimed("w1"))
    assert await (await ours(store, "w1")).close(completed())


async def test_a_claim_of_ours_is_not_acted_on_in_a_log_that_is_not_written_to() -> None:
    """One that has lost its tail may have lost our result: what stands open there was made already."""
    store = Silent(0, stored=False)
    await ours(store, "w1")
    store.times = 1
    with pytest.raises(Unavailable):
        await claim(store, SUBJECTS, RUN, claimed("w1"))
    assert await (await ours(store, "w1")).close(completed())
    assert await story(store) == ["call.claimed", "call.completed"]


class WithoutABody(MemoryLog):
    """A log whose newest records have lost their bodies, which lay elsewhere."""

    async def last(self, subject: str, *, sure: bool = False) -> Record | None:
        found = await super().last(subject, sure=sure)
        gone = Problem(code="log.blob_missing", message="the bucket has no object of this name")
        return None if found is None else replace(found, body=b"", problem=gone)


@pytest.mark.parametrize("body", [b"garbage", b"[]", b'{"run":"r_other","events":[]}'])
async def test_a_call_whose_newest_record_cannot_be_read_is_refused_for_good_by_name(
    body: bytes,
) -> None:
    """Delivered again it would find the same; its engine sets the run aside."""
    log = MemoryLog()
    await log.append(SUBJECT, body, id="bad")
    with pytest.raises(InvalidInput, match="the log of r_1 holds what cannot be read") as caught:
        await claim(log, SUBJECTS, RUN, claimed("w1"))
    assert caught.value.problem.where == f"{SUBJECT} at 1"
    assert await log.head() == 1


async def test_so_is_one_whose_body_is_missing() -> None:
    log = WithoutABody()
    await log.append(SUBJECT, encode_report(RUN, claimed("w2")), id="bad")
    with pytest.raises(InvalidInput, match=r"log\.blob_missing"):
        await claim(log, SUBJECTS, RUN, claimed("w1"))
