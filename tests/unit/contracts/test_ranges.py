"""Ranges of sequences: as few as can be, and exact."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from partsong.contracts.ranges import (
    Range,
    clipped,
    gaps,
    outside,
    ranges,
    records,
    size_of,
    spans,
    united,
    within,
)

SEQS = st.sets(st.integers(1, 60))


def seqs(found: tuple[Range, ...]) -> set[int]:
    return {seq for first, last in found for seq in range(first, last + 1)}


def test_records_are_named_in_words() -> None:
    assert records([(7, 7)]) == "record 7"
    assert records([(4, 9), (12, 12)]) == "records 4 to 9, 12"


def test_ranges_are_as_few_as_can_be() -> None:
    assert ranges([1, 2, 3, 7, 9, 10]) == ((1, 3), (7, 7), (9, 10))
    assert ranges([]) == ()
    assert united([(7, 9), (1, 2), (3, 4), (8, 12)]) == ((1, 4), (7, 12))


@given(SEQS, SEQS)
def test_what_they_hold_is_what_sets_would_hold(one: set[int], other: set[int]) -> None:
    a, b = ranges(sorted(one)), ranges(sorted(other))
    assert seqs(united((*a, *b))) == one | other
    assert seqs(outside(a, b)) == one - other
    assert within(a, b) == (one <= other)
    assert size_of(a) == len(one)
    assert seqs(clipped(a, (20, 40))) == one & set(range(20, 41))


@given(SEQS)
def test_gaps_are_what_is_left_out(there: set[int]) -> None:
    assert seqs(gaps(sorted(there), 60)) == set(range(1, 61)) - there
    assert seqs(gaps(sorted(there))) == set(range(1, max(there, default=0))) - there


def test_many_are_said_in_words_and_counted() -> None:
    assert spans([(4, 4), (7, 9)]) == "4, 7 to 9"
    assert spans([(n, n) for n in range(1, 60, 2)]).endswith("39 and 10 more")
