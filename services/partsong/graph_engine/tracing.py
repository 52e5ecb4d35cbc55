"""Spans of what outlives a process: runs, executions and approvals, recorded by the engine that sees them end."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from partsong.contracts import events as e
from partsong.contracts.state.state import Execution, RunState
from partsong.runtime.telemetry import spans
from partsong.runtime.telemetry.telemetry import Telemetry, traceparent

__all__ = ["trace_commit"]


def trace_commit(
    telemetry: Telemetry, before: RunState, after: RunState, events: Iterable[e.Event]
) -> None:
    """Record the spans that end with a commit; their starts are in the state before it."""
    if not telemetry.recording:
        return
    for event in events:
        match event:
            case e.NodeCompleted() | e.NodeFailed():
                if execution := before.execution(event.exec):
                    _node(telemetry, before, execution, event)
            case e.RunCompleted() | e.RunFailedEvent() | e.RunCancelled() | e.RunLimitExceeded():
                _run(telemetry, after, event.time)
            case _:
                pass


def _run(telemetry: Telemetry, state: RunState, end: str) -> None:
    telemetry.record(
        spans.run(state.graph.name if state.graph else "", state.run_id, status=state.status),
        at=traceparent(state.run_id),
        start=datetime.fromisoformat(state.started),
        end=datetime.fromisoformat(end),
        problem=state.error,
    )


def _node(
    telemetry: Telemetry,
    state: RunState,
    execution: Execution,
    event: e.NodeCompleted | e.NodeFailed,
) -> None:
    at, end = traceparent(state.run_id, execution.id), datetime.fromisoformat(event.time)
    kind = state.node(execution).type
    telemetry.record(
        spans.node(execution.node, state.run_id, execution.id, kind=kind),
        at=at,
        parent=traceparent(state.run_id),
        start=datetime.fromisoformat(execution.since),
        end=end,
        problem=event.error if isinstance(event, e.NodeFailed) else None,
    )
    call = state.calls.get(execution.id)
    if call is not None and call.kind == "approval":
        decided = (
            call.outcome.decision if isinstance(call.outcome, e.ApprovalDecided) else "expired"
        )
        telemetry.record(
            spans.approval(call.name, state.run_id, call.id, decision=decided),
            at=traceparent(state.run_id, call.id, "approval"),
            parent=at,
            start=datetime.fromisoformat(call.since),
            end=end,
        )
