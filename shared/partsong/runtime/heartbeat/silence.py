"""The rule of silence: which worker is to be replaced, from when each was last heard.

Whoever listens may be the reason: its machine slept or is overloaded, its connection is lost. So only time counts in
which the listener was neither held up nor cut off; and where most workers fall silent at once, that is more likely the
machine's doing than theirs, and they are given longer.
"""

from __future__ import annotations

from collections.abc import Mapping

from partsong.contracts.wire.heartbeat import Beat

__all__ = ["LOOK", "Silences", "doing"]

LOOK = 0.5
"""Seconds between two looks."""
_HELD_UP = 2.0
"""Seconds between two looks that show that the listener was held up itself."""
_DEAF = 3.0
"""Seconds without an answer of the server after which the listener is cut off."""
_TOGETHER = 4.0
"""How many times longer it takes where most are silent at once."""
_NAMED = 3


class Silences:
    """Decides which worker has been silent for too long; at most one at a time."""

    def __init__(self, now: float, *, limit: float) -> None:
        """`limit`: seconds without a heartbeat that are too many."""
        self._limit = limit
        self._looked = self._since = now

    def look(
        self, now: float, heard: Mapping[str, float], *, answered: float
    ) -> tuple[str, float] | None:
        """The worker to replace, and its silence in seconds. `answered`: when the server was last known to answer."""
        if now - self._looked > _HELD_UP or now - answered > _DEAF:
            self._since = now
        self._looked = now
        silence = {name: now - max(self._since, last) for name, last in heard.items()}
        silent = {name: long for name, long in silence.items() if long > self._limit}
        if not silent:
            return None
        name = max(silent, key=lambda one: silent[one])
        most = len(heard) > 1 and 2 * len(silent) > len(heard)
        if most and silent[name] <= _TOGETHER * self._limit:
            return None
        return name, now - heard[name]


def doing(beat: Beat | None) -> str:
    """What a worker last said that it does, for the line that says why it was replaced."""
    if beat is None:
        return "it has not said what it does"
    if beat.blocked is not None and beat.blocked.functions:
        return (
            f"{' or '.join(beat.blocked.functions)} let nothing else run since {beat.blocked.since}"
        )
    if not beat.held:
        calls = f"{beat.in_flight} calls in flight" if beat.in_flight else "no call"
        return f"it held {calls}"
    named = [f"{one.function or one.call_id} of run {one.run_id}" for one in beat.held[:_NAMED]]
    more = len(beat.held) + beat.held_more - len(named)
    return f"it held {', '.join(named)}" + (f" and {more} more" if more else "")
