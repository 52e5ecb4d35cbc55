"""Progress of processes: waits that last as long as somebody gets on with the work.

How long a server needs to read its store again grows with the store, and with whatever else the machine does. So a wait
does not guess: it gives up when the processes that are waited for have used no processor time for a while.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

from partsong.runtime import clock

__all__ = ["Patience", "used"]

_TICKS = 100.0
"""Of processor time in a second, as Linux counts it in /proc."""
_BUSY = 0.1
"""Share of a processor, from one look to the next, that counts as progress; who only waits uses less."""
_LONGEST = 3600.0


def used(pid: int) -> float:
    """Seconds of processor time a process has used; 0 where that cannot be told."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text("ascii", "replace").rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / _TICKS
    except (OSError, ValueError, IndexError):
        return 0.0


class Patience:
    """A deadline that moves on while processes work; at most an hour."""

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
        self._begun = self._since = self._looked = now()
        self._used = self._most = 0.0

    @property
    def over(self) -> bool:
        """Whether nothing has gone on for too long.

        What a process does that was started again counts only beyond what the one before it came to.
        """
        now = self._now()
        used = sum(self._work(pid) for pid in self._pids())
        busy = used - self._used > _BUSY * (now - self._looked)
        if busy and used > self._most:
            self._since = now
        self._used, self._looked, self._most = used, now, max(self._most, used)
        return now - self._since > self._seconds or now - self._begun > _LONGEST
