"""Overstayed calls: their worker should have ended them in time, and has not.

A worker ends what takes too long by itself. One that is gone does not, nor does one whose interpreter the call holds: for
these the engine keeps the time. What a worker that is gone had begun may be begun by another one, and its time then counts
anew.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from partsong.contracts import events as e
from partsong.contracts.errors import Problem
from partsong.contracts.graph import AgentNode, FunctionNode, ToolNode
from partsong.contracts.state.calls import FUNCTION_TIMEOUT, lapse
from partsong.contracts.state.state import Call, RunState
from partsong.engine.draft import Closing

__all__ = ["GRACE", "TURN_TIMEOUT", "Unattended", "overstayed"]

GRACE = 10.0
"""Seconds more than its timeout, for its worker to end it."""
TURN_TIMEOUT = 600.0
"""Seconds for an agent's turn whose node has no `timeout`; as the gateway has it."""

Unattended: TypeAlias = Callable[[str, str, int], float | None]
"""Says for how many seconds nobody could end a call (run, call, attempt); None if somebody can."""


def overstayed(state: RunState, unattended: Unattended, now: str) -> tuple[Closing, ...]:
    """The ends of calls that have been made for longer than they may take.

    What may have had an effect that must not happen twice is closed as one of unknown outcome, and so is a turn, of which
    nobody knows what it has cost.
    """
    return tuple(
        Closing(call.id, _end(state, call, limit, now), call.claim)
        for call in state.calls.values()
        if call.open
        and (limit := _limit(state, call)) is not None
        and (seconds := unattended(state.run_id, call.id, call.attempt)) is not None
        and seconds > limit + GRACE
    )


def _limit(state: RunState, call: Call) -> float | None:
    execution = state.execution(call.exec) if call.exec else None
    if execution is None or call.kind in {"approval", "run", "hook"}:
        return None
    match state.node(execution):
        case FunctionNode(timeout=timeout):
            return FUNCTION_TIMEOUT if timeout is None else timeout
        case AgentNode(timeout=timeout) if call.kind == "agent.turn":
            return TURN_TIMEOUT if timeout is None else timeout
        case ToolNode(timeout=timeout):
            return timeout
        case _:
            return None


def _end(state: RunState, call: Call, limit: float, now: str) -> e.CallFailed | e.CallLapsed:
    if call.kind == "agent.turn" or not (call.worker is None or call.may_repeat):
        return lapse(state.run_id, call, now)
    stem = f"{state.run_id}.{call.id}.{call.attempt}"
    return e.CallFailed(
        id=f"{stem}.overstayed",
        time=now,
        cause=f"{stem}.requested",
        call_id=call.id,
        attempt=call.attempt,
        error=Problem(
            code=f"{call.kind}.timeout",
            message=f"{call.name} gave no result within {limit:g} s, and its worker did not end it",
            where=call.id,
            fix="see what became of the worker; raise the timeout, or make it faster",
            retryable=True,
            fault="tool",
        ),
    )
