"""Snapshots: five ways to keep the fold of a run up to some place of its log, one promise.

A snapshot is a cache, never the truth. Whoever finds none, or cannot ask, folds the log from its beginning and comes
to the same state, only later.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

__all__ = ["Snapshot", "Snapshots"]


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The fold of a run's records up to one of them."""

    run_id: str
    seq: int
    """Sequence in the log of the last record that was folded, at least 1."""
    version: str
    """Fingerprint of the fold and of the shape of its state; what another one wrote is not to be read."""
    body: bytes = field(repr=False)
    """The state; opaque here."""
    hash: str
    """Of the run's log up to `seq`, so that a reader can tell whether this is the log it folds."""


class Snapshots(Protocol):
    """What is kept of some runs.

    Everything may be deleted at any time, also by hand and while others read and write. A write that was lost or torn,
    and an entry that was changed afterwards, read as absent: what is given back carries a checksum that held. Only a
    bounded number is kept of each run (`retention.py`). All methods may be called from many tasks and, but for
    `memory`, from many processes at once. Every method raises `Unavailable` if the store does not answer in time,
    and `InvalidInput` for a run id that is none.
    """

    async def put(self, snapshot: Snapshot) -> None:
        """Keep a snapshot; it takes the place of another one of the same run and sequence.

        Concurrent puts of the same run and sequence do no harm: one of them stays, whole. A put may also lose its
        place at once, to one that tells more (`Retention`).

        Raises:
            InvalidInput: `snapshots.no_sequence`: `seq` is less than 1.
        """
        ...

    async def newest(
        self, run_id: str, *, up_to: int | None = None, version: str | None = None
    ) -> Snapshot | None:
        """The whole one with the highest sequence: not above `up_to`, and of this `version`, if they are given."""
        ...

    async def list(self, run_id: str) -> Sequence[int]:
        """The sequences that have a snapshot, of whatever version, ascending.

        Bodies are not looked at, so one of them may still turn out to be torn.
        """
        ...

    async def delete(self, run_id: str) -> None:
        """Forget the run; what is put meanwhile may stay or go."""
        ...
