"""`fold(state, event)`: the one meaning of the log. Pure, total, and idempotent for events with an id seen before.

Total: an event that does not fit the state changes nothing. What fits is decided here alone, so the engine, a replay,
the console and an audit can never disagree. What events of calls mean is in `fold_calls`, of nodes in `fold_nodes`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import assert_never

from pydantic import JsonValue

from partsong.contracts import events as e
from partsong.contracts.errors import InvalidInput, Problem
from partsong.contracts.events.envelope import Commit, Report
from partsong.contracts.frozen import replace
from partsong.contracts.graph import WaitNode
from partsong.contracts.services import GRAPH_ENGINE
from partsong.contracts.state.fold_calls import (
    call_claimed,
    call_closed,
    call_requested,
    conversation_compacted,
    route_decided,
    run_notified,
    timer_changed,
)
from partsong.contracts.state.fold_nodes import (
    node_cancelled,
    node_compensated,
    node_ended,
    node_scheduled,
    scope_closed,
    scope_opened,
)
from partsong.contracts.state.retry import revived
from partsong.contracts.state.scope import Scope, Token
from partsong.contracts.state.serialization import load_state
from partsong.contracts.state.state import Origin, Pending, RunState, Signal, Stopping, line_of

__all__ = ["fold", "fold_all", "fold_message"]

_NO_DECISION = tuple(
    model
    for model, writer in e.WRITERS.items()
    if writer != GRAPH_ENGINE
    or model in {e.CommandReceived, e.TimerFired, e.ChildEnded, e.CallLapsed, e.CallCancelled}
)
"""What comes to a run that nobody can decide on; any other event says that somebody can again."""


def fold_message(state: RunState, message: Commit | Report, seq: int) -> RunState:
    """Fold all events of one message of the log; a commit also counts as one.

    An event that is newer than this reader ends the run for it: what that event means, and so what all the later ones
    mean, it cannot know.
    """
    if state.newer is None:
        for event in message.events:
            state = fold(state, event, seq)
    if state.newer is None and message.newer is not None:
        place = message.newer.model_copy(update={"where": f"seq {seq}"})
        state = replace(state, newer=place)
    return replace(state, commits=message.n) if isinstance(message, Commit) else state


def fold_all(state: RunState, events: Iterable[e.Event]) -> RunState:
    """Fold events that are in no log."""
    for event in events:
        state = fold(state, event)
    return state


def fold(state: RunState, event: e.Event, seq: int = 0) -> RunState:  # noqa: C901, PLR0911, PLR0912  # one case per event
    """The state after one more event; `seq` is the place of its message in the log."""
    if state.parked is not None and not isinstance(event, _NO_DECISION):
        state = replace(state, parked=None)
    match event:
        case e.RunStarted():
            return _started(state, event)
        case e.RunForked():
            return _forked(state, event)
        case e.NodeScheduled():
            return node_scheduled(state, event)
        case e.CallRequested() | e.AgentTurnRequested() | e.ApprovalRequested():
            return call_requested(state, event)
        case e.CallClaimed() | e.AgentTurnClaimed():
            return call_claimed(state, event, seq)
        case (
            e.CallCompleted() | e.CallFailed() | e.CallSuspended() | e.CallLapsed() | e.CallCancelled()
            | e.ChildEnded() | e.HookDecided() | e.AgentTurnCompleted() | e.AgentTurnFailed() | e.ApprovalDecided() | e.ApprovalExpired()
        ):  # fmt: skip
            return call_closed(state, event, seq)
        case e.RouteDecided():
            return route_decided(state, event)
        case e.TimerSet() | e.TimerFired():
            return timer_changed(state, event)
        case e.NodeCompleted() | e.NodeFailed():
            return node_ended(state, event)
        case e.NodeCancelled():
            return node_cancelled(state, event)
        case e.NodeCompensated():
            return node_compensated(state, event)
        case e.ScopeOpened():
            return scope_opened(state, event)
        case e.ScopeClosed():
            return scope_closed(state, event)
        case e.CommandReceived() | e.CommandSettled():
            return _commanded(state, event)
        case e.SignalReceived():
            return _signalled(state, event)
        case e.OwnerChanged():
            return replace(state, owner=event.owner)
        case e.RunAdmitted():
            return _admitted(state, event)
        case e.ConversationCompacted():
            return conversation_compacted(state, event)
        case e.RunPaused() | e.RunResumed() | e.RunParked():
            return _held(state, event)
        case e.RunRetried():
            return _retried(state, event)
        case e.RunNotified():
            return run_notified(state, event)
        case e.RunStopping():
            return _stopping(state, event)
        case e.RunCompleted() | e.RunFailedEvent() | e.RunCancelled() | e.RunLimitExceeded():
            return _ended(state, event)
        case _:
            assert_never(event)


def _stopping(state: RunState, event: e.RunStopping) -> RunState:
    if state.ended or state.stopping:
        return state
    stopping = Stopping(event.outcome, event.error, event.reason)
    return replace(state, stopping=stopping, due={}, overdue=None)


def _started(state: RunState, event: e.RunStarted) -> RunState:
    if state.graph is not None:
        return state
    entry = {event.graph.entry: (Token("START", 0, frozenset()),)}
    given, digest = _begun_by(state, event)
    return replace(
        state,
        status="queued" if event.queued else "running",
        digest=digest,
        options=event.options,
        plugins=event.plugins,
        started=event.time,
        updated=event.time,
        scopes={"": Scope("", event.graph, settled={**event.remembered, **given}, tokens=entry)},
    )


def _begun_by(state: RunState, event: e.RunStarted) -> tuple[Mapping[str, JsonValue], str]:
    """The run's input, and the digest of the command that holds it; a log without commands has it in the event."""
    command = state.pending.get(event.request_id)
    if command is None or command.verb != "run":
        return event.input, ""
    given = command.request.get("input")
    return given if isinstance(given, dict) else {}, command.digest


