"""Lanes: first come first served within one, by turns between them."""

from __future__ import annotations

from collections import defaultdict

import pytest
from hypothesis import given
from hypothesis import strategies as st

from partsong.graph_engine.core.lanes import Lanes


def drained(lanes: Lanes[tuple[int, int]]) -> list[tuple[int, int]]:
    return [lanes.take() for _ in range(len(lanes))]


@given(st.lists(st.integers(0, 5)))
def test_each_lane_keeps_its_order_and_nothing_is_lost(put: list[int]) -> None:
    lanes = Lanes[tuple[int, int]]()
    for at, lane in enumerate(put):
        lanes.put(lane, (lane, at))
    assert sorted(lanes) == sorted(zip(put, range(len(put)), strict=True))
    taken = drained(lanes)
    by_lane = defaultdict[int, list[int]](list)
    for lane, at in taken:
        by_lane[lane].append(at)
    assert all(ats == sorted(ats) for ats in by_lane.values())
    assert len(taken) == len(put)


@given(st.lists(st.integers(0, 5)), st.lists(st.integers(0, 5)))
def test_between_two_of_one_lane_every_other_that_waits_has_its_turn(
    first: list[int], later: list[int]
) -> None:
    """Also of lanes that filled while others were being taken."""
    lanes, waits = Lanes[tuple[int, int]](), defaultdict[int, int](int)
    since = defaultdict[int, set[int]](set)
    """By lane that waits: who has been taken since it began to."""
    for at, lane in enumerate(first):
        lanes.put(lane, (lane, at))
        waits[lane] += 1
    for at, lane in enumerate(later):
        if not len(lanes):
            break
        taken, _ = lanes.take()
        waits[taken] -= 1
        since.pop(taken, None)
        for other in (lane_ for lane_, n in waits.items() if n and lane_ != taken):
            assert taken not in since[other], f"{taken} twice, {other} not once"
            since[other].add(taken)
        lanes.put(lane, (lane, -at))
        waits[lane] += 1


def test_of_no_lane_nothing_is_taken() -> None:
    with pytest.raises(LookupError):
        Lanes[int]().take()
