"""Lanes: what waits is taken from each lane in its turn, so a full lane delays nobody in another."""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Iterator
from typing import Generic, TypeVar

__all__ = ["Lanes"]

_T = TypeVar("_T")


class Lanes(Generic[_T]):
    """A queue of queues: first come first served within a lane, by turns between lanes."""

    def __init__(self) -> None:
        self._lanes: OrderedDict[int, deque[_T]] = OrderedDict()

    def put(self, lane: int, item: _T) -> None:
        """Add an item at the end of its lane."""
        self._lanes.setdefault(lane, deque()).append(item)

    def take(self) -> _T:
        """Remove and return the next item; its lane has to wait for all others that have one.

        Raises:
            LookupError: nothing waits.
        """
        lane, items = self._lanes.popitem(last=False)
        item = items.popleft()
        if items:
            self._lanes[lane] = items
        return item

    def __iter__(self) -> Iterator[_T]:
        """All that waits, lane by lane."""
        return (item for items in self._lanes.values() for item in items)

    def __len__(self) -> int:
        return sum(map(len, self._lanes.values()))
