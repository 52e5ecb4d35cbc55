"""`fold(state, event)`: the one meaning of the log. Pure, total, and idempotent for events with an id seen before.

Total: an event that does not fit the state changes nothing. What fits is decided here alone, so the engine, a replay,
the console and an audit can never disagree.
"""

from __future__ import annotations

from bisect import insort
from collections.abc import Iterable, Mapping
from typing import TypeVar, assert_never

from partsong.contracts import events as e
from partsong.contracts.envelope import Commit, Report
from partsong.contracts.errors import Problem
from partsong.contracts.frozen import replace
from partsong.contracts.graph import END
from partsong.contracts.outcomes import since_last_turn, update_of
from partsong.contracts.state import Call, Execution, RunState, Stopping, Timer, Token
from partsong.contracts.values import Write, reduced

__all__ = ["fold", "fold_all", "fold_message"]

K = TypeVar("K")
V = TypeVar("V")


def fold_message(state: RunState, message: Commit | Report, seq: int) -> RunState:
    """Fold all events of one message of the log; a commit also counts as one."""
    for event in message.events:
        state = fold(state, event, seq)
    return replace(state, commits=message.n) if isinstance(message, Commit) else state


def fold_all(state: RunState, events: Iterable[e.Event]) -> RunState:
    """Fold events that are in no log."""
    for event in events:
        state = fold(state, event)
    return state


def fold(state: RunState, event: e.Event, seq: int = 0) -> RunState:  # noqa: C901, PLR0911, PLR0912  # one case per event
    """The state after one more event; `seq` is the place of its message in the log."""
    match event:
        case e.RunStarted():
            return _run_started(state, event)
        case e.NodeScheduled():
            return _node_scheduled(state, event)
        case e.CallRequested() | e.AgentTurnRequested() | e.ApprovalRequested():
            return _requested(state, event)
        case e.CallClaimed() | e.AgentTurnClaimed():
            return _claimed(state, event, seq)
        case e.CallCompleted() | e.AgentTurnCompleted():
            return _closed(state, event, seq, outcome=event)
        case e.CallFailed() | e.AgentTurnFailed():
            return _closed(state, event, seq, problem=event.error)
        case e.ApprovalDecided() | e.ApprovalExpired():
            return _closed(state, event, seq, outcome=event)
        case e.CallLapsed():
            return _closed(state, event, seq, lapsed=True)
        case e.CallCancelled():
            problem = Problem(code="call.cancelled", message=event.reason or "the run is ending")
            return _closed(state, event, seq, problem=problem)
        case e.TimerSet() | e.TimerFired():
            return _timer(state, event)
        case e.NodeCompleted() | e.NodeFailed():
            return _node_ended(state, event)
        case e.OwnerChanged():
            return replace(state, owner=event.owner)
        case e.RunStopping():
            if state.ended or state.stopping:
                return state
            return replace(
                state, stopping=Stopping(event.outcome, event.error, event.reason), due=()
            )
        case e.RunCompleted() | e.RunFailedEvent() | e.RunCancelled() | e.RunLimitExceeded():
            return _run_ended(state, event)
        case _:
            assert_never(event)


def _run_started(state: RunState, event: e.RunStarted) -> RunState:
    if state.graph is not None:
        return state
    return replace(
        state,
        status="running",
        graph=event.graph,
        options=event.options,
        started=event.time,
        updated=event.time,
        settled=event.input,
        tokens={event.graph.entry: (Token("START", 0, frozenset()),)},
    )


def _node_scheduled(state: RunState, event: e.NodeScheduled) -> RunState:
    if (
        state.graph is None
        or event.node not in state.graph.nodes
        or event.visit <= state.visits.get(event.node, 0)
    ):
        return state
    waiting = state.tokens.get(event.node, ())
    taken = [token for token in waiting if token.source in event.sources]
    left = tuple(token for token in waiting if token.source not in event.sources)
    seen = frozenset[str]().union(*(token.seen for token in taken))
    execution = Execution(event.exec, event.node, event.visit, event.depth, seen, event.time)
    return replace(
        state,
        executions={**state.executions, event.exec: execution},
        visits={**state.visits, event.node: event.visit},
        tokens=_with(state.tokens, event.node, left)
        if left
        else _without(state.tokens, event.node),
        due=(*state.due, event.exec),
        steps=state.steps + 1,
        updated=event.time,
    )


