"""Open runs of a partition: which have not ended, as far as the partition's records have been delivered.

What a run's newest commit says of it stands in that commit's headers, so nothing has to be folded to know it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from partsong.contracts.state.state import ENDED
from partsong.contracts.wire.headers import REFUSED, CommitSummary, seen_in
from partsong.contracts.wire.subjects import LogSubject
from partsong.log.port import Record

__all__ = ["OpenRuns", "ends"]

_OVER = frozenset({*ENDED, REFUSED})
"""What a commit's header says of a run in which nothing is left to be done."""


def ends(record: Record) -> bool:
    """Whether a commit says that its run has ended, and nothing is left to be done."""
    said = CommitSummary.of(record.headers)
    return said is not None and said.status in _OVER and not (said.webhook or said.pending)


class OpenRuns:
    """Runs with the newest record that was delivered of each."""

    def __init__(self, newest: Mapping[str, int] | None = None) -> None:
        self._newest = dict(newest or {})

    def __contains__(self, run_id: str) -> bool:
        return run_id in self._newest

    def __len__(self) -> int:
        return len(self._newest)

    @property
    def newest(self) -> dict[str, int]:
        """All of them, with the newest record of each."""
        return dict(self._newest)

    def of(self, run_id: str) -> int:
        """The newest record of a run; 0 if the run is not open."""
        return self._newest.get(run_id, 0)

    def without(self, held: Iterable[str]) -> list[str]:
        """Those that are not held, sorted."""
        return sorted(self._newest.keys() - set(held))

    def note(self, record: Record, where: LogSubject) -> None:
        """Note what a record says of a run that nobody holds.

        A command opens a run; a report about one that is not open came too late, or to the wrong place. A commit that
        ends a run may have been decided before what lies between stood in the log: a request still has no answer then.
        """
        if where.entity == "engine":
            seen = seen_in(record.headers)
            if ends(record) and (seen is None or seen >= self.of(where.run_id)):
                self._newest.pop(where.run_id, None)
                return
        elif where.entity != "command" and where.run_id not in self._newest:
            return
        self._newest[where.run_id] = record.seq

    def moved(self, run_id: str, seq: int) -> None:
        """A record of a run that is held was delivered."""
        self._newest[run_id] = seq

    def over(self, run_id: str) -> None:
        """Nothing is left to be done for a run."""
        self._newest.pop(run_id, None)
