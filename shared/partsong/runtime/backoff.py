"""Waits between tries: each twice as long as the one before, up to a longest."""

from __future__ import annotations

__all__ = ["backoff"]

_DOUBLINGS = 32
"""What is tried for days has long reached the longest; a float has an end, too."""


def backoff(tries: int, *, first: float, longest: float) -> float:
    """Seconds to wait after so many tries, the first of which is 1."""
    return min(longest, first * 2.0 ** min(tries - 1, _DOUBLINGS))
