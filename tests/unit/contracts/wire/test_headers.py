"""A commit's headers say how its run stands, to whoever reads nothing else of it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from partsong.contracts.wire.headers import (
    ERROR,
    GRAPH,
    ORIGIN,
    PENDING,
    STARTED,
    STATUS,
    UNCOMPENSATED,
    WEBHOOK,
    CommitSummary,
    sequence,
)

WORDS = st.text("abc:1", min_size=1, max_size=6)
SUMMARIES = st.builds(
    CommitSummary,
    status=st.sampled_from(["running", "completed", "failed", "refused"]),
    graph=WORDS,
    started=st.just("2026-01-01T00:00:00.000Z"),
    error=st.none() | WORDS,
    uncompensated=st.lists(WORDS, max_size=10).map(tuple),
    webhook=st.booleans(),
    pending=st.integers(0, 100),
    origin=st.none() | st.tuples(WORDS, st.integers(0, 2**63 - 1)),
)

HEADERS = (STATUS, GRAPH, STARTED, ERROR, UNCOMPENSATED, WEBHOOK, PENDING, ORIGIN)


@given(SUMMARIES)
def test_what_was_written_is_read(summary: CommitSummary) -> None:
    assert CommitSummary.of(summary.headers()) == summary


def test_of_many_executions_that_could_not_be_undone_ten_are_named() -> None:
    lost = tuple(f"n:{n}" for n in range(12))
    said = CommitSummary("failed", uncompensated=lost).headers()
    assert said[UNCOMPENSATED] == ",".join((*lost[:10], "…"))


def test_what_there_is_nothing_to_say_of_is_left_out() -> None:
    assert CommitSummary("running").headers().keys() == {STATUS, GRAPH, STARTED}


@given(st.dictionaries(st.sampled_from(HEADERS), st.text(max_size=30)))
def test_whatever_stands_in_the_headers_is_read_or_is_none(headers: dict[str, str]) -> None:
    said = CommitSummary.of(headers)
    assert (said is None) is (STATUS not in headers)


@pytest.mark.parametrize("odd", ["0", "", "many", "9" * 40])
def test_what_is_left_to_do_shows_though_its_number_cannot_be_read(odd: str) -> None:
    said = CommitSummary.of({STATUS: "completed", PENDING: odd, WEBHOOK: ""})
    assert said is not None
    assert (said.pending, said.webhook) == (1, True)


@pytest.mark.parametrize(
    ("text", "read"), [("7", 7), ("", None), ("-1", None), ("1e3", None), ("9" * 20, None)]
)
def test_a_sequence_is_a_number_of_the_servers_or_none(text: str, read: int | None) -> None:
    assert sequence(text) == read
