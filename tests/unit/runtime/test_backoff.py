"""Backoff: twice as long each time, and never longer than it may be, however often it was tried."""

from __future__ import annotations

import pytest

from partsong.runtime.backoff import backoff


@pytest.mark.parametrize(
    ("tries", "wait"), [(1, 0.5), (2, 1.0), (3, 2.0), (7, 30.0), (1_000, 30.0), (100_000, 30.0)]
)
def test_a_wait_doubles_up_to_the_longest(tries: int, wait: float) -> None:
    assert backoff(tries, first=0.5, longest=30.0) == wait
