"""Wait and transform nodes: what the engine does itself."""

from __future__ import annotations

from datetime import datetime

from partsong.contracts import events as e
from partsong.contracts.durations import format_duration
from partsong.contracts.errors import InvalidInput, Problem
from partsong.contracts.graph import TransformNode, WaitNode
from partsong.contracts.graph.expressions import compute
from partsong.contracts.graph.templates import render, render_value
from partsong.contracts.state.scope import Execution
from partsong.contracts.state.state import line_of
from partsong.contracts.wire.requests import LONGEST_KEY
from partsong.engine.calls.calls import later
from partsong.engine.draft import Draft
from partsong.engine.scheduling import flow

__all__ = ["transform", "wait"]


def transform(draft: Draft, execution: Execution, node: TransformNode) -> None:
    """Compute the keys, all from the state before."""
    view = draft.state.view(execution)
    cause = draft.id(execution.id, "scheduled")
    try:
        computed = {
            key: compute(expression, view, evaluate=draft.evaluate)
            for key, expression in node.set.items()
        }
    except InvalidInput as error:
        flow.fail(draft, execution, error.problem, cause)
        return
    flow.complete(draft, execution, None, cause, computed=computed)


def wait(draft: Draft, execution: Execution, node: WaitNode) -> None:
    """Set the timer, take the signal, or end because the time has come."""
    timer_id = _timer_id(execution)
    if node.signal is not None:
        try:
            key = _key(draft, execution, node)
        except InvalidInput as error:
            flow.fail(draft, execution, error.problem, draft.id(execution.id, "scheduled"))
            return
        line = draft.state.signals.get(line_of(node.signal, key), ())
        if line:
            flow.complete(draft, execution, None, line[0].id, signal=line[0].id, key=key)
            return
        if node.deadline is None:
            return
    if timer_id in draft.state.timers:
        return
    if execution.timer == timer_id:
        _time_has_come(draft, execution, node)
        return
    try:
        at = _until(draft, execution, node)
    except InvalidInput as error:
        flow.fail(draft, execution, error.problem, draft.id(execution.id, "scheduled"))
        return
    draft.add(
        e.TimerSet(
            id=draft.id(timer_id, "set"),
            time=draft.now,
            cause=draft.id(execution.id, "scheduled"),
            timer_id=timer_id,
            at=at,
            purpose="wait" if node.signal is None else "signal_deadline",
            exec=execution.id,
        )
    )


def _key(draft: Draft, execution: Execution, node: WaitNode) -> str | None:
    """The key of the signal that this execution waits for, as text."""
    if node.key is None:
        return None
    view = draft.state.view(execution)
    try:
        if "{{" in node.key:
            found = render_value(node.key, view)
        else:
            found = compute(node.key, view, evaluate=draft.evaluate)
    except InvalidInput as error:
        where = f"nodes.{execution.node}.key"
        raise InvalidInput.of(error.problem.model_copy(update={"where": where})) from None
    if isinstance(found, float) and found.is_integer():
        found = int(found)
    text = str(found) if isinstance(found, str | int) and not isinstance(found, bool) else ""
    if not 0 < len(text) <= LONGEST_KEY:
        raise InvalidInput(
            "wait.bad_key",
            f"key gives {found!r:.60}, which is no text of 1 to {LONGEST_KEY} characters, and no whole number",
            where=f"nodes.{execution.node}.key",
            fix="name a key of the state that tells one wait from the other, like an order's number",
        )
    return text


def _timer_id(execution: Execution) -> str:
    return f"{execution.id}/w{execution.round}"


def _until(draft: Draft, execution: Execution, node: WaitNode) -> str:
    seconds = node.seconds if node.signal is None else node.deadline
    if seconds is not None:
        return later(draft.now, seconds)
    text = render(node.until or "", draft.state.view(execution)).strip()
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        moment = None
    if moment is None or moment.tzinfo is None:
        raise InvalidInput(
            "wait.not_a_time",
            f"until gives {text!r:.60}, which is no time with an offset",
            where=f"nodes.{execution.node}.until",
            fix="give RFC 3339, for example 2026-07-01T09:00:00Z",
        )
    return later(text, 0)


def _time_has_come(draft: Draft, execution: Execution, node: WaitNode) -> None:
    cause = draft.id(_timer_id(execution), "fired")
    if node.signal is None:
        flow.complete(draft, execution, None, cause)
    elif "timeout" in draft.state.scope(execution).plan.labels[execution.node]:
        flow.complete(draft, execution, "timeout", cause)
    else:
        problem = Problem(
            code="wait.timeout",
            message=f"no signal {node.signal!r} came within {format_duration(node.deadline or 0)}",
            where=f"nodes.{execution.node}.deadline",
            fix="add an edge for the outcome timeout, or a longer deadline",
        )
        flow.fail(draft, execution, problem, cause)
