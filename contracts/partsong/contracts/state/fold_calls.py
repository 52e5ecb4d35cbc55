"""What events of calls and timers mean for a run's state."""

from __future__ import annotations

from typing import TypeAlias

from partsong.contracts import events as e
from partsong.contracts.errors import InvalidInput, Problem
from partsong.contracts.frozen import replace
from partsong.contracts.graph import AgentNode
from partsong.contracts.persistent import below, put, without
from partsong.contracts.state.conversation import after_turn, begun, compacted
from partsong.contracts.state.scope import Execution
from partsong.contracts.state.state import CANCELLED, MISSING, Call, RunState, Timer

__all__ = [
    "Closing",
    "call_claimed",
    "call_closed",
    "call_requested",
    "conversation_compacted",
    "route_decided",
    "run_notified",
    "timer_changed",
    "with_due",
    "with_execution",
]


def call_requested(
    state: RunState, event: e.CallRequested | e.AgentTurnRequested | e.ApprovalRequested
) -> RunState:
    """A call is open."""
    hook = isinstance(event, e.CallRequested) and event.kind == "hook"
    if not event.exec and not hook:
        return _webhook_requested(state, event)
    execution = state.execution(event.exec)
    if execution is None and event.exec and state.undone(event.exec) is None:
        return state
    before = state.calls.get(event.call_id)
    call = _call(event)
    if before is not None and before.attempt >= call.attempt:
        return state
    call = replace(call, since=event.time)
    if before is not None:
        absent = before.problem is not None and before.problem.code in MISSING
        same = before.name == call.name  # another model begins anew
        stood = before.outcome if isinstance(before.outcome, e.CallSuspended) else before.resumes
        call = replace(
            call,
            claim=before.claim,
            parked=before.parked + absent if same else 0,
            lapses=before.lapses + before.lapsed if same else 0,
            deaths=before.deaths + (before.lapsed and not before.stopped) if same else 0,
            others=before.others if same else before.attempt,
            resumes=stood,
        )
    calls = state.calls
    turn = event if isinstance(event, e.AgentTurnRequested) and before is None else None
    if turn is not None and turn.purpose == "answer" and execution is not None:
        state = with_execution(state, _next_turn(state, execution, turn))
        for id_ in below(calls, event.exec):
            if calls[id_].exec == event.exec and not _lasts(id_, turn):
                calls = without(calls, id_)
    return replace(
        state,
        calls=put(calls, event.call_id, call),
        due=without(state.due, event.exec),
        updated=event.time,
    )


def _lasts(call_id: str, turn: e.AgentTurnRequested) -> bool:
    """Whether a call outlives the turn before: what plugins said of the execution, and of the turn that begins."""
    return call_id.startswith((f"{turn.exec}/h.", f"{turn.call_id}/h."))


def _next_turn(state: RunState, execution: Execution, turn: e.AgentTurnRequested) -> Execution:
    if execution.turn:
        execution = after_turn(state, execution, turn.repair, turn.warning)
    elif isinstance(node := state.node(execution), AgentNode):
        try:
            messages, inherited = begun(state, execution, node)
        except InvalidInput:
            return execution  # no engine asks for a turn that cannot begin
        talk = replace(execution.talk, inherited=inherited)
        execution = replace(execution, messages=messages, talk=talk)
    return replace(execution, turn=execution.turn + 1)


def conversation_compacted(state: RunState, event: e.ConversationCompacted) -> RunState:
    """A summary stands for what was said; without one, nobody asks for another until the next turn has ended."""
    execution = state.execution(event.exec)
    node = state.node(execution) if execution is not None else None
    if execution is None or not isinstance(node, AgentNode):
        return state
    execution = compacted(state, execution, node, event.summary)
    return with_due(replace(with_execution(state, execution), updated=event.time), execution.id)


def route_decided(state: RunState, event: e.RouteDecided) -> RunState:
    """The conversation's next turn goes on with the model that was chosen, if it may."""
    call = state.calls.get(event.call_id)
    execution = state.execution(call.exec) if call is not None else None
    if execution is None:
        return state
    return with_execution(
        state, replace(execution, talk=replace(execution.talk, model=event.model))
    )


def _webhook_requested(
    state: RunState, event: e.CallRequested | e.AgentTurnRequested | e.ApprovalRequested
) -> RunState:
    """An ended run is told to the world; the run itself stays as it ended."""
    call, before = _call(event), state.calls.get(event.call_id)
    if not state.ended or (before is not None and before.attempt >= call.attempt):
        return state
    call = replace(call, since=before.since if before is not None else event.time)
    return replace(state, calls=put(state.calls, call.id, call), due=without(state.due, ""))


def run_notified(state: RunState, event: e.RunNotified) -> RunState:
    """The webhook has been told, or nobody tries any more."""
    return replace(state, calls=without(state.calls, event.call_id), due=without(state.due, ""))


def _call(event: e.CallRequested | e.AgentTurnRequested | e.ApprovalRequested) -> Call:
    match event:
        case e.ApprovalRequested():
            return Call(event.call_id, event.exec, "approval", event.title)
        case e.AgentTurnRequested():
            return Call(
                event.call_id,
                event.exec,
                "agent.turn",
                event.model,
                event.attempt,
                allowance=event.allowance,
            )
        case e.CallRequested():
            return Call(
                event.call_id,
                event.exec,
                event.kind,
                event.name,
                event.attempt,
                child=event.child,
                approved=event.approved,
                about=event.about,
                edit=event.edit,
            )


