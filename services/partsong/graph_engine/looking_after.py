"""Looking after open runs: whose worker has fallen silent, and of which nothing has been heard for a while.

Hints may be lost, and workers die without a word. So runs that wait for somebody are taken up again now and then, which
sends again all that they wait for. Timers may be lost too, as when the server's disk is: one that is late is taken to
have fired.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from datetime import timedelta
from heapq import nsmallest
from typing import NamedTuple

from partsong.contracts.state.state import RunState, Timer
from partsong.graph_engine.turn import Slot, owed
from partsong.runtime import clock

__all__ = [
    "PATIENCE",
    "Asleep",
    "late",
    "neglected",
    "offered_later",
    "rung_late",
    "waits_for_people",
]

PATIENCE = 3.0
"""Seconds without a report after which a run is looked after: with a look each two, a lost hint is missed within five."""
_LATE = 10.0
"""Seconds for which a timer may be late, for there may be many at once; also more than a clock may be wrong."""
_MOST = 500
"""Runs looked after at a time, those that have waited longest first: workers that have much to do are not slowed down."""


def neglected(slots: Iterable[Slot], silent: Callable[[str], bool], patience: float) -> list[Slot]:
    """The runs to be looked after now."""
    now = clock.monotonic()
    found: list[Slot] = []
    waiting: list[Slot] = []
    for slot in slots:
        state = slot.ledger.state
        if slot.task is not None or not slot.warm or slot.parked is not None:
            continue
        calls = [call for call in owed(state) if call.kind != "approval"]
        if any(call.worker is not None and silent(call.worker) for call in calls):
            found.append(slot)
        elif (calls or _concerns_others(state)) and now - slot.touched > patience:
            waiting.append(slot)
    return found + nsmallest(_MOST, waiting, key=lambda slot: slot.touched)


class Asleep(NamedTuple):
    """What is remembered of an open run that is not held."""

    at: str
    """The moment of its first timer; empty if it has none."""
    threaded: bool

    @classmethod
    def of(cls, state: RunState) -> Asleep:
        """What is to be remembered of a run."""
        at = min((timer.at for timer in state.timers.values()), default="")
        return cls(at, state.options.thread is not None)


def late() -> str:
    """The moment for which timers were set that should have fired by now, however slow the server is."""
    return clock.to_text(clock.now() - timedelta(seconds=_LATE))


def rung_late(slots: Iterable[Slot]) -> Iterator[tuple[str, Timer]]:
    """Timers that the server should have fired, by the run that each belongs to."""
    moment = late()
    for slot in list(slots):
        if slot.task is None and slot.decides:
            for timer in _lost_timers(slot.ledger.state, moment):
                yield slot.ledger.run_id, timer


def offered_later(slots: Iterable[Slot]) -> Iterator[tuple[str, Timer]]:
    """Runs with calls that no worker could make, and the timers that offer them again."""
    for slot in list(slots):
        state = slot.ledger.state
        for call in state.calls.values():
            timer = state.timers.get(call.parked_at or "")
            if timer is not None:
                yield state.run_id, timer


def waits_for_people(slot: Slot) -> bool:
    """Whether nothing is to be done for a run but what somebody outside begins."""
    if slot.task is not None or slot.failures or slot.unsent or slot.parked is not None:
        return False
    state = slot.ledger.state
    if any(call.kind != "approval" for call in owed(state)) or _lost_timers(state, late()):
        return False
    return not state.pending and not _concerns_others(state)


def _lost_timers(state: RunState, moment: str) -> list[Timer]:
    return [timer for timer in state.timers.values() if timer.at < moment]


def _concerns_others(state: RunState) -> bool:
    """Whether an open run may be kept waiting, or kept going, by what has become of another one."""
    return (
        state.graph is not None
        and not state.ended
        and (state.status == "queued" or state.options.parent is not None)
    )