def _requested(
    state: RunState, event: e.CallRequested | e.AgentTurnRequested | e.ApprovalRequested
) -> RunState:
    execution = state.executions.get(event.exec)
    if execution is None:
        return state
    before = state.calls.get(event.call_id)
    if isinstance(event, e.ApprovalRequested):
        call = Call(event.call_id, event.exec, "approval", event.title)
    elif isinstance(event, e.AgentTurnRequested):
        call = Call(event.call_id, event.exec, "agent.turn", event.model, event.attempt)
    else:
        call = Call(event.call_id, event.exec, event.kind, event.name, event.attempt)
    if before is not None and before.attempt >= call.attempt:
        return state
    call = replace(call, since=event.time, claim=before.claim if before else 0)
    calls = state.calls
    if isinstance(event, e.AgentTurnRequested) and before is None:
        execution = replace(
            execution,
            turn=execution.turn + 1,
            messages=(*execution.messages, *since_last_turn(state, execution)),
        )
        calls = {id_: c for id_, c in calls.items() if c.exec != event.exec}
    return replace(
        state,
        calls={**calls, event.call_id: call},
        executions={**state.executions, event.exec: execution},
        due=_drop(state.due, event.exec),
        updated=event.time,
    )


def _claimed(state: RunState, event: e.CallClaimed | e.AgentTurnClaimed, seq: int) -> RunState:
    call = state.calls.get(event.call_id)
    if call is None:
        return state
    call = replace(call, claim=max(seq, call.claim))
    if call.open and call.attempt == event.attempt:
        call = replace(call, worker=event.worker)
    return replace(state, calls={**state.calls, call.id: call})


_Closing = (
    e.CallCompleted | e.CallFailed | e.CallLapsed | e.CallCancelled
    | e.AgentTurnCompleted | e.AgentTurnFailed | e.ApprovalDecided | e.ApprovalExpired
)  # fmt: skip


def _closed(
    state: RunState,
    event: _Closing,
    seq: int,
    *,
    outcome: e.CallCompleted
    | e.AgentTurnCompleted
    | e.ApprovalDecided
    | e.ApprovalExpired
    | None = None,
    problem: Problem | None = None,
    lapsed: bool = False,
) -> RunState:
    """The first closing event of an attempt counts; a second is recorded and changes nothing."""
    call = state.calls.get(event.call_id)
    if call is None or call.closed_by == event.id:
        return state
    attempt = getattr(event, "attempt", call.attempt)
    guarded = replace(call, claim=max(seq, call.claim)) if call.guarded else call
    if not call.open or attempt != call.attempt:
        known = state.superseded if event.id in state.superseded else (*state.superseded, event.id)
        return replace(state, calls={**state.calls, call.id: guarded}, superseded=known)
    closed = replace(
        guarded,
        outcome=outcome,
        problem=problem,
        lapsed=lapsed,
        closed_by=event.id,
        retry_after=event.retry_after if isinstance(event, e.AgentTurnFailed) else None,
    )
    if isinstance(event, e.AgentTurnCompleted | e.AgentTurnFailed):
        state = replace(state, usage=_add(state.usage, event.usage))
    due = state.due if call.exec in state.due else (*state.due, call.exec)
    return replace(state, calls={**state.calls, call.id: closed}, due=due, updated=event.time)


def _add(total: e.TurnUsage, more: e.TurnUsage) -> e.TurnUsage:
    """Totals; a cost that is unknown once stays unknown."""
    untouched = total == e.TurnUsage()
    return e.TurnUsage(
        input_total=total.input_total + more.input_total,
        output_total=total.output_total + more.output_total,
        cache_read=total.cache_read + more.cache_read,
        cache_write=total.cache_write + more.cache_write,
        reasoning=total.reasoning + more.reasoning,
        cost=more.cost
        if untouched
        else None
        if total.cost is None or more.cost is None
        else total.cost + more.cost,
        estimated=total.estimated or more.estimated,
    )


def _timer(state: RunState, event: e.TimerSet | e.TimerFired) -> RunState:
    if isinstance(event, e.TimerSet):
        timers = {
            **state.timers,
            event.timer_id: Timer(event.timer_id, event.at, event.purpose, event.call_id),
        }
        state = replace(state, timers=timers)
        call = state.calls.get(event.call_id or "")
        if event.purpose != "retry" or call is None:
            return state
        waiting = replace(call, waits=event.timer_id)
        return replace(
            state, calls={**state.calls, call.id: waiting}, due=_drop(state.due, call.exec)
        )
    timer = state.timers.get(event.timer_id)
    if timer is None:
        return state
    state = replace(state, timers=_without(state.timers, timer.id))
    call = state.calls.get(timer.call_id or "")
    if call is None:
        return state
    if timer.purpose == "approval_deadline":
        call = replace(call, expired=True)
    elif call.waits == timer.id:
        call = replace(call, waits=None, rested=True)
    due = state.due if call.exec in state.due else (*state.due, call.exec)
    return replace(state, calls={**state.calls, call.id: call}, due=due)


