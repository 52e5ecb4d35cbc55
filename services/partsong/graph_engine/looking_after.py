"""Looking after open runs: whose worker has fallen silent, and of which nothing has been heard for a while.

Hints may be lost, and workers die without a word. So runs that wait for somebody are taken up again now and then, which
sends again all that they wait for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from heapq import nsmallest

from partsong.contracts.state import RunState, Timer
from partsong.graph_engine.turn import Slot, owed
from partsong.runtime import clock

__all__ = ["PATIENCE", "neglected", "offered_later", "waits_for_people"]

PATIENCE = 3.0
"""Seconds without a report after which a run is looked after: with a look each two, a lost hint is missed within five."""
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
    works = any(call.kind != "approval" for call in owed(state))
    return not works and not state.pending and not _concerns_others(state)


def _concerns_others(state: RunState) -> bool:
    """Whether an open run may be kept waiting, or kept going, by what has become of another one."""
    return (
        state.graph is not None
        and not state.ended
        and (state.status == "queued" or state.options.parent is not None)
    )