def _commanded(state: RunState, event: e.CommandReceived | e.CommandSettled) -> RunState:
    id_ = event.request_id
    if isinstance(event, e.CommandSettled):
        pending = {other: command for other, command in state.pending.items() if other != id_}
        return replace(state, pending=pending)
    if id_ in state.pending:
        return state
    command = Pending(id_, event.verb, event.digest, event.request)
    return replace(state, pending={**state.pending, id_: command})


def _admitted(state: RunState, event: e.RunAdmitted) -> RunState:
    if state.status != "queued":
        return state
    root = replace(state.root, settled={**event.remembered, **state.root.settled})
    return replace(state, status="running", scopes={**state.scopes, "": root})


def _forked(state: RunState, event: e.RunForked) -> RunState:
    if state.graph is not None:
        return state
    try:
        copy = load_state(state.run_id, event.state)
    except InvalidInput:
        return state
    copy = replace(
        copy,
        calls={id_: replace(call, claim=0) for id_, call in copy.calls.items()},
        origin=Origin(event.origin, event.origin_seq),
        digest=state.pending[event.request_id].digest if event.request_id in state.pending else "",
        pending=state.pending,
        started=event.time,
        commits=state.commits,
        owner=None,
    )
    return revived(copy, copy.root.graph, event.time)


def _retried(state: RunState, event: e.RunRetried) -> RunState:
    if not state.ended or state.status == "completed" or state.graph is None:
        return state
    graph = event.graph or state.graph
    state = replace(state, options=event.options or state.options, retried=event.cause)
    return revived(state, graph, event.time, rerun=event.graph is None)


def _signalled(state: RunState, event: e.SignalReceived) -> RunState:
    if state.ended or event.id in state.signalled:
        return state
    waiting = [
        execution.id
        for execution in state.executions.values()
        if isinstance(node := state.node(execution), WaitNode)
        and node.signal == event.name
        and (node.key is None) == (event.key is None)
    ]
    place = line_of(event.name, event.key)
    line = (*state.signals.get(place, ()), Signal(event.id, event.payload))
    return replace(
        state,
        signals={**state.signals, place: line},
        signalled=state.signalled | {event.id},
        due={**state.due, **dict.fromkeys(waiting)},
        updated=event.time,
    )


def _held(state: RunState, event: e.RunPaused | e.RunResumed | e.RunParked) -> RunState:
    if isinstance(event, e.RunParked):
        return replace(state, parked=event.error, updated=event.time)
    if state.ended:
        return state
    return replace(state, paused=isinstance(event, e.RunPaused), updated=event.time)


def _ended(
    state: RunState, event: e.RunCompleted | e.RunFailedEvent | e.RunCancelled | e.RunLimitExceeded
) -> RunState:
    if state.ended or state.graph is None:
        return state
    state = replace(state, updated=event.time, due={}, timers={}, stopping=None, paused=False)
    match event:
        case e.RunCompleted():
            root = replace(state.root, settled=state.values, writes={})
            return replace(state, status="completed", scopes={"": root})
        case e.RunFailedEvent():
            return replace(state, status="failed", error=event.error)
        case e.RunCancelled():
            problem = Problem(code="run.cancelled", message=event.reason or "no reason given")
            return replace(state, status="cancelled", error=problem)
        case e.RunLimitExceeded():
            return replace(state, status="limit_exceeded", error=event.error)
        case _:
            assert_never(event)
