"""Sealing a partition: its owner keeps the running hash of all its records, and writes it down now and then.

A commit vouches for what its decider had folded; for a run's last records nobody does, until a seal does. The root
between seals is part of the partition's checkpoint, so the next owner goes on with it.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field

from pydantic import JsonValue

from partsong.contracts.errors import InvalidInput, Problem
from partsong.contracts.wire.placement import stray
from partsong.contracts.wire.seals import Place, Seal, Sealer
from partsong.contracts.wire.subjects import OURS, LogSubject, Subjects, partition_of
from partsong.graph_engine.open_runs import ends
from partsong.log.port import Append, Record
from partsong.runtime import clock

__all__ = ["Sealed", "Sealing"]

_log = logging.getLogger("partsong.graph_engine")


@dataclass(frozen=True, slots=True)
class Sealed:
    """A partition's seals and root as its checkpoint carries them."""

    place: Place = field(default_factory=Place)
    before: Place = field(default_factory=Place)
    """Where the last seal but one stands: a quick scrub begins there."""
    last: Seal | None = None
    last_seq: int = 0
    """Sequence of the last seal's record: what the next one expects."""
    ends: Mapping[str, int] = field(default_factory=dict)

    def dump(self) -> dict[str, JsonValue]:
        """As plain JSON."""
        return {
            "place": _dump(self.place),
            "before": _dump(self.before),
            "last": self.last.model_dump(mode="json") if self.last is not None else None,
            "last_seq": self.last_seq,
            "ends": dict(self.ends),
        }

    @classmethod
    def load(cls, raw: dict[str, JsonValue]) -> Sealed:
        """What `dump` made.

        Raises:
            ValueError, KeyError, TypeError: it is something else.
        """
        last, ends = raw["last"], raw["ends"]
        assert isinstance(ends, dict)  # noqa: S101
        return cls(
            _load(raw["place"]),
            _load(raw["before"]),
            Seal.model_validate(last) if last is not None else None,
            int(str(raw["last_seq"])),
            {run: int(str(seq)) for run, seq in ends.items()},
        )


class Sealing:
    """The seals of one partition, while this engine owns it."""

    def __init__(self, partition: int, subjects: Subjects) -> None:
        self._partition, self._subjects = partition, subjects
        self._sealer = Sealer(1)
        self._before, self._last_seq, self._asked = Place(), 0, 0

    def begin(self, sealed: Sealed, epoch: int) -> None:
        """Go on where a checkpoint stands; `epoch` is the log's."""
        self._sealer = Sealer(epoch, sealed.place, sealed.last, sealed.ends)
        self._before, self._last_seq, self._asked = sealed.before, sealed.last_seq, 0

    @property
    def sealed(self) -> Sealed:
        """As it stands."""
        one = self._sealer
        return Sealed(one.place, self._before, one.last, self._last_seq, one.ends)

    def take(self, record: Record, stored: bytes) -> LogSubject | None:
        """Take the partition's next record, `stored` as the stream holds it: a seal covers it whatever it is.

        What it is of the partition; None if nobody knows its subject, or its run belongs to another partition.
        """
        where = self._place(record)
        self._cover(record, stored, where)
        return where

    def _place(self, record: Record) -> LogSubject | None:
        where: LogSubject | None
        try:
            where = self._subjects.parse_log(record.subject)
        except InvalidInput as error:
            where = stray(self._subjects, record.subject)
            if where is None:
                _log.warning("record passed over", extra={"seq": record.seq, "why": str(error)})
                return None
        return where if where.own or partition_of(where.run_id) == self._partition else None

    def _cover(self, record: Record, stored: bytes, where: LogSubject | None) -> None:
        if where is not None and where.entity == "seal":
            self._last_seq, self._asked = record.seq, 0
            last = self._sealer.last
            try:
                self._sealer = self._sealer.sealed(record.seq, stored)
            except InvalidInput as error:  # it is covered like any other record
                _log.warning("no seal", extra={"seq": record.seq, "why": str(error)})
            else:
                if last is not None and last.epoch == self._sealer.epoch:
                    self._before = Place(last.upto, last.count, bytes.fromhex(last.root))
                return
        ended = where is not None and where.entity == "engine" and ends(record)
        run_id = where.run_id if where is not None and ended else None
        self._sealer = self._sealer.after(record.seq, stored, clock.monotonic(), ended=run_id)

    def refused(self, problem: Problem) -> None:
        """A seal was not taken: the next one expects none before it, if the one before cannot be read any more."""
        if problem.code == "log.unreadable":
            self._last_seq = 0
        self._asked = 0

    def due(self, *, drain: bool = False) -> Append | None:
        """The seal to be appended now, if there is one; it counts when the feed has delivered it."""
        if not self._sealer.due(clock.monotonic(), drain=drain):
            return None
        seal = self._sealer.seal()
        if self._asked == seal.n:
            return None
        self._asked = seal.n
        id_ = f"{OURS}.seal.{self._partition}.{seal.n}.{seal.root[:16]}"
        body = seal.model_dump_json().encode()
        return Append(self._subjects.seal(self._partition), body, id_, self._last_seq)


def _dump(place: Place) -> list[JsonValue]:
    return [place.seq, place.count, place.root.hex()]


def _load(raw: JsonValue) -> Place:
    assert isinstance(raw, list)  # noqa: S101
    seq, count, root = raw
    return Place(int(str(seq)), int(str(count)), bytes.fromhex(str(root)))
