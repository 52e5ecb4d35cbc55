"""Which snapshots are kept: never more than allowed, the newest always, and no great holes."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from partsong.contracts.errors import InvalidInput
from partsong.log.snapshots.retention import DEFAULT, Retention


def kept(retention: Retention, seqs: list[int]) -> list[int]:
    """What stays when one after the other is put."""
    stay: set[int] = set()
    for seq in seqs:
        stay.add(seq)
        stay -= set(retention.surplus(stay))
    return sorted(stay)


@given(
    st.builds(Retention, st.integers(1, 5), st.integers(0, 8)),
    st.lists(st.integers(1, 10_000), unique=True, max_size=60),
)
def test_the_newest_stay_and_no_more_than_allowed(retention: Retention, seqs: list[int]) -> None:
    stay = kept(retention, seqs)
    assert len(stay) == min(len(seqs), retention.newest + retention.older)
    assert stay[-retention.newest :] == sorted(seqs)[-retention.newest :]
    assert retention.surplus(stay) == []


@pytest.mark.parametrize("retention", [Retention(2, 5), Retention(4, 12), DEFAULT])
@pytest.mark.parametrize("step", [1, 10])
def test_no_hole_is_wider_than_twice_an_even_one(retention: Retention, step: int) -> None:
    for count in (20, 100, 333, 1000):
        stay = kept(retention, list(range(step, step * count + 1, step)))
        widest = max(after - before for before, after in itertools.pairwise([0, *stay]))
        assert widest <= max(step, 2 * step * count / (retention.older + 1))


@pytest.mark.parametrize(("newest", "older"), [(0, 5), (-1, 0), (1, -1)])
def test_to_keep_nothing_is_refused(newest: int, older: int) -> None:
    with pytest.raises(InvalidInput) as refused:
        Retention(newest, older)
    assert refused.value.problem.code == "snapshots.retention"
