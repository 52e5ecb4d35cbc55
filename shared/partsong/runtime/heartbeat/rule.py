"""The rule of life: which process is alive, from what another one can see of it.

Foreign code that blocks a loop, or the interpreter, is alive: what it holds is its own, and nobody else may do it. A
process that is gone is dead. Between the two stand processes that do not answer: one that was stopped (SIGSTOP) is taken
for dead at once, for it may never go on; any other only when it has not answered for `blocked_limit` seconds.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import timedelta
from typing import Literal, TypeAlias

from partsong.contracts.services import AGENT_GATEWAY, TOOL_RUNNER
from partsong.runtime import clock
from partsong.runtime.heartbeat.held import Entry, HeldCalls

__all__ = [
    "BLOCKED_LIMIT",
    "PERIOD",
    "UNANSWERED",
    "Standing",
    "beat_of",
    "blocked_limit",
    "candidates",
    "standing",
]

PERIOD = 1.0
"""Seconds between two heartbeats."""
UNANSWERED = 2.0
"""Seconds without an answer after which a process counts as blocked."""
BLOCKED_LIMIT = 300.0
"""Seconds without an answer after which it counts as dead, where foreign code runs."""
_OWN_LIMIT = 60.0
"""The same where only our own code runs."""
_FOREIGN = frozenset({AGENT_GATEWAY, TOOL_RUNNER})
"""Services in which code of users runs: functions, tools, plugins."""
_MOMENT = 0.5
"""Seconds; calls held for less are left out of heartbeats, of which most would be old news on arrival."""
_CANDIDATES = 5

Standing: TypeAlias = Literal["well", "blocked", "silent", "gone"]


def blocked_limit(service: str) -> float:
    """Seconds without an answer after which a service counts as dead: code of users may take longer than ours."""
    return BLOCKED_LIMIT if service in _FOREIGN else _OWN_LIMIT


def standing(
    *, exists: bool, stopped: bool, unanswered: float, limit: float = BLOCKED_LIMIT
) -> Standing:
    """How a process stands that has not answered for so many seconds. `silent`: do not beat for it."""
    if not exists:
        return "gone"
    if stopped or unanswered > limit:
        return "silent"
    return "blocked" if unanswered > UNANSWERED else "well"


def candidates(entries: Iterable[Entry]) -> list[str]:
    """The functions that may be what runs while a process does not answer: those begun last."""
    return list(dict.fromkeys(one.function for one in entries if not one.asking))[:_CANDIDATES]


def beat_of(
    base: Mapping[str, object], held: HeldCalls, *, blocked: bool = False, whole: bool = False
) -> dict[str, object]:
    """One heartbeat as it is written; `whole` lists also calls that are a moment old."""
    now = clock.monotonic()
    entries = held.entries()
    beat = {**base, "in_flight": held.in_flight}
    if listed := [one for one in entries if whole or now - one.since > _MOMENT]:
        beat["held"] = [
            {
                "run_id": one.run_id,
                "call_id": one.call_id,
                "attempt": one.attempt,
                "function": one.function,
                **({"asking": True} if one.asking else {}),
            }
            for one in listed
        ]
    if held.unlisted:
        beat["held_more"] = held.unlisted
    if blocked:
        since = clock.now() - timedelta(seconds=now - held.ticked)
        beat["blocked"] = {
            "since": clock.to_text(since),
            "functions": candidates(entries),
            "process": True,
        }
    elif blocking := held.blocking:
        at, function, run_id, call_id = (*blocking, "", "", "")[:4]
        beat["blocked"] = {
            "since": at,
            "functions": [function],
            "run_id": run_id,
            "call_id": call_id,
        }
    return beat
