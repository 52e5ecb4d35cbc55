"""The broker's log as the server keeps it: guards per subject, a window in which ids are known, one order."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

from partsong.log.index import Index
from partsong.log.port import Record
from tests.sim.loop import SimLoop

__all__ = ["WINDOW", "Ack", "Stream"]

WINDOW = 120.0
"""Seconds for which the id of an append is remembered."""


@dataclass(frozen=True)
class Ack:
    """The server's answer to an append: where it stands, or that the guard refused it."""

    seq: int = 0
    duplicate: bool = False
    stale: bool = False


class Stream:
    """The records, and who is told of new ones."""

    def __init__(self, loop: SimLoop) -> None:
        self._loop = loop
        self.records: list[Record] = []
        self.index = Index()
        self._ids: dict[str, tuple[int, float]] = {}
        self.watchers: list[Callable[[Record], None]] = []
        self.refused: Counter[str] = Counter()
        """How often the guard of each subject did not hold."""

    @property
    def head(self) -> int:
        return len(self.records)

    def append(
        self, subject: str, body: bytes, id: str, expect: int | None, headers: dict[str, str]
    ) -> Ack:
        """One server checks the guard first, then whether it knows the id."""
        if expect is not None and expect != self.index.last(subject):
            self.refused[subject] += 1
            return Ack(stale=True)
        seq, at = self._ids.get(id, (0, 0.0))
        if seq and self._loop.time() - at < WINDOW:
            return Ack(seq, duplicate=True)
        record = Record(self.head + 1, subject, body, id, headers)
        self.records.append(record)
        self.index.add(subject, id)
        self._ids[id] = record.seq, self._loop.time()
        for tell in self.watchers:
            tell(record)
        return Ack(record.seq)

    def select(self, filter: str, after: int = 0, upto: int | None = None) -> list[Record]:
        upto = self.head if upto is None else min(upto, self.head)
        return [self.records[seq - 1] for seq in self.index.select(filter, after, upto)]

    def first_behind(self, subject: str, after: int) -> Record | None:
        return next(iter(self.select(subject, after)), None)

    def last(self, subject: str) -> Record | None:
        seq = self.index.last(subject)
        return self.records[seq - 1] if seq else None
