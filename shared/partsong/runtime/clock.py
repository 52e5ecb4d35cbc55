"""The only place that reads the clock or makes something random.

Everything is read through one source. Who simulates sets another one (`set_source`), which holds for one context: so
simulated processes in one interpreter each have a clock of their own, perhaps a wrong one.

Durable timers are set by a service and fired by the broker, so a service goes by the broker's clock: `broker_clock`
measures how far it is ahead of this machine's, and `now` adds that. In a process that has no broker it adds nothing.
"""

from __future__ import annotations

import secrets
import time
from contextvars import ContextVar
from datetime import UTC, datetime, timedelta
from typing import Protocol
from weakref import WeakKeyDictionary

__all__ = [
    "Source",
    "machine_now",
    "monotonic",
    "new_id",
    "new_run_id",
    "now",
    "now_text",
    "offset",
    "server_time",
    "set_offset",
    "set_source",
    "to_text",
]

_CROCKFORD = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"


class Source(Protocol):
    """Where time and chance come from."""

    def wall(self) -> float:
        """Seconds since 1970, as the wall clock says."""
        ...

    def monotonic(self) -> float:
        """Seconds that never go back."""
        ...

    def randbits(self, bits: int, /) -> int:
        """That many random bits."""
        ...


class _System:
    """The machine's own."""

    wall = staticmethod(time.time)
    monotonic = staticmethod(time.monotonic)
    randbits = staticmethod(secrets.randbits)


_SYSTEM: Source = _System()
_source: ContextVar[Source] = ContextVar("clock", default=_SYSTEM)
_offsets: WeakKeyDictionary[Source, timedelta] = WeakKeyDictionary()
_NONE = timedelta()


def set_source(source: Source) -> None:
    """Read from another source, in this context and in the tasks and callbacks that begin in it."""
    _source.set(source)


def now() -> datetime:
    """The time in UTC, aware; by the broker's clock, as far as it has been measured."""
    return machine_now() + _offsets.get(_source.get(), _NONE)


def machine_now() -> datetime:
    """The time in UTC by this machine's own clock."""
    return datetime.fromtimestamp(_source.get().wall(), UTC)


def offset() -> float:
    """Seconds that the broker's clock is ahead of this machine's, as `now` has them."""
    return _offsets.get(_source.get(), _NONE).total_seconds()


def set_offset(seconds: float) -> None:
    """Let `now` add so many seconds from now on to what this source says."""
    _offsets[_source.get()] = timedelta(seconds=seconds)


def to_text(moment: datetime) -> str:
    """RFC 3339 in UTC with milliseconds, as events carry it."""
    if moment.tzinfo is not UTC:
        moment = moment.astimezone(UTC)
    return moment.isoformat(timespec="milliseconds")[:-6] + "Z"


def server_time(text: str) -> datetime:
    """A moment as nats-server writes it: in UTC, with as many digits as it needs, up to nanoseconds."""
    second, _, rest = text.rstrip("Z").partition(".")
    return datetime.fromisoformat(f"{second}.{rest[:6]:0<6}+00:00")


def now_text() -> str:
    """The time as events carry it."""
    return to_text(now())


def monotonic() -> float:
    """Seconds that never go back, for deadlines and durations."""
    return _source.get().monotonic()


def new_id() -> str:
    """A ULID: 48 bits of milliseconds, 80 random bits, sorts by time (github.com/ulid/spec)."""
    source = _source.get()
    value = int(source.wall() * 1000) << 80 | source.randbits(80)
    return "".join(_CROCKFORD[value >> shift & 31] for shift in range(125, -1, -5))


def new_run_id() -> str:
    """A fresh run id."""
    return f"r_{new_id()}"