def _node_ended(state: RunState, event: e.NodeCompleted | e.NodeFailed) -> RunState:
    execution = state.executions.get(event.exec)
    if execution is None or state.graph is None:
        return state
    writes = dict(state.writes)
    mark = execution.seen
    if isinstance(event, e.NodeCompleted) and (update := update_of(state, execution)):
        position = state.plan.position[execution.node]
        mark |= {execution.id}
        for key, value in update.items():
            line = list(writes.get(key, ()))
            insort(
                line, Write(execution.depth, position, 0, execution.id, value), key=lambda w: w.key
            )
            writes[key] = tuple(line)
    tokens = dict(state.tokens)
    for index in event.edges:
        target = state.graph.edges[index].to if index < len(state.graph.edges) else END
        if target != END:
            tokens[target] = (*tokens.get(target, ()), Token(execution.id, execution.depth, mark))
    gone = {id_ for id_, call in state.calls.items() if call.exec == execution.id}
    after = replace(
        state,
        writes=writes,
        tokens=tokens,
        executions=_without(state.executions, execution.id),
        calls={id_: call for id_, call in state.calls.items() if id_ not in gone}
        if gone
        else state.calls,
        timers={id_: t for id_, t in state.timers.items() if t.call_id not in gone}
        if state.timers
        else state.timers,
        due=_drop(state.due, execution.id),
        updated=event.time,
    )
    return _settle(after)


def _settle(state: RunState) -> RunState:
    """Move writes that every open path has seen into `settled`: a change of form, not of meaning.

    A write moves when all open executions and tokens descend from its author and every write of its key that comes
    before it moves too. Later executions then sort after it, so the reduction order is kept.
    """
    if not state.writes:
        return state
    marks = [execution.seen for execution in state.executions.values()]
    marks += [token.seen for waiting in state.tokens.values() for token in waiting]
    common: frozenset[str] | None = None
    for mark in marks:
        common = mark if common is None else common & mark
        if not common:
            return state
    settled, writes = dict(state.settled), dict(state.writes)
    kept: set[str] = set()
    for key, line in state.writes.items():
        count = (
            len(line)
            if common is None
            else next((i for i, w in enumerate(line) if w.exec not in common), len(line))
        )
        if count:
            settled[key] = reduced(state.reducer(key), key, settled, line[:count])
        if count < len(line):
            writes[key] = line[count:]
            kept.update(w.exec for w in line[count:])
        else:
            del writes[key]
    return _forget(replace(state, settled=settled, writes=writes), kept)


def _forget(state: RunState, kept: set[str]) -> RunState:
    """Drop from every `seen` the executions that have nothing left to settle."""
    return replace(
        state,
        executions={
            id_: x if x.seen <= kept else replace(x, seen=x.seen & kept)
            for id_, x in state.executions.items()
        },
        tokens={
            node: tuple(t if t.seen <= kept else replace(t, seen=t.seen & kept) for t in waiting)
            for node, waiting in state.tokens.items()
        },
    )


def _run_ended(
    state: RunState, event: e.RunCompleted | e.RunFailedEvent | e.RunCancelled | e.RunLimitExceeded
) -> RunState:
    if state.ended or state.graph is None:
        return state
    state = replace(state, updated=event.time, due=(), timers={}, stopping=None)
    match event:
        case e.RunCompleted():
            return replace(state, status="completed", settled=state.values, writes={})
        case e.RunFailedEvent():
            return replace(state, status="failed", error=event.error)
        case e.RunCancelled():
            problem = Problem(code="run.cancelled", message=event.reason or "no reason given")
            return replace(state, status="cancelled", error=problem)
        case e.RunLimitExceeded():
            return replace(state, status="limit_exceeded", error=event.error)
        case _:
            assert_never(event)


def _with(mapping: Mapping[K, V], key: K, value: V) -> dict[K, V]:
    return {**mapping, key: value}


def _without(mapping: Mapping[K, V], key: K) -> dict[K, V]:
    copy = dict(mapping)
    copy.pop(key, None)
    return copy


def _drop(due: tuple[str, ...], exec_id: str) -> tuple[str, ...]:
    return tuple(id_ for id_ in due if id_ != exec_id) if exec_id in due else due
