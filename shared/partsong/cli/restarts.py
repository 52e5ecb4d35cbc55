"""Restarts: how long what has ended waits before it is started again, and when that is a trouble to be told.

Pure. A service, or the server, that dies at once, again and again, is started ever more slowly. One that had to be replaced because it
fell silent is replaced at once a few times within a while, and then ever more slowly: whatever silences it is not mended
by starting it, and each start may do harm to the work of others. But what one run's call silenced must not stand still for
all others longer than that call's attempts need.
"""

from __future__ import annotations

from collections import deque

__all__ = ["HEALTHY", "Restarts"]

HEALTHY = 10.0
"""Seconds after which a life counts as a good one, and the next start does not wait."""
_FIRST_WAIT, _LONGEST_WAIT = 0.1, 10.0
_MOST, _WINDOW = 3, 600.0
"""So many times within so many seconds it is replaced at once."""
_FIRST_REST, _LONGEST_REST = 5.0, 60.0
"""How long it waits the first time beyond that, and at most."""
_OFTEN = 5
"""So many short lives in a row are a trouble."""


class Restarts:
    """Counts the ends of one service."""

    def __init__(self) -> None:
        self._wait = _FIRST_WAIT
        self._short = 0
        self._replaced: deque[float] = deque()
        self.trouble = ""
        """Why it is not to be expected that the next life lasts; empty if nothing speaks against it."""

    def died(self, lived: float, how: str) -> float:
        """Note an end by itself, after so many seconds; how long to wait before the next start."""
        if lived > HEALTHY:
            self._wait, self._short = _FIRST_WAIT, 0
        else:
            self._wait, self._short = min(_LONGEST_WAIT, self._wait * 2), self._short + 1
        often = f"it ended {self._short} times within {HEALTHY:g} s of its start, now with {how}"
        self.trouble = often if self._short >= _OFTEN else ""
        return self._wait

    def replaced(self, now: float, why: str) -> float:
        """Note that it was replaced; how long to wait before the next start."""
        while self._replaced and now - self._replaced[0] >= _WINDOW:
            self._replaced.popleft()
        self._short, self._wait, self.trouble = 0, _FIRST_WAIT, ""
        wait = _FIRST_WAIT
        if (times := len(self._replaced)) >= _MOST:
            wait = min(_LONGEST_REST, _FIRST_REST * 2 ** (times - _MOST))
            self.trouble = (
                f"it was replaced {times} times within {_WINDOW:g} s and fell silent again ({why}); "
                f"it is started again in {wait:.0f} s"
            )
        self._replaced.append(now + wait)
        return wait
