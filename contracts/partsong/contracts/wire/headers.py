"""Headers: what stands beside a message, for whoever need not open it. Their names stand here and nowhere else."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

__all__ = [
    "ASKED",
    "BATCH_COMMIT",
    "BATCH_ID",
    "BATCH_SEQUENCE",
    "BLOB",
    "ERROR",
    "EXPECTED_LAST",
    "EXPECTED_ON_SUBJECT",
    "GRAPH",
    "LAST_CONSUMER",
    "LATE",
    "MSG_ID",
    "NUM_PENDING",
    "ORIGIN",
    "PENDING",
    "PENDING_MESSAGES",
    "REDRIVEN",
    "REFUSED",
    "REMINDER",
    "ROLLUP",
    "SCHEDULE",
    "SCHEDULER",
    "SCHEDULE_NEXT",
    "SCHEDULE_TARGET",
    "SEEN",
    "SEQUENCE",
    "SET_FOR",
    "STARTED",
    "STATUS",
    "SUBJECT",
    "TIME_STAMP",
    "TTL",
    "UNCOMPENSATED",
    "WEBHOOK",
    "CommitSummary",
    "seen_in",
    "sequence",
]

# NATS's own: what the server acts on
MSG_ID = "Nats-Msg-Id"
EXPECTED_ON_SUBJECT = "Nats-Expected-Last-Subject-Sequence"
EXPECTED_LAST = "Nats-Expected-Last-Sequence"
BATCH_ID = "Nats-Batch-Id"
BATCH_SEQUENCE = "Nats-Batch-Sequence"
BATCH_COMMIT = "Nats-Batch-Commit"
ROLLUP = "Nats-Rollup"
TTL = "Nats-TTL"
SCHEDULE = "Nats-Schedule"
SCHEDULE_TARGET = "Nats-Schedule-Target"
SCHEDULER = "Nats-Scheduler"
SCHEDULE_NEXT = "Nats-Schedule-Next"

# NATS's own: what the server says of a message that it hands out
SEQUENCE = "Nats-Sequence"
SUBJECT = "Nats-Subject"
TIME_STAMP = "Nats-Time-Stamp"
NUM_PENDING = "Nats-Num-Pending"
PENDING_MESSAGES = "Nats-Pending-Messages"
LAST_CONSUMER = "Nats-Last-Consumer"

# Ours, on a commit: see `CommitSummary`
STATUS = "Partsong-Status"
GRAPH = "Partsong-Graph"
STARTED = "Partsong-Started"
ERROR = "Partsong-Error"
UNCOMPENSATED = "Partsong-Uncompensated"
WEBHOOK = "Partsong-Webhook"
PENDING = "Partsong-Pending"
ORIGIN = "Partsong-Origin"

SEEN = "Partsong-Seen"
"""The newest record of a run that its engine knew: of a commit, when it was decided; of a hint, when it was sent."""
ASKED = "Partsong-Asked"
"""On a command by which a run begins: when its request was stored, which may be long before it came into the log."""
BLOB = "Partsong-Blob"
"""`sha256:<hex>` of a body that is in the object store; the stored body only says so too, for people."""
REMINDER = "Partsong-Reminder"
"""On a hint that was published before: whoever gets it asks first whether somebody works on it."""
REDRIVEN = "Partsong-Redriven"
"""On a message that was a dead letter and was sent again: the letter's sequence."""
SET_FOR = "Partsong-Set-For"
"""The moment that a timer was set for; the server hands it on when it fires."""
LATE = "Partsong-Late"
"""On a schedule's timer whose moment had passed when it was set: no engine was there before."""

REFUSED = "refused"
"""The status of what has not begun, and was asked for in vain."""

_MOST_NAMED = 10
_DIGITS = 19
"""A sequence has no more."""


@dataclass(frozen=True, slots=True)
class CommitSummary:
    """How a run stands after a commit, in the commit's headers: lists of runs need not open a single body."""

    status: str
    graph: str = ""
    """The graph's name."""
    started: str = ""
    error: str | None = None
    """The code of the run's error."""
    uncompensated: tuple[str, ...] = ()
    """Executions that could not be undone; read from headers, the first ten and `…` for more."""
    webhook: bool = False
    """The run has ended, and its webhook has not been told yet."""
    pending: int = 0
    """Requests about the run that still wait for their outcome."""
    origin: tuple[str, int] | None = None
    """The run it was forked from, and the last sequence that both share."""

    def headers(self) -> dict[str, str]:
        """The headers that say so; what there is nothing to say of is left out."""
        made = {STATUS: self.status, GRAPH: self.graph, STARTED: self.started}
        if self.error is not None:
            made[ERROR] = self.error
        if lost := self.uncompensated:
            more = ",…" if len(lost) > _MOST_NAMED else ""
            made[UNCOMPENSATED] = ",".join(lost[:_MOST_NAMED]) + more
        if self.webhook:
            made[WEBHOOK] = "open"
        if self.pending:
            made[PENDING] = str(self.pending)
        if self.origin is not None:
            made[ORIGIN] = "{}@{}".format(*self.origin)
        return made

    @classmethod
    def of(cls, headers: Mapping[str, str]) -> CommitSummary | None:
        """What headers say; None if they say nothing of how a run stands, for anybody may have written them."""
        if STATUS not in headers:
            return None
        run_id, _, at = headers.get(ORIGIN, "").rpartition("@")
        forked_at = sequence(at)
        return cls(
            headers[STATUS],
            headers.get(GRAPH, ""),
            headers.get(STARTED, ""),
            headers.get(ERROR),
            tuple(filter(None, headers.get(UNCOMPENSATED, "").split(","))),
            WEBHOOK in headers,
            (sequence(headers[PENDING]) or 1) if PENDING in headers else 0,
            (run_id, forked_at) if run_id and forked_at is not None else None,
        )


def sequence(text: str) -> int | None:
    """The place in a stream that a header names; None if it is none, for anybody may have written it."""
    return int(text) if text.isdecimal() and len(text) <= _DIGITS else None


def seen_in(headers: Mapping[str, str]) -> int | None:
    """What `SEEN` says, if it says anything."""
    return sequence(headers.get(SEEN, ""))
