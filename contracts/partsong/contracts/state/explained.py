"""Why a run stands where it stands, in one sentence: every way in which it can sit still has its own."""

from __future__ import annotations

from collections.abc import Iterator

from partsong.contracts.errors import InvalidInput
from partsong.contracts.graph import AgentNode, MapNode
from partsong.contracts.state.calls import Call, Waiting
from partsong.contracts.state.node_results import items_of
from partsong.contracts.state.scope import Execution
from partsong.contracts.state.state import RunState, Stopping

__all__ = ["explained"]

_NAMED = 3
"""So many of many things are named."""


def explained(state: RunState) -> str:
    """What the run waits for, or who is at work on it; of an ended run, what is left to do."""
    if state.ended:
        return _ended(state)
    if state.newer is not None:
        return f"needs a newer engine: {state.newer.message} ({state.newer.where})"
    if state.parked is not None:
        fix = f"; {state.parked.fix}" if state.parked.fix else ""
        return f"parked, no engine decides on it: {state.parked.message}{fix}"
    if state.status == "queued":
        return f"queued since {state.started}: the runs before it in thread {state.options.thread} have not ended"
    if state.paused and state.stopping is None:
        return f"paused: nothing new begins until it is resumed{_at_work(state)}"
    if state.stopping is not None:
        return _stopping(state, state.stopping)
    if (waits := state.waits_on) is not None:
        return f"{_waiting(state, waits)}{_held(state)}"
    return f"at work{_at_work(state)}{_held(state)}"


def _ended(state: RunState) -> str:
    said = []
    if lost := state.uncompensated:
        reasons = "; ".join(f"{id_}: {problem.code}" for id_, problem in [*lost.items()][:_NAMED])
        said.append(f"not undone, so undo it by hand: {reasons}{_more(len(lost))}")
    if state.telling:
        said.append("its webhook has not been told yet")
    return "; ".join(said)


def _waiting(state: RunState, waits: Waiting) -> str:
    until = f", until {waits.until}" if waits.until else ""
    reason = f": {waits.reason}" if waits.reason else ""
    match waits.on:
        case "approval":
            said = f"waits for a person to decide {waits.what}"
        case "signal":
            said = f"waits for the signal {waits.what}"
        case "timer":
            said = f"{waits.what} waits for its time"
        case "run":
            child = state.calls[waits.what].child if waits.what in state.calls else None
            said = f"waits for the run {child or 'that'} {waits.what} has started"
        case "retry":
            said = f"{waits.what} is tried again"
        case "rate_limit":
            said = f"{waits.what} waits for its provider's rate limit"
        case "worker":
            said = f"{waits.what} waits for a worker{_gone(state.calls.get(waits.what))}"
    return f"{said} since {waits.since}{until}{reason}"


def _gone(call: Call | None) -> str:
    lapses = 0 if call is None else call.lapses
    if not lapses:
        return ""
    return f", {lapses} {'was' if lapses == 1 else 'were'} gone before it ended,"


def _stopping(state: RunState, stopping: Stopping) -> str:
    said = f"is ending as {stopping.outcome}"
    if state.undo:
        undo = state.undo[-1]
        call = state.calls.get(f"{undo.exec}/undo")
        attempt = f", attempt {call.attempt}" if call is not None else ""
        said += f": {undo.exec} is being undone by {undo.function}{attempt}"
        said += f" ({len(state.undo) - 1} more to undo)" if len(state.undo) > 1 else ""
        if call is not None and (timer := state.timers.get(call.waits or "")) is not None:
            why = f" after {call.problem.code}" if call.problem is not None else ""
            said += f", tried again{why} at {timer.at}"
    if (waits := state.waits_on) is not None:
        said += f"; {_waiting(state, waits)}"
    return said


def _at_work(state: RunState) -> str:
    """The calls that are open, and who makes them."""
    calls = [call for call in state.calls.values() if call.open]
    if not calls:
        return ""
    return f": {', '.join(_call(state, call) for call in calls[:_NAMED])}{_more(len(calls))}"


def _call(state: RunState, call: Call) -> str:
    by = f" by {call.worker}" if call.worker else ""
    execution = state.execution(call.exec)
    node = state.node(execution) if execution is not None else None
    endless = call.kind == "function" and node is not None and node.timeout is None
    limit = ", without a timeout of its own" if endless else ""
    return f"{call.id} ({call.kind} {call.name}{by} since {call.since}{limit})"


def _held(state: RunState) -> str:
    """What could go on if there were a place for it."""
    said = [line for execution in state.executions.values() for line in _place(state, execution)]
    return "".join(f"; {line}" for line in said[:_NAMED]) + _more(len(said))


def _place(state: RunState, execution: Execution) -> Iterator[str]:
    node = state.node(execution)
    if isinstance(node, MapNode) and execution.live:
        left = _left(state, execution, node)
        if left > 0 and node.max_concurrency is not None:
            yield f"{left} items of {execution.id} wait for a place, max_concurrency is {node.max_concurrency}"
    elif isinstance(node, AgentNode) and execution.live and _short(state, execution):
        yield f"{execution.id} waits for what parallel turns leave of the budget"


def _left(state: RunState, execution: Execution, node: MapNode) -> int:
    try:
        return len(items_of(node, state.view(execution))) - execution.opened
    except InvalidInput:  # the engine fails the node for it
        return 0


def _short(state: RunState, execution: Execution) -> bool:
    """Whether an agent is due, and nothing of its own is open that it could be waiting for."""
    own = any(
        call.exec == execution.id and (call.open or call.waits) for call in state.calls.values()
    )
    return execution.id in state.due and not own


def _more(count: int) -> str:
    return f" and {count - _NAMED} more" if count > _NAMED else ""
