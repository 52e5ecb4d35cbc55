"""Replay: a run's log folds to the same state for ever, and whatever happened to the log shows, with its place."""

from __future__ import annotations

import asyncio
import functools
import json

from hypothesis import given
from hypothesis import strategies as st
from pydantic import JsonValue

from partsong.contracts import events as e
from partsong.contracts.events.envelope import (
    START_HASH,
    Commit,
    decode,
    encode_commit,
    encode_report,
)
from partsong.contracts.graph.validate import parse_graph
from partsong.contracts.state.fold import fold_all
from partsong.contracts.state.verify import Replay, replay
from partsong.contracts.wire.subjects import Subjects
from partsong.engine.commands import runs
from partsong.engine.decide import decide
from partsong.engine.ledger import Ledger
from partsong.log.memory import MemoryLog

RUN = "r_1"
NOW = "2026-01-01T00:00:00.000Z"
STEPS = 6
GRAPH = parse_graph(
    {
        "name": "line",
        "nodes": {f"n{i}": {"type": "function", "function": f"m:n{i}"} for i in range(STEPS)},
        "edges": [{"from": f"n{i}", "to": f"n{i + 1}"} for i in range(STEPS - 1)],
    }
)
Records = tuple[tuple[int, bytes], ...]


async def _a_run() -> Records:
    log, subjects = MemoryLog(), Subjects()
    ledger = Ledger(log, subjects, RUN)
    news: tuple[e.Event, ...] = runs.start(RUN, GRAPH, {}, e.RunOptions(), "q1", NOW)
    for i in range(STEPS + 1):
        decision = decide(fold_all(ledger.state, news), NOW)
        await ledger.commit((*news, *decision.events), decision.state)
        if i < STEPS:
            fact = completed(i)
            await log.append(subjects.fact(RUN), encode_report(RUN, fact), id=fact.id)
            await ledger.refresh()
        news = ()
    return tuple([(record.seq, record.body) async for record in log.read(subjects.run(RUN))])


@functools.cache
def a_run() -> Records:
    """A whole run as the engine's ledger writes it: a commit, a fact, a commit, a fact, …, a last commit."""
    return asyncio.run(_a_run())


def completed(i: int, value: JsonValue = None) -> e.CallCompleted:
    update: dict[str, JsonValue] = {f"k{i}": i if value is None else value}
    return e.CallCompleted(
        id=f"{RUN}.n{i}:1.1.done", time=NOW, call_id=f"n{i}:1", attempt=1, update=update
    )


def first(found: Replay) -> tuple[str, str | None]:
    assert not found.ok, "the log was changed, and nobody noticed"
    return found.findings[0].code, found.findings[0].where


places = st.integers(0, 2 * STEPS)
commits = st.sampled_from(range(0, 2 * STEPS + 1, 2))
facts = st.sampled_from(range(1, 2 * STEPS, 2))


def test_an_untouched_log_is_ok_and_gives_the_state() -> None:
    found = replay(RUN, a_run())
    assert found.ok, found.findings
    assert found.state.status == "completed"
    assert found.state.values == {f"k{i}": i for i in range(STEPS)}
    assert found.records == len(a_run()) == 2 * STEPS + 1
    assert found.events == sum(len(decode(body).events) for _, body in a_run())
    assert found.verified == a_run()[-2][0], "the last commit vouches for all before it"


def test_an_empty_log_is_a_run_that_has_not_started() -> None:
    found = replay(RUN, ())
    assert found.ok
    assert (found.state.status, found.records, found.verified) == ("queued", 0, 0)


@given(facts)
def test_a_changed_fact_shows_at_the_next_commit(at: int) -> None:
    records = list(a_run())
    seq = records[at][0]
    records[at] = (seq, encode_report(RUN, completed(at // 2, "forged")))
    found = replay(RUN, records)
    assert first(found) == ("log.history_changed", f"seq {records[at + 1][0]}")
    assert f"up to {seq}" in found.findings[0].message
    assert found.verified == (records[at - 2][0] if at > 1 else 0), (
        "what lies before it still stands"
    )
    assert len(found.findings) == 1, "one change is one finding, not one per later commit"


@given(facts)
def test_a_lost_fact_shows_at_the_next_commit(at: int) -> None:
    records = list(a_run())
    lost = records.pop(at)[0]
    found = replay(RUN, records)
    assert first(found) == ("log.record_missing", f"seq {records[at][0]}")
    assert f"record {lost}" in found.findings[0].message


@given(commits.filter(lambda at: at < 2 * STEPS))
def test_a_lost_commit_shows_by_its_number(at: int) -> None:
    records = list(a_run())
    records.pop(at)
    code, where = first(replay(RUN, records))
    assert code == "log.commit_missing"
    assert where == f"seq {records[at + 1][0]}"


@given(commits, st.data())
def test_a_flipped_byte_in_a_commit_shows_at_that_commit(at: int, data: st.DataObject) -> None:
    records = list(a_run())
    seq, body = records[at]
    place = data.draw(st.integers(0, len(body) - 1))
    other = data.draw(st.integers(1, 255))
    records[at] = (seq, body[:place] + bytes([body[place] ^ other]) + body[place + 1 :])
    found = replay(RUN, records)
    assert not found.ok
    assert f"seq {seq}" in {finding.where for finding in found.findings}


@given(facts, facts)
def test_an_inserted_fact_shows(at: int, value: int) -> None:
    records = list(a_run())
    forged = encode_report(RUN, completed(at // 2, value))
    records.insert(at, (records[at][0], forged))
    assert first(replay(RUN, records))[0] == "log.history_changed"


@given(places)
def test_what_cannot_be_read_is_named_and_the_rest_is_read_on(at: int) -> None:
    records = list(a_run())
    seq = records[at][0]
    records[at] = (seq, b"\x00 not json")
    found = replay(RUN, records)
    assert first(found) == ("log.unreadable", f"seq {seq}")
    assert found.records == len(records)


def test_a_record_of_another_run_is_named() -> None:
    seq = a_run()[-1][0] + 1
    stray = (seq, encode_report("r_2", completed(0)))
    assert first(replay(RUN, (*a_run(), stray))) == ("log.other_run", f"seq {seq}")


def test_what_lies_behind_the_newest_commit_is_not_vouched_for() -> None:
    seq = a_run()[-1][0] + 1
    late = (seq, encode_report(RUN, completed(0, "late")))
    found = replay(RUN, (*a_run(), late))
    assert found.ok
    assert found.verified < seq


def test_a_commit_whose_hash_is_not_its_end_is_changed() -> None:
    commit, body = encode_commit(
        RUN, 1, 0, START_HASH, runs.start(RUN, GRAPH, {}, e.RunOptions(), "q1", NOW)
    )
    raw = json.loads(body)
    more = body[:-1] + b',"x":1}'
    assert first(replay(RUN, [(1, more)])) == ("log.commit_changed", "seq 1")
    moved = json.dumps({"hash": raw.pop("hash"), **raw}, separators=(",", ":")).encode()
    read = decode(moved)
    assert isinstance(read, Commit)
    assert read.hash == commit.hash
    assert first(replay(RUN, [(1, moved)])) == ("log.commit_changed", "seq 1")
