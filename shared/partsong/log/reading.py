"""Reading a run's log: what a record says, or why it says nothing.

Anybody who may publish to the log can put into it what nobody can read, and a disk can make it so. That concerns the run
in whose log it stands, and never the reader: so it is a value, and each reader decides what becomes of it. Who follows
all runs passes over it and says so, who decides on the run sets it aside, who was asked about the run names it.
"""

from __future__ import annotations

from dataclasses import dataclass

from partsong.contracts.errors import InvalidInput, PartsongError, Problem, Unavailable
from partsong.contracts.events.envelope import Commit, Report
from partsong.contracts.wire.placement import placed
from partsong.contracts.wire.subjects import Subjects
from partsong.log.blobs import LOST
from partsong.log.port import Record

__all__ = ["Unreadable", "body_of", "message_of", "read_message"]

_LONGEST = 500
_FIX = "`partsong run history` lists what lies before it, and `partsong run fork --at` goes on from there"


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A record that cannot be read, and why."""

    seq: int
    subject: str
    problem: Problem
    """It says where the record stands."""

    @property
    def error(self) -> PartsongError:
        """The problem as an error: for readers that cannot go on without what the record says."""
        if self.problem.code in LOST:
            return Unavailable.of(self.problem)
        return InvalidInput.of(self.problem)


def message_of(subjects: Subjects, record: Record) -> Commit | Report | Unreadable:
    """Read a record of a run's log, as far as this reader knows its events."""
    if record.problem is not None:
        return _unreadable(record, record.problem)
    try:
        return placed(subjects, record.subject, record.body)
    except InvalidInput as error:
        return _unreadable(record, error.problem)


def read_message(subjects: Subjects, record: Record) -> Commit | Report:
    """Read a record of a run's log, or refuse it by name.

    Raises:
        Unavailable: `log.blob_missing` or `log.blob_corrupt`: its body lay beside the log.
        InvalidInput: it is no message of ours, or does not belong there.
    """
    message = message_of(subjects, record)
    if isinstance(message, Unreadable):
        raise message.error
    return message


def body_of(record: Record) -> bytes:
    """The body of a record, for readers that hand it on.

    Raises:
        Unavailable: `log.blob_missing` or `log.blob_corrupt`, with its place.
    """
    if record.problem is not None:
        raise _unreadable(record, record.problem).error
    return record.body


def _quoted(said: str) -> str:
    """What is said of a record may quote it, and has to travel and to be read all the same."""
    said = said.encode(errors="backslashreplace").decode()
    return said if len(said) <= _LONGEST else f"{said[:_LONGEST]}…"


def _unreadable(record: Record, why: Problem) -> Unreadable:
    tokens = record.subject.split(".")
    run_id = _quoted(tokens[3] if len(tokens) > 3 else record.subject)
    problem = why.model_copy(
        update={
            "message": f"the log of {run_id} holds what cannot be read: {_quoted(why.message)}",
            "where": f"{_quoted(record.subject)} at {record.seq}",
            "fix": why.fix or _FIX,
            "fault": "platform",
        }
    )
    return Unreadable(record.seq, record.subject, problem)
