"""Placement: which messages may stand under which subject of the log.

A subject is a guard as well as a place: the number of its newest record is what the next writer expects. So a message
that a reader would merely skip can still stop the run it stands in: a report under the engine's subject lets no commit
pass any more, and an empty one under a call's lets nobody claim it. Whoever decides on a run has to notice that.
"""

from __future__ import annotations

from partsong.contracts.errors import InvalidInput
from partsong.contracts.events import Event
from partsong.contracts.events.envelope import Commit, Report, decode_known
from partsong.contracts.ids import is_id
from partsong.contracts.wire.subjects import OURS, LogSubject, Subjects, call_token

__all__ = ["placed", "stray"]


def placed(subjects: Subjects, subject: str, body: bytes) -> Commit | Report:
    """Decode a message of a run's log that may stand where it stands, as far as this reader knows its events.

    Raises:
        InvalidInput: what `decode_known` raises; `subject.invalid`; `log.misplaced`.
    """
    message = decode_known(body)
    if (why := _misplaced(subjects.parse_log(subject), message)) is not None:
        raise InvalidInput(
            "log.misplaced",
            f"a record does not belong under its subject: {why}",
            where=subject,
            fix="no worker of Partsong writes that: see who else may publish to the log. "
            "`partsong run fork` goes on from before it",
            fault="platform",
        )
    return message


def stray(subjects: Subjects, subject: str) -> LogSubject | None:
    """Say whose log a record is part of that stands under a run's subjects and is none of them; None if it is nobody's.

    It is told as a fact; whoever reads it finds that it cannot be one.
    """
    partition = subjects.partition_in(subject)
    _, run_id, *below = [*subject.removeprefix(f"{subjects.prefix}.log.").split("."), ""]
    if partition is None or not any(below) or run_id == OURS or not is_id("run_id", run_id):
        return None
    return LogSubject(partition, run_id, "fact")


def _misplaced(where: LogSubject, message: Commit | Report) -> str | None:
    """Say why a message cannot stand where it stands; None if it can.

    An event that is newer than this reader speaks for itself, so the place of what follows it is not judged.
    """
    if message.run != where.run_id:
        return f"it says that it is of run {message.run[:80]}"
    if (where.entity == "engine") != isinstance(message, Commit):
        is_, belongs = (
            ("no ", "and only commits do") if where.entity == "engine" else ("a ", "no commit does")
        )
        return f"it is {is_}commit; {belongs}"
    last = message.events[-1] if message.events else None
    if message.newer is not None:
        return None
    if where.call_id is not None and call_token(_about(last) or "") != where.call_id:
        return f"it does not end with an event of call {where.call_id}"
    if where.request_id is not None and getattr(last, "request_id", None) != where.request_id:
        return f"it does not end with request {where.request_id}"
    return None


def _about(event: Event | None) -> str | None:
    return getattr(event, "call_id", None)