def call_claimed(state: RunState, event: e.CallClaimed | e.AgentTurnClaimed, seq: int) -> RunState:
    """A worker is about to make a guarded call."""
    call = state.calls.get(event.call_id)
    if call is None:
        return state
    call = replace(call, claim=max(seq, call.claim))
    if call.open and call.attempt == event.attempt:
        price = event.price if isinstance(event, e.AgentTurnClaimed) else None
        repeatable = isinstance(event, e.CallClaimed) and event.repeatable
        call = replace(call, worker=event.worker, price=price, repeatable=repeatable)
    return replace(state, calls=put(state.calls, call.id, call))


Closing: TypeAlias = (
    e.CallCompleted | e.CallFailed | e.CallSuspended | e.CallLapsed | e.CallCancelled | e.ChildEnded | e.HookDecided
    | e.AgentTurnCompleted | e.AgentTurnFailed | e.ApprovalDecided | e.ApprovalExpired
)  # fmt: skip


def call_closed(state: RunState, event: Closing, seq: int) -> RunState:
    """The first closing event of an attempt counts; a second is recorded and changes nothing."""
    call = state.calls.get(event.call_id)
    if call is None or call.closed_by == event.id:
        return state
    attempt = getattr(event, "attempt", 0) or call.attempt
    guarded = replace(call, claim=max(seq, call.claim)) if _on_its_subject(call, event) else call
    if not call.open or attempt != call.attempt:
        known = state.superseded if event.id in state.superseded else (*state.superseded, event.id)
        return replace(state, calls=put(state.calls, call.id, guarded), superseded=known)
    closed = replace(_ended(guarded, event), closed_by=event.id)
    if (usage := _usage(event)) is not None:
        state = _charged(state, call.exec, usage)
    return replace(
        state,
        calls=put(state.calls, call.id, closed),
        due=state.due if call.exec in state.due else put(state.due, call.exec, None),
        updated=state.updated if state.ended else event.time,
    )


def _on_its_subject(call: Call, event: Closing) -> bool:
    """Whether a closing event stands on the call's own subject; what was made without a claim is reported as a fact."""
    if isinstance(event, e.CallCompleted | e.CallFailed | e.CallSuspended):
        if not event.worker:  # the engine's
            return True
        return call.guarded and event.worker == call.worker and event.attempt == call.attempt
    return call.guarded or isinstance(event, e.CallLapsed)


def _ended(call: Call, event: Closing) -> Call:
    """The attempt with how it ended."""
    call = replace(
        call,
        outcome=None,
        problem=None,
        unapproved=None,
        lapsed=False,
        stopped=False,
        retry_after=None,
    )
    match event:
        case e.CallFailed(error=problem):
            return replace(call, problem=problem, unapproved=event.unapproved)
        case e.AgentTurnFailed(error=problem, retry_after=wait):
            return replace(call, problem=problem, retry_after=wait)
        case e.CallCancelled(reason=reason):
            message = reason or "the run is ending"
            return replace(call, problem=Problem(code=CANCELLED, message=message))
        case e.CallLapsed(stopped=stopped):
            return replace(call, lapsed=True, stopped=stopped)
        case _:
            return replace(call, outcome=event)


def _usage(event: Closing) -> e.TurnUsage | None:
    match event:
        case (
            e.AgentTurnCompleted(usage=usage)
            | e.AgentTurnFailed(usage=usage)
            | e.CallLapsed(usage=usage)
            | e.CallCancelled(usage=usage)
        ):
            return usage
        case _:
            return None


def _charged(state: RunState, exec_id: str, usage: e.TurnUsage) -> RunState:
    execution = state.execution(exec_id)
    if execution is not None:
        talk = replace(execution.talk, usage=execution.talk.usage.plus(usage))
        state = with_execution(state, replace(execution, talk=talk))
    return replace(state, usage=state.usage.plus(usage))


def timer_changed(state: RunState, event: e.TimerSet | e.TimerFired) -> RunState:
    """A timer waits, or its moment has come."""
    if isinstance(event, e.TimerSet):
        timer = Timer(event.timer_id, event.at, event.purpose, event.call_id, event.exec)
        state = replace(state, timers=put(state.timers, event.timer_id, timer))
        if event.exec is not None:
            execution = state.execution(event.exec)
            if execution is not None:
                state = with_execution(state, replace(execution, timer=event.timer_id))
            return replace(state, due=without(state.due, event.exec))
        call = state.calls.get(event.call_id or "")
        if event.purpose != "retry" or call is None:
            return state
        calls = put(state.calls, call.id, replace(call, waits=event.timer_id))
        return replace(state, calls=calls, due=without(state.due, call.exec))
    fired = state.timers.get(event.timer_id)
    if fired is None or event.at not in {None, fired.at}:
        return state
    state = replace(state, timers=without(state.timers, fired.id))
    if fired.purpose == "run_deadline":
        stopping = state.ended or state.stopping is not None
        return state if stopping else replace(state, overdue=fired.at)
    if fired.exec is not None:
        return with_due(state, fired.exec)
    call = state.calls.get(fired.call_id or "")
    if call is None:
        return state
    if fired.purpose == "approval_deadline":
        call = replace(call, expired=True)
    elif call.waits == fired.id:
        call = replace(call, waits=None, rested=True)
    return with_due(replace(state, calls=put(state.calls, call.id, call)), call.exec)


def with_execution(state: RunState, execution: Execution) -> RunState:
    """The state with an open execution changed."""
    scope = state.scopes[execution.scope]
    scope = replace(scope, active=put(scope.active, execution.id, execution))
    return replace(state, scopes=put(state.scopes, scope.path, scope))


def with_due(state: RunState, exec_id: str) -> RunState:
    """The next decision looks at an execution."""
    return state if exec_id in state.due else replace(state, due=put(state.due, exec_id, None))
