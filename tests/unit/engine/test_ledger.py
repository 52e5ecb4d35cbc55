"""The ledger: what is delivered is folded where it stands; what does not fit is never folded over."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from partsong.contracts import events as e
from partsong.contracts.errors import InvalidInput
from partsong.contracts.events.envelope import encode_commit, encode_report
from partsong.contracts.graph.validate import parse_graph
from partsong.contracts.state.fold import fold_all
from partsong.contracts.state.verify import replay
from partsong.contracts.wire.subjects import Subjects
from partsong.engine.commands import runs
from partsong.engine.decide import decide
from partsong.engine.ledger import HistoryChanged, Ledger
from partsong.log.memory import MemoryLog
from partsong.log.port import Appended, Record, WrongSequence

RUN, NOW = "r_1", "2026-01-01T00:00:00.000Z"
SUBJECTS = Subjects()
GRAPH = parse_graph(
    {
        "name": "two",
        "entry": "a",
        "nodes": {n: {"type": "function", "function": f"m:{n}"} for n in ("a", "b")},
        "edges": [{"from": "a", "to": "b"}],
    }
)
DONE = e.CallCompleted(id="b:1.closed", time=NOW, call_id="b:1", attempt=1)


class Story:
    """One run in a memory log, and the engines that hold it."""

    def __init__(self) -> None:
        self.log = MemoryLog()

    def engine(self) -> Ledger:
        return Ledger(self.log, SUBJECTS, RUN)

    async def commit(self, ledger: Ledger, *news: e.Event) -> None:
        decision = decide(fold_all(ledger.state, news), NOW)
        await ledger.commit((*news, *decision.events), decision.state)

    async def begin(self, ledger: Ledger) -> None:
        await self.commit(ledger, *runs.start(RUN, GRAPH, {}, e.RunOptions(), "q1", NOW))

    async def report(self, call_id: str) -> None:
        done = e.CallCompleted(id=f"{call_id}.closed", time=NOW, call_id=call_id, attempt=1)
        await self.log.append(SUBJECTS.fact(RUN), encode_report(RUN, done), id=done.id)

    async def records(self) -> list[Record]:
        return [record async for record in self.log.read(SUBJECTS.run(RUN))]

    async def whole(self, ledger: Ledger) -> None:
        """The log is sound, and the ledger's state is what it amounts to."""
        found = replay(RUN, [(record.seq, record.body) for record in await self.records()])
        assert found.findings == ()
        assert ledger.state == found.state


async def pause(story: Story, ledger: Ledger, request_id: str) -> None:
    await story.commit(ledger, *runs.pause(ledger.state, None, request_id, NOW))


async def test_an_own_commit_becomes_sure_when_it_is_delivered_and_is_no_news() -> None:
    story = Story()
    ledger = story.engine()
    await story.begin(ledger)
    await story.report("a:1")
    assert [ledger.fold(record) for record in await story.records()] == [False, True]
    assert ledger.seen == 2
    await story.whole(ledger)
    assert ledger.folded.state == ledger.state


async def test_a_fact_before_an_own_commit_is_folded_where_it_stands() -> None:
    story = Story()
    ledger = story.engine()
    await story.begin(ledger)
    await story.report("a:1")
    await pause(story, ledger, "q2")
    for record in await story.records():
        ledger.fold(record)
    await story.whole(ledger)


async def test_what_the_feed_delivers_before_the_append_is_confirmed_counts_once() -> None:
    story = Story()
    ledger = story.engine()
    real = story.log.append

    async def late(*args: Any, **named: Any) -> Appended:
        done = await real(*args, **named)
        for record in await story.records():
            ledger.fold(record)
        return done

    story.log.append = late  # type: ignore[method-assign]
    await story.begin(ledger)
    assert ledger.seen == ledger.commit_seq == 1
    await pause(story, ledger, "q2")
    await story.whole(ledger)
    assert ledger.state.commits == 2


async def test_another_engines_commit_is_folded_in_its_place() -> None:
    story = Story()
    first, second = story.engine(), story.engine()
    await story.begin(first)
    await second.refresh()
    await pause(story, second, "q2")
    await story.report("a:1")
    assert [first.fold(record) for record in await story.records()] == [False, True, True]
    assert first.state.paused
    await story.commit(first, *runs.resume(first.state, "q3", NOW))
    await first.refresh()
    await story.whole(first)


