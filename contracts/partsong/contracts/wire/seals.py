"""The seals of a partition: a running hash over all its records, written into the log every now and then.

root(0) = 32 zero bytes, root(k) = sha256(root(k-1) + seq(k) as 8 bytes, big-endian + sha256(stored bytes of k)), over
every record under `<prefix>.log.<p>.>` in order, the seals themselves included. A seal says what the root was after the
record `upto`; so a lost, changed or inserted record shows at the next seal, also a finished run's last commit, for which
no later commit of its run vouches. Stored bytes are what the stream holds: of a big body the stub, so that sealing and
scrubbing read no blob.
"""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field

from pydantic import Field, ValidationError

from partsong.contracts.counts import number_of, verb_of
from partsong.contracts.errors import InvalidInput
from partsong.contracts.frozen import replace
from partsong.contracts.ranges import ranges
from partsong.contracts.wire.damage import Damaged
from partsong.contracts.wire.own_record import OwnRecord

__all__ = ["START_ROOT", "Place", "Scrub", "Seal", "Sealer", "read_seal"]

START_ROOT = bytes(32)
_EVERY_RECORDS = 1000
_EVERY_SECONDS = 60.0
_MOST = 5_000


class Seal(OwnRecord):
    """What a partition was up to a record."""

    n: int
    """Counts the partition's seals, from 1."""
    upto: int
    """Sequence of the last record that is covered."""
    count: int
    """How many records the partition had up to there."""
    root: str
    prev: str
    """The root of the seal before; empty for the first."""
    ends: dict[str, int] = Field(default_factory=dict)
    """Runs that have ended since the seal before, with the sequence of their last record."""
    epoch: int


@dataclass(frozen=True, slots=True)
class Place:
    """Where a root stands: a partition's checkpoint carries it between seals."""

    seq: int = 0
    count: int = 0
    root: bytes = START_ROOT


def read_seal(body: bytes, seq: int) -> Seal:
    """A seal as it was written in the record at `seq`.

    Raises:
        InvalidInput: `seal.malformed`; also if it speaks of what came after it.
    """
    try:
        seal = Seal.model_validate_json(body)
        if len(bytes.fromhex(seal.root)) != len(START_ROOT):
            raise ValueError(f"its root has {len(seal.root)} digits")
        if not 0 <= seal.count <= seal.upto < seq:
            raise ValueError(f"record {seq} covers {seal.count} records up to {seal.upto}")
    except ValueError as error:
        said = error.errors()[0]["msg"] if isinstance(error, ValidationError) else str(error)
        raise InvalidInput("seal.malformed", f"not a seal: {said}", fault="platform") from None
    return seal


@dataclass(frozen=True)
class Sealer:
    """A partition's root as its owner folds it, and when the next seal is due. A value: `after` gives the next one."""

    epoch: int
    place: Place = Place()
    last: Seal | None = None
    """The newest seal in the log."""
    ends: Mapping[str, int] = field(default_factory=dict)
    changed: float | None = None
    """When the first record came that no seal covers; None if all are covered."""

    def after(self, seq: int, stored: bytes, now: float, *, ended: str | None = None) -> Sealer:
        """With one more record of the partition, in order; `ended` names the run that it ended, if it did.

        What was folded before is passed over. A seal's own record goes through `sealed` instead.
        """
        if seq <= self.place.seq:
            return self
        ends = self.ends if ended is None else {**self.ends, ended: seq}
        changed = now if self.changed is None else self.changed
        # Built and not replaced: this is done for every record of the log.
        return Sealer(self.epoch, _next(self.place, seq, stored), self.last, ends, changed)

    def sealed(self, seq: int, stored: bytes) -> Sealer:
        """With the record of a seal, our own or an earlier owner's.

        Raises:
            InvalidInput: `seal.malformed`.
        """
        if seq <= self.place.seq:
            return self
        seal = read_seal(stored, seq)
        ends = {run: at for run, at in self.ends.items() if at > seal.upto}
        open_ = self.place.seq > seal.upto
        return replace(
            self,
            place=_next(self.place, seq, stored),
            last=seal,
            ends=ends,
            changed=self.changed if open_ else None,
        )

    def due(self, now: float, *, drain: bool = False) -> bool:
        """Whether to seal: after 1,000 records, a minute after the first that is not covered, or at the end."""
        if self.changed is None:
            return False
        fresh = self.place.count - (self.last.count if self.last else 0)
        return drain or fresh >= _EVERY_RECORDS or now - self.changed >= _EVERY_SECONDS

    def seal(self) -> Seal:
        """The seal of the partition as it is now; it counts once its record has come back through `sealed`."""
        return Seal(
            n=self.last.n + 1 if self.last else 1,
            upto=self.place.seq,
            count=self.place.count,
            root=self.place.root.hex(),
            prev=self.last.root if self.last else "",
            ends=dict(self.ends),
            epoch=self.epoch,
        )


