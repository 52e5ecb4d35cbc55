"""The log: four ways to keep one ordered list of records, one promise.

A record's body is opaque bytes here; `partsong.contracts.events.envelope` says what is in it.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from partsong.contracts.errors import Conflict, Problem

__all__ = ["Append", "Appended", "Log", "Record", "WrongSequence"]


@dataclass(frozen=True, slots=True)
class Record:
    """One message of the log."""

    seq: int
    """Place in the log: starts at 1, grows by at least 1, never reused."""
    subject: str
    body: bytes
    id: str
    """The id it was appended under (`Nats-Msg-Id`)."""
    headers: Mapping[str, str] = field(default_factory=dict)
    problem: Problem | None = None
    """Why its body cannot be had, which is empty then: it lay beside the log, and is missing or altered there. Whoever
    reads on what it says asks `reading.message_of`; its place is what it is."""


@dataclass(frozen=True, slots=True)
class Appended:
    """An append that is durable."""

    seq: int
    duplicate: bool = False
    """True if this very id had been appended before; `seq` is then the place of the first one."""


@dataclass(frozen=True, slots=True)
class Append:
    """An append to be made; see `Log.append`."""

    subject: str
    body: bytes
    id: str
    expect: int | None = None
    headers: Mapping[str, str] | None = None


class WrongSequence(Conflict):
    """The guard failed: the subject's last record is not the expected one. Nothing was appended."""

    def __init__(self, subject: str, expected: int, found: int) -> None:
        super().__init__(
            "log.wrong_sequence",
            f"expected sequence {expected}, found {found}",
            where=subject,
            fix="read on from what you had folded, decide again",
            retryable=True,
        )
        self.subject, self.expected, self.found = subject, expected, found


class Log(Protocol):
    """An append-only list of records.

    Order: all readers see the same records in the same order. Durability: when `append` returns, the record survives
    kill -9 of every process (`file`, `jetstream`; `redis` as far as its server keeps it) or the end of this object's life (`memory`). All methods may be
    called from many tasks at once. Every method raises `Unavailable` if the store does not answer in time.

    Whatever anybody has put into the log, it is given: a record whose body cannot be had comes with its `problem`, and one
    of another writer's comes as it is. What is raised says something of the store, never of one record.
    """

    async def append(
        self,
        subject: str,
        body: bytes,
        *,
        id: str,
        expect: int | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Appended:
        """Append one record to a literal subject.

        `expect` is the sequence of the subject's last record (0: none yet); without it the append is unconditional.
        An append repeated with the same id is the same append: it returns `duplicate=True` and stores nothing, also
        when the guard would fail by now; for unguarded appends that holds for at least two minutes.

        Raises:
            WrongSequence: another record got in first.
            InvalidInput: the subject is not literal (`subject.not_literal`), or the id or a header cannot travel.
        """
        ...

    def read(
        self, filter: str, *, after: int = 0, upto: int | None = None
    ) -> AsyncGenerator[Record, None]:
        """All records whose subject matches `filter` with `seq > after`, in order, up to the log's head at the call.

        With `upto`, not beyond that sequence: whoever knows where to stop spares the log what lies behind. `filter` is a subject with NATS wildcards: `*` is one token, a trailing `>` is one or more.
        """
        ...

    def tail(self, filter: str, *, after: int = 0) -> AsyncGenerator[Record, None]:
        """Like `read`, then goes on with each new record as it comes.

        A record that the store cannot give is passed over: whoever follows all runs must not stop at what has become of
        one.

        Ends only when it is closed: `async with contextlib.aclosing(log.tail(…)) as records`.
        """
        ...

    async def last(self, subject: str, *, sure: bool = False) -> Record | None:
        """The newest record of a literal subject.

        A server takes a record that it cannot read for none, also when it compares a guard. With `sure`, None means
        that there is none: for whoever would do something twice.

        Raises:
            InvalidInput: the subject is not literal.
            Unavailable: `log.unreadable`: there is one, and it cannot be read.
        """
        ...

    async def head(self) -> int:
        """Sequence of the newest record of the whole log; 0 if it is empty."""
        ...
