"""Which log this is, and how far it is known to reach: values that stand outside the log as well as in it.

A log's first record is its genesis: an identity that a mirror, its promotion and a backup keep, and that is gone when
the stream was deleted or a limit has eaten its beginning. A log that began without one is named by its first record.
A mark says of one record that it was acknowledged, with the digest of its bytes. It is kept outside the stream, so a
log that ends before it, or holds another record in its place, has lost what was promised.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from pydantic import AliasChoices, BaseModel, ConfigDict, Field, ValidationError

from partsong.contracts.errors import InvalidInput
from partsong.contracts.wire.own_record import OwnRecord

__all__ = [
    "Acked",
    "Genesis",
    "Identity",
    "Mark",
    "Restored",
    "digest_of",
    "identity_of",
    "read_genesis",
    "read_mark",
    "read_restored",
    "ripe",
    "thinned",
]

_SETTLES = 2.0
"""Seconds that an unsynced append is given beyond the server's sync interval, before it counts as durable."""
_KEPT = 16


class Genesis(OwnRecord):
    """The first record of a log: which log it is."""

    log_id: str
    epoch: int = 1
    created: str
    format: int = 1


class Restored(OwnRecord):
    """A restore: what it could not bring back, and the epoch it began."""

    log_id: str
    epoch: int
    kept: int
    """Sequence of the last record that was brought back."""
    lost: tuple[int, int] | None = None
    """First and last sequence of what was lost; None if nothing is known to be."""
    since: str
    """When the last record that was kept had been stored: whatever is lost happened later."""
    at: str
    by: str
    source: str = Field(validation_alias=AliasChoices("from", "source"), serialization_alias="from")
    upto: int | None = None
    """The log's head when it was restored; None in records of before, and then it is `kept`. What is wrong up to there is
    accepted with this record."""
    missing: tuple[tuple[int, int], ...] = ()
    """Sequences up to there whose records could not be brought back, also by the restores before, as ranges."""
    runs: tuple[str, ...] = ()
    """Runs that are known to lack records, also since the restores before: they are damaged, and stay so."""

    @property
    def accepted(self) -> int:
        """The last sequence up to which a damage is known to whoever restored the log."""
        return max(self.kept, self.upto or 0)


class Mark(BaseModel):
    """A record that is known to be durable."""

    model_config = ConfigDict(frozen=True, extra="allow")

    log_id: str
    epoch: int
    seq: int
    digest: str
    at: str


@dataclass(frozen=True, slots=True)
class Identity:
    """Which log, and in which of its lives."""

    log_id: str
    epoch: int = 1
    restores: tuple[Restored, ...] = ()
    begun: int = 1
    """The epoch in which it began."""

    def knows(self, epoch: int) -> bool:
        """Whether the log has lived through an epoch: one that it has not was given up when a copy was restored."""
        return epoch == self.begun or any(r.epoch == epoch for r in self.restores)

    def stands(self, mark: Mark) -> bool:
        """Whether what a mark names is still what it was, as far as the restores say."""
        kept = self.kept_of(mark.epoch)
        return self.knows(mark.epoch) and (kept is None or mark.seq <= kept)

    def kept_of(self, epoch: int) -> int | None:
        """The last sequence that is still what it was in an earlier epoch; None if all is."""
        return min((r.kept for r in self.restores if r.epoch > epoch), default=None)

    @property
    def accepted(self) -> int:
        """The last sequence up to which a damage was accepted by a restore; 0 if there was none."""
        return max((r.accepted for r in self.restores), default=0)

    @property
    def missing(self) -> tuple[tuple[int, int], ...]:
        """Sequences whose records no restore could bring back, as ranges."""
        return tuple(sorted({span for r in self.restores for span in r.missing}))

    @property
    def damaged_runs(self) -> frozenset[str]:
        """Runs that lack records since a restore."""
        return frozenset(run for r in self.restores for run in r.runs)


@dataclass(frozen=True, slots=True)
class Acked:
    """An append that was acknowledged at a moment, as seconds of a clock that never goes back."""

    at: float
    seq: int
    id: str
    body: bytes


def digest_of(stored: bytes, id: str) -> str:
    """The digest of a record: its stored bytes (of a big body, the stub that stands for it) and its message id."""
    return hashlib.sha256(stored + id.encode()).hexdigest()


def identity_of(first: bytes, restores: Iterable[bytes] = ()) -> Identity:
    """The identity of a log, of the body of its first record and those of its restores, in order."""
    genesis = read_genesis(first)
    log_id = genesis.log_id if genesis else hashlib.sha256(first).hexdigest()
    found = tuple(r for r in map(read_restored, restores) if r is not None and r.log_id == log_id)
    begun = genesis.epoch if genesis else 1
    return Identity(log_id, max((begun, *(r.epoch for r in found))), found, begun)


def read_genesis(body: bytes) -> Genesis | None:
    """The genesis in a log's first record; None if the log is older than that."""
    try:
        return Genesis.model_validate_json(body)
    except ValidationError:
        return None


def read_restored(body: bytes) -> Restored | None:
    """The restore in a record; None if it is none."""
    try:
        return Restored.model_validate_json(body)
    except ValidationError:
        return None


def read_mark(body: bytes | str) -> Mark:
    """A mark as it was written.

    Raises:
        InvalidInput: `mark.malformed`.
    """
    try:
        return Mark.model_validate_json(body)
    except ValidationError as error:
        said = error.errors()[0]["msg"]
        raise InvalidInput("mark.malformed", f"not a mark: {said}", fault="platform") from None


def ripe(waiting: Sequence[Acked], now: float, sync_interval: float) -> int:
    """How many of the oldest may be marked: all where every append is synced, else only those that must be by now."""
    if sync_interval <= 0:
        return len(waiting)
    limit = now - _SETTLES - sync_interval
    return sum(acked.at < limit for acked in waiting)


def thinned(marks: Iterable[Mark]) -> tuple[Mark, ...]:
    """The newest mark and older ones, each at least twice as far back: a lost range is named by its last good mark."""
    ordered = sorted(marks, key=lambda m: (m.epoch, m.seq), reverse=True)
    kept: list[Mark] = []
    for mark in ordered:
        newest = kept[0] if kept else mark
        if len(kept) < 2 or newest.seq - mark.seq >= 2 * (newest.seq - kept[-1].seq):
            kept.append(mark)
    return tuple(kept[:_KEPT])
