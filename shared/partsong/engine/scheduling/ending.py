"""How things end: calls nobody needs any more, and the run itself, which undoes what it can before it fails."""

from __future__ import annotations

from collections.abc import Iterable
from typing import assert_never

from partsong.contracts import events as e
from partsong.contracts.errors import Problem
from partsong.contracts.graph import Retry
from partsong.contracts.state.scope import scope_of
from partsong.contracts.state.state import Call, RunState, Stopping, Undo
from partsong.engine.calls.calls import no_outcome, retried
from partsong.engine.calls.gates import passes
from partsong.engine.draft import Draft

__all__ = ["UNDO_RETRY", "end", "quiesce"]

UNDO_RETRY = Retry(attempts=5, initial=1.0, factor=2.0, max=60.0, jitter=0.2)
"""Compensations, unless their node says otherwise: giving up early leaves a mess behind."""


def quiesce(draft: Draft, exec_ids: Iterable[str], reason: str) -> bool:
    """Close the open guarded calls of executions and of all inside them; whether none was open."""
    quiet = True
    for exec_id in exec_ids:
        for call in draft.state.calls.values():
            inside = call.exec == exec_id or call.exec.startswith(f"{exec_id}/")
            if inside and call.open and call.guarded:
                _cancel(draft, call, reason)
                quiet = False
    return quiet


def _cancel(draft: Draft, call: Call, reason: str | None) -> None:
    id_ = draft.id(call.id, call.attempt, "cancelled")
    cancelled = e.CallCancelled(
        id=id_, time=draft.now, call_id=call.id, attempt=call.attempt, reason=reason
    )
    draft.close(call.id, cancelled)


def end(draft: Draft) -> None:
    """End the run, once its guarded calls are closed and what can be undone is undone."""
    stopping = draft.state.stopping
    assert stopping is not None  # noqa: S101
    reason = stopping.reason or (stopping.error.message if stopping.error else None)
    for call in draft.state.calls.values():
        if call.open and call.guarded:
            _cancel(draft, call, reason)
    if draft.closings:
        return
    if stopping.outcome in {"failed", "cancelled"} and not _undone(draft):
        return
    cause, attempt = draft.id(*draft.rounds("stopping")), draft.state.round + 1
    if passes(draft, None, "", "after_run", cause, attempt=attempt) == "wait":
        return
    _last_event(draft, stopping, reason)


def _undone(draft: Draft) -> bool:
    """Undo completed executions, the newest first; whether all are."""
    while draft.state.undo:
        undo = draft.state.undo[-1]
        call = draft.state.calls.get(f"{undo.exec}/undo")
        if call is None:
            _request(draft, undo, 1, draft.id("stopping"))
            return False
        if call.open or (call.waits is not None and not call.rested):
            return False
        if isinstance(call.outcome, e.CallCompleted):
            _compensated(draft, undo, call, None)
            continue
        match retried(draft, call, _policy(draft.state, undo)):
            case "now":
                _request(draft, undo, call.attempt + 1, call.closed_by or "")
                return False
            case "later":
                return False
            case "never":
                _compensated(draft, undo, call, call.problem or no_outcome(call))
    return True


def _policy(state: RunState, undo: Undo) -> Retry:
    scope = state.scopes.get(scope_of(undo.exec))
    name = undo.exec.rpartition("/")[2].rpartition(":")[0]
    node = scope.graph.nodes.get(name) if scope is not None else None
    return (node.retry if node is not None else None) or UNDO_RETRY


def _request(draft: Draft, undo: Undo, attempt: int, cause: str) -> None:
    call_id = f"{undo.exec}/undo"
    draft.add(
        e.CallRequested(
            id=draft.id(call_id, attempt, "requested"),
            time=draft.now,
            cause=cause,
            call_id=call_id,
            exec=undo.exec,
            kind="function",
            name=undo.function,
            attempt=attempt,
        )
    )


def _compensated(draft: Draft, undo: Undo, call: Call, error: Problem | None) -> None:
    draft.add(
        e.NodeCompensated(
            id=draft.id(undo.exec, "compensated"),
            time=draft.now,
            cause=call.closed_by or "",
            exec=undo.exec,
            error=error,
        )
    )


def _last_event(draft: Draft, stopping: Stopping, reason: str | None) -> None:
    error = stopping.error or Problem(
        code=f"run.{stopping.outcome}", message=reason or "no reason given"
    )
    now, cause, last = draft.now, draft.id(*draft.rounds("stopping")), stopping.outcome
    id_ = draft.id(*draft.rounds(last))
    match last:
        case "failed":
            draft.add(e.RunFailedEvent(id=id_, error=error, time=now, cause=cause))
        case "cancelled":
            draft.add(e.RunCancelled(id=id_, reason=stopping.reason, time=now, cause=cause))
        case "limit_exceeded":
            draft.add(e.RunLimitExceeded(id=id_, error=error, time=now, cause=cause))
        case _:
            assert_never(last)
