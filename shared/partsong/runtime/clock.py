"""The only place that reads the clock or makes something random."""

from __future__ import annotations

import secrets
import time
from datetime import UTC, datetime

__all__ = ["monotonic", "new_id", "new_run_id", "now", "now_text", "to_text"]

_CROCKFORD = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"


def now() -> datetime:
    """The time in UTC, aware."""
    return datetime.now(UTC)


def to_text(moment: datetime) -> str:
    """RFC 3339 in UTC with milliseconds, as events carry it."""
    if moment.tzinfo is not UTC:
        moment = moment.astimezone(UTC)
    return moment.isoformat(timespec="milliseconds")[:-6] + "Z"


def now_text() -> str:
    """The time as events carry it."""
    return to_text(datetime.now(UTC))


def monotonic() -> float:
    """Seconds that never go back, for deadlines and durations."""
    return time.monotonic()


def new_id() -> str:
    """A ULID: 48 bits of milliseconds, 80 random bits, sorts by time (github.com/ulid/spec)."""
    value = (time.time_ns() // 1_000_000) << 80 | secrets.randbits(80)
    return "".join(_CROCKFORD[value >> shift & 31] for shift in range(125, -1, -5))


def new_run_id() -> str:
    """A fresh run id."""
    return f"r_{new_id()}"
