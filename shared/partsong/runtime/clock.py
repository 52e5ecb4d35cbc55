"""The only place that reads the clock or makes something random.

Durable timers are set by a service and fired by the broker, so a service goes by the broker's clock: `broker_clock`
measures how far it is ahead of this machine's, and `now` adds that. In a process that has no broker it adds nothing.
"""

from __future__ import annotations

import secrets
import time
from datetime import UTC, datetime, timedelta

__all__ = [
    "machine_now",
    "monotonic",
    "new_id",
    "new_run_id",
    "now",
    "now_text",
    "offset",
    "set_offset",
    "to_text",
]

_CROCKFORD = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"

_offset = timedelta()


def now() -> datetime:
    """The time in UTC, aware; by the broker's clock, as far as it has been measured."""
    return datetime.now(UTC) + _offset


def machine_now() -> datetime:
    """The time in UTC by this machine's own clock."""
    return datetime.now(UTC)


def offset() -> float:
    """Seconds that the broker's clock is ahead of this machine's, as `now` has them."""
    return _offset.total_seconds()


def set_offset(seconds: float) -> None:
    """Let `now` add so many seconds from now on."""
    global _offset  # noqa: PLW0603 — one clock for the process
    _offset = timedelta(seconds=seconds)


def to_text(moment: datetime) -> str:
    """RFC 3339 in UTC with milliseconds, as events carry it."""
    if moment.tzinfo is not UTC:
        moment = moment.astimezone(UTC)
    return moment.isoformat(timespec="milliseconds")[:-6] + "Z"


def now_text() -> str:
    """The time as events carry it."""
    return to_text(now())


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
