"""Overstayed calls: their worker should have ended them in time, and has not.

A worker ends what takes too long by itself. One that is gone does not, nor does one whose interpreter the call holds: for
these the engine keeps the time. What a worker that is gone had begun may be begun by another one, and its time then counts
anew. Nobody keeps the time of what no worker has begun: it waits.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple, TypeAlias

from partsong.contracts import events as e
from partsong.contracts.durations import format_duration
from partsong.contracts.errors import Problem
from partsong.contracts.graph import AgentNode, FunctionNode, ToolNode
from partsong.contracts.state.calls import FUNCTION_TIMEOUT, lapse
from partsong.contracts.state.state import Call, RunState
from partsong.contracts.wire.heartbeat import Unattended
from partsong.engine.draft import Closing

__all__ = ["GRACE", "TOOL_TIMEOUT", "TURN_TIMEOUT", "Watch", "overstayed"]

GRACE = 10.0
"""Seconds more than its timeout, for its worker to end it, or for another one to begin it."""
TURN_TIMEOUT = 600.0
"""Seconds for an agent's turn whose node has no `timeout`; as the gateway has it."""
TOOL_TIMEOUT = FUNCTION_TIMEOUT
"""Seconds for a tool whose node has no `timeout`, and a model's: its own is known only to its worker."""

Watch: TypeAlias = Callable[[str, str, int], Unattended | None]
"""Says for how long nobody could end a call (run, call, attempt); None if somebody can."""


class _Limits(NamedTuple):
    """Seconds that a call may take, and be silent."""

    whole: float
    silence: float = math.inf


def overstayed(state: RunState, watch: Watch, now: str) -> tuple[Closing, ...]:
    """The ends of calls that have been made for longer than they may take.

    What may have had an effect that must not happen twice is closed as one of unknown outcome, and so is a turn, of which
    nobody knows what it has cost.
    """
    return tuple(
        Closing(call.id, _end(state, call, problem, now), call.claim)
        for call in state.calls.values()
        if call.open
        and (limits := _limits(state, call)) is not None
        and (alone := watch(state.run_id, call.id, call.attempt)) is not None
        and (problem := _problem(call, limits, alone)) is not None
    )


def _limits(state: RunState, call: Call) -> _Limits | None:
    execution = state.execution(call.exec) if call.exec else None
    if execution is None or call.kind in {"approval", "run", "hook"}:
        return None
    node = state.node(execution)
    if isinstance(node, FunctionNode):
        return _Limits(node.timeout or FUNCTION_TIMEOUT, node.idle_timeout or math.inf)
    if isinstance(node, AgentNode) and call.kind == "agent.turn":
        return _Limits(node.timeout or TURN_TIMEOUT, node.idle_timeout or math.inf)
    whole = node.timeout if isinstance(node, ToolNode) else None
    return _Limits(whole or TOOL_TIMEOUT)


def _problem(call: Call, limits: _Limits, alone: Unattended) -> Problem | None:
    if alone.seconds > limits.whole + GRACE:
        code, said = "timeout", f"gave no result within {format_duration(limits.whole)}"
    elif alone.still > limits.silence + GRACE:
        code, said = "idle_timeout", f"showed nothing for {format_duration(limits.silence)}"
    else:
        return None
    return Problem(
        code=f"{call.kind}.{code}",
        message=f"{call.name} {said}, and its worker did not end it",
        where=call.id,
        fix=f"see what became of the worker; raise {code}, or make it faster",
        retryable=True,
        fault="tool",
    )


def _end(state: RunState, call: Call, problem: Problem, now: str) -> e.CallFailed | e.CallLapsed:
    if call.kind == "agent.turn" or not (call.worker is None or call.may_repeat):
        return lapse(state.run_id, call, now)
    stem = f"{state.run_id}.{call.id}.{call.attempt}"
    return e.CallFailed(
        id=f"{stem}.overstayed",
        time=now,
        cause=f"{stem}.requested",
        call_id=call.id,
        attempt=call.attempt,
        error=problem,
    )
