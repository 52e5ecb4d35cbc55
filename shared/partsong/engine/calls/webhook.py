"""The webhook of a run that has ended: a tool call without a node, made until it is heard, or for a day."""

from __future__ import annotations

from pydantic import JsonValue

from partsong.contracts import events as e
from partsong.contracts.errors import Problem
from partsong.contracts.frozen import replace
from partsong.contracts.graph import Retry
from partsong.contracts.state.state import MISSING, Call, RunState
from partsong.contracts.wire.work import PLATFORM, ToolWork
from partsong.engine.calls.calls import no_outcome, retried
from partsong.engine.draft import Draft

__all__ = ["TOOL", "tell", "work"]

TOOL = "send_webhook"
_PATIENCE = Retry(attempts=12, initial=5.0, factor=4.0, max=4 * 3600.0, jitter=0.1)
"""After 5 s, 20 s, 80 s, … and every four hours: the last attempt is some 22 hours after the first."""


def tell(draft: Draft, *, just_ended: bool) -> None:
    """Ask for the call when a run has just ended, afterwards see to it that it succeeds.

    In one process nobody is there any more once the run has ended, so nobody is told.
    """
    state = draft.state
    if not state.ended or state.options.webhook is None or not draft.park:
        return
    call = next((call for call in state.calls.values() if not call.exec), None)
    if just_ended:
        _request(draft, "-".join(map(str, draft.rounds("webhook"))), 1, draft.events[-1].id)
    elif call is not None and not call.open and (call.waits is None or call.rested):
        _closed(draft, call)


def work(state: RunState, call: Call) -> ToolWork:
    """What the tool-runner is told."""
    graph = state.root.graph
    data: dict[str, JsonValue] = {
        "run_id": state.run_id,
        "status": state.status,
        "graph": graph.name,
        "graph_hash": graph.hash,
        "thread": state.options.thread,
        "labels": dict(state.options.labels),
        "started": state.started,
        "ended": state.updated,
        "state": state.values,
        "error": state.error.brief().model_dump(mode="json", exclude_none=True)
        if state.error
        else None,
    }
    payload: JsonValue = {"type": f"run.{state.status}", "timestamp": call.since, "data": data}
    return ToolWork(
        run_id=state.run_id,
        call_id=call.id,
        node="webhook",
        attempt=call.attempt,
        tool=TOOL,
        args={"url": state.options.webhook, "payload": payload},
        sources={TOOL: PLATFORM},
    )


def _closed(draft: Draft, call: Call) -> None:
    if isinstance(call.outcome, e.CallCompleted):
        _notified(draft, call, None)
        return
    problem = call.problem or no_outcome(call)
    if problem.code in MISSING:
        call = replace(call, problem=problem.model_copy(update={"retryable": True}))
    match retried(draft, call, _PATIENCE, park=False):
        case "now":
            _request(draft, call.id, call.attempt + 1, call.closed_by or "")
        case "never":
            _notified(draft, call, problem)
        case "later":
            pass


def _request(draft: Draft, call_id: str, attempt: int, cause: str) -> None:
    draft.add(
        e.CallRequested(
            id=draft.id(call_id, attempt, "requested"),
            time=draft.now,
            cause=cause,
            call_id=call_id,
            exec="",
            kind="tool",
            name=TOOL,
            attempt=attempt,
        )
    )


def _notified(draft: Draft, call: Call, error: Problem | None) -> None:
    draft.add(
        e.RunNotified(
            id=draft.id(call.id, "notified"),
            time=draft.now,
            cause=call.closed_by or "",
            call_id=call.id,
            attempts=call.attempt,
            error=error,
        )
    )