async def test_a_decision_that_lost_the_race_leaves_nothing_behind() -> None:
    story = Story()
    first, second = story.engine(), story.engine()
    await story.begin(first)
    await second.refresh()
    await pause(story, second, "q2")
    with pytest.raises(WrongSequence):
        await story.commit(first, *runs.cancel(first.state, None, "q3", NOW))
    assert first.state.stopping is None
    for record in await story.records():
        first.fold(record)
    await story.whole(first)
    assert first.state.paused


async def test_a_commit_that_was_missed_is_never_folded_over() -> None:
    """As with a feed that has a hole: the next commit does not continue what is held."""
    story = Story()
    first, second = story.engine(), story.engine()
    await story.begin(first)
    await second.refresh()
    await pause(story, second, "q2")
    await story.commit(second, *runs.resume(second.state, "q3", NOW))
    begun, _missed, resumed = await story.records()
    first.fold(begun)
    with pytest.raises(HistoryChanged, match="after commit 1 comes commit 3"):
        first.fold(resumed)
    anew = story.engine()
    await anew.refresh()
    await story.whole(anew)


async def test_a_fact_that_was_missed_shows_at_the_next_commit_that_had_seen_it() -> None:
    story = Story()
    first, second = story.engine(), story.engine()
    await story.begin(first)
    await story.report("a:1")
    await second.refresh()
    await story.commit(second)
    begun, _missed, commit = await story.records()
    first.fold(begun)
    with pytest.raises(HistoryChanged, match="decided on records up to 2 that are not these"):
        first.fold(commit)


async def test_it_is_read_up_to_a_place_and_goes_on_from_there() -> None:
    story = Story()
    first, second = story.engine(), story.engine()
    await story.begin(first)
    await story.report("a:1")
    await second.refresh(upto=1)
    assert second.seen == 1
    second.fold((await story.records())[1])
    await story.whole(second)


async def test_a_log_that_is_not_what_its_commits_say_is_named() -> None:
    story = Story()
    first, second = story.engine(), story.engine()
    await story.begin(first)
    await second.refresh()
    await story.report("a:1")
    await second.refresh()
    second._hash = bytes(32)  # as of an engine that folded something else
    await story.commit(second)
    with pytest.raises(HistoryChanged, match="commit 2 was decided on records up to 2") as refused:
        await first.refresh()
    assert refused.value.problem.where == "seq 3"


async def test_a_commit_that_is_not_what_its_own_hash_says_is_named() -> None:
    story = Story()
    ledger = story.engine()
    await story.begin(ledger)
    (record,) = await story.records()
    changed = replace(record, body=record.body.replace(b'"two"', b'"six"'))
    with pytest.raises(HistoryChanged, match="commit 1 is not what its own hash says"):
        story.engine().fold(changed)


@pytest.mark.parametrize(
    ("subject", "body", "why"),
    [
        (SUBJECTS.engine(RUN), encode_report(RUN), "it is no commit"),
        (SUBJECTS.fact(RUN), encode_commit(RUN, 2, 1, bytes(32), ())[1], "it is a commit"),
        (SUBJECTS.fact(RUN), encode_report("r_2"), "it says that it is of run r_2"),
        (SUBJECTS.call(RUN, "a:1"), encode_report(RUN), "does not end with an event of call a:1"),
        (SUBJECTS.call(RUN, "a:1"), encode_report(RUN, DONE), "does not end with an event of call"),
        (SUBJECTS.command(RUN, "q2"), encode_report(RUN), "does not end with request q2"),
    ],
)
async def test_what_does_not_belong_under_its_subject_is_refused(
    subject: str, body: bytes, why: str
) -> None:
    """It has moved a guard: a commit, a claim or a request of ours would be refused as often as it is made."""
    story = Story()
    ledger = story.engine()
    await story.begin(ledger)
    ledger.fold((await story.records())[0])
    at = await story.log.append(subject, body, id="junk")
    with pytest.raises(InvalidInput, match=why) as refused:
        ledger.fold((await story.records())[1])
    assert refused.value.problem.code == "log.misplaced"
    assert refused.value.problem.where == f"{subject} at {at.seq}"
