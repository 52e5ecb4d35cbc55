"""Which snapshots of a run are kept: the newest, for going on, and older ones, spread out, for looking back.

An older one is let go where that leaves the smallest hole. Over a run of any length the holes stay within twice what
even spacing would give, so the state at any step is never more than that away from a snapshot. The log is shared, so
distances are in records of all runs: where much else happened meanwhile, a run's own snapshots lie closer.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from partsong.contracts.errors import InvalidInput

__all__ = ["DEFAULT", "Retention"]


@dataclass(frozen=True, slots=True)
class Retention:
    """How many are kept of each run.

    Raises:
        InvalidInput: `snapshots.retention`: `newest` is less than 1, or `older` less than 0.
    """

    newest: int = 8
    older: int = 56

    def __post_init__(self) -> None:
        if self.newest < 1 or self.older < 0:
            raise InvalidInput(
                "snapshots.retention",
                f"newest is {self.newest}, should be at least 1; older is {self.older}, should be at least 0",
                where="newest" if self.newest < 1 else "older",
                fix="to keep none at all use `none:`",
            )

    def surplus(self, seqs: Iterable[int]) -> list[int]:
        """Those of these sequences that need not be kept."""
        ordered = sorted(seqs)
        older, first_of_newest = ordered[: -self.newest], ordered[-self.newest :][:1]
        gone: list[int] = []
        while len(older) > self.older:
            edges = [0, *older, *first_of_newest]
            holes = [after - before for before, after in zip(edges, edges[2:], strict=False)]
            gone.append(older.pop(holes.index(min(holes))))
        return gone


DEFAULT = Retention()
"""64 of each run: over one of 10,000 records none is further than 360 records from the next."""