@dataclass(slots=True)
class Scrub:
    """A partition read again in order, and compared with each seal as it passes, and with a checkpoint's root.

    Feed it all records after `base`; begin at 0, or where a seal ends that is trusted. After a seal that disagrees it
    goes on from what that seal says, so that one damage is one finding.
    """

    base: Place = field(default_factory=Place)
    """Up to here a seal or the checkpoint vouches for every record, or said what is wrong."""
    last: Seal | None = None
    accepted: int = 0
    """Up to here a restore has accepted what is wrong: the owners that came after it sealed what is left."""
    _tail: deque[_Read] = field(default_factory=lambda: deque(maxlen=_MOST))
    """What was read behind `base`; bounded, for a log that nobody has sealed."""
    _full: bool = False

    def take(self, seq: int, stored: bytes, *, seal: bool) -> Damaged | None:
        """Read one record; what is wrong, if it is a `seal` that disagrees with what was read before it."""
        found = self._compare(seq, stored) if seal else None
        self._full = self._full or len(self._tail) == _MOST
        digest = hashlib.sha256(stored).digest()
        self._tail.append(_Read(digest, _further(self._place, seq, digest)))
        return found

    def check(self, known: Place, heads: Mapping[str, int] | None = None) -> Damaged | None:
        """Compare with where a checkpoint says the partition's owner stood, and the `heads` of its open runs there."""
        if known.seq < self.base.seq:
            return None
        return self._judged(known, f"its owner at record {known.seq}", heads or {})

    @property
    def _place(self) -> Place:
        return self._tail[-1].place if self._tail else self.base

    def _compare(self, seq: int, stored: bytes) -> Damaged | None:
        try:
            seal = read_seal(stored, seq)
        except InvalidInput:  # the next seal, or the checkpoint, covers it like every other record
            return None
        if seal.upto < self.base.seq:
            return None
        self.last = seal
        known = Place(seal.upto, seal.count, bytes.fromhex(seal.root))
        return self._judged(known, f"seal {seal.n}", seal.ends)

    def _judged(self, known: Place, who: str, heads: Mapping[str, int]) -> Damaged | None:
        covered = [read.place for read in self._tail if read.place.seq <= known.seq]
        at = covered[-1] if covered else self.base
        after, behind = self.base.seq, [read for read in self._tail if read.place.seq > known.seq]
        cut = self._full and self._tail[0].place.seq > known.seq  # read too long ago to tell
        agrees = at.root == known.root and at.count == known.count
        if not agrees and known.seq <= self.accepted:
            if cut:
                return None
            known, agrees = Place(known.seq, at.count, at.root), True
        self.base, self._full = known, False
        self._tail.clear()
        for read in behind:
            place = _further(self._place, read.place.seq, read.digest)
            self._tail.append(_Read(read.digest, place))
        if cut or agrees:
            return None
        there = {place.seq for place in covered}
        gone = {
            run: seq for run, seq in heads.items() if after < seq <= known.seq and seq not in there
        }
        holes = ranges(sorted({*gone.values()}))
        lacks = known.count - at.count
        left = f"{at.count} {verb_of(at.count, 'is', 'are')} there"
        said = f"covers {number_of(known.count, 'record')}, {left}" if lacks else "does not agree"
        return Damaged(
            f"{who} {said}",
            ((after + 1, known.seq),),
            holes,
            tuple(sorted(gone)),
            contained=0 < lacks == len(gone),
            missing=max(lacks, 0),
        )


@dataclass(frozen=True, slots=True)
class _Read:
    digest: bytes
    place: Place


def _next(place: Place, seq: int, stored: bytes) -> Place:
    return _further(place, seq, hashlib.sha256(stored).digest())


def _further(place: Place, seq: int, digest: bytes) -> Place:
    root = hashlib.sha256(place.root + seq.to_bytes(8, "big") + digest).digest()
    return Place(seq, place.count + 1, root)
