"""Progress of processes: waits that last as long as somebody gets on with the work.

How long a server needs to read its store again grows with the store, and with whatever else the machine does. So a wait
does not guess: it gives up when the processes that are waited for have used no processor time for a while. Time in which
whoever waits was held up itself, as by a machine that sleeps or is overloaded, is not counted against them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

from partsong.runtime import clock

__all__ = ["Patience", "born", "state", "stopped", "used"]

_TICKS = 100.0
"""Of processor time in a second, as Linux counts it in /proc."""
_BUSY, _LEAST = 0.04, 0.05
"""Share of a processor since the last progress, and seconds of it, that count as progress: who only waits uses less, and
who is one of many on an overloaded machine more."""
_LOOK = 1.0
"""Seconds between two looks; what is beyond them is the doing of whoever looks."""
_LONGEST = 3600.0


def used(pid: int) -> float:
    """Seconds of processor time a process has used; 0 where that cannot be told."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text("ascii", "replace").rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / _TICKS
    except (OSError, ValueError, IndexError):
        return 0.0


def born(pid: int) -> str:
    """When a process began, in the kernel's own count: with its number, what it is known by. Empty where it is not said."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text("ascii", "replace").rpartition(")")[2].split()
        return fields[19]
    except (OSError, IndexError):
        return ""


def state(pid: int) -> str:
    """The state of a process in the kernel's letters, like `T` for one that was stopped; empty where it does not say."""
    try:
        return Path(f"/proc/{pid}/stat").read_text("ascii", "replace").rpartition(") ")[2][:1]
    except OSError:
        return ""


def stopped(pid: int) -> bool:
    """Whether a process was stopped, by a signal or by a debugger."""
    return state(pid) in {"T", "t"}


class Patience:
    """A deadline that moves on while processes work; at most an hour. It is to be looked at once a second at least."""

    def __init__(
        self,
        seconds: float,
        pids: Callable[[], Iterable[int]],
        *,
        work: Callable[[int], float] = used,
        now: Callable[[], float] = clock.monotonic,
    ) -> None:
        """`seconds` without progress are too many; `pids` are asked for at each look."""
        self._seconds, self._pids, self._work, self._now = seconds, pids, work, now
        self._begun = self._looked = now()
        self._idle = self._used = self._most = 0.0

    @property
    def idle(self) -> float:
        """Seconds without progress, as of the last look."""
        return self._idle

    @property
    def over(self) -> bool:
        """Whether nothing has gone on for too long.

        What a process does that was started again counts only beyond what the one before it came to.
        """
        now = self._now()
        used = sum(self._work(pid) for pid in self._pids())
        self._idle += min(_LOOK, now - self._looked)
        self._looked = now
        self._used = min(self._used, used)  # less, where one was started again
        if used - self._used > _LEAST + _BUSY * self._idle:
            if used > self._most:
                self._idle = 0.0
            self._used, self._most = used, max(self._most, used)
        return self._idle > self._seconds or now - self._begun > _LONGEST
