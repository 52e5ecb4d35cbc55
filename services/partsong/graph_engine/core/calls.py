"""Calls: when one is made, made again, or given up."""

from __future__ import annotations

import zlib
from datetime import datetime, timedelta
from typing import Literal

from pydantic import JsonValue

from partsong.contracts import events as e
from partsong.contracts.errors import Problem
from partsong.contracts.graph import Retry
from partsong.contracts.run_events import Parent
from partsong.contracts.state import MISSING, Call, Execution
from partsong.contracts.work import child_of
from partsong.graph_engine.core.draft import Draft

__all__ = [
    "AGENT_RETRY",
    "NO_RETRY",
    "ask_person",
    "later",
    "no_outcome",
    "request_call",
    "retried",
]

NO_RETRY = Retry(attempts=1)
"""Functions and tools: whoever wants them called again says so."""
AGENT_RETRY = Retry(attempts=5, initial=1.0, factor=2.0, max=60.0, jitter=0.2)
"""Agent turns: providers fail often and briefly."""

_PARKED = Retry(attempts=1, initial=2.0, factor=2.0, max=60.0, jitter=0.1)
"""How often a call is offered again that no worker could make, unless one comes before."""
_LONGEST_WAIT = 24 * 3600.0
"""No provider's hint keeps a run waiting for longer than this many seconds."""


def request_call(
    draft: Draft,
    execution: Execution,
    call_id: str,
    kind: e.CallKind,
    name: str,
    attempt: int,
    cause: str,
    *,
    approved: str | None = None,
    about: Problem | None = None,
) -> None:
    """Ask for a function, tool or hook to be called, or for a run of its own.

    `approved` is who has agreed to it, `about` the error that plugins are asked about.
    """
    own = Parent(run_id=draft.state.run_id, call_id=call_id, attempt=attempt)
    draft.add(
        e.CallRequested(
            id=draft.id(call_id, attempt, "requested"),
            time=draft.now,
            cause=cause,
            call_id=call_id,
            exec=execution.id,
            kind=kind,
            name=name,
            attempt=attempt,
            child=child_of(own) if kind == "run" else None,
            approved=approved,
            about=about,
        )
    )


def ask_person(
    draft: Draft,
    execution: Execution,
    call_id: str,
    cause: str,
    *,
    title: str,
    detail: str,
    context: dict[str, JsonValue] | None = None,
    about: str = "requested",
) -> None:
    """Ask somebody whether something may be done; `about` tells the event apart."""
    draft.add(
        e.ApprovalRequested(
            id=draft.id(call_id, about),
            time=draft.now,
            cause=cause,
            call_id=call_id,
            exec=execution.id,
            title=title,
            detail=detail,
            context=context or {},
        )
    )


def retried(
    draft: Draft, call: Call, policy: Retry, *, park: bool = True
) -> Literal["now", "later", "never"]:
    """What becomes of a failed call; `later` has set a durable timer.

    Without `park`, what no worker has is only hoped for as long as the policy says.
    """
    problem = call.problem
    if call.rested or call.again:
        return "now"
    if problem is None:
        return "never"
    if problem.code in MISSING and draft.park and park:
        policy, attempt = _PARKED, call.parked + 1
    else:
        attempt = call.charged
        if attempt >= policy.attempts or not _worth(problem, policy):
            return "never"
    wait = max(
        _backoff(draft.state.run_id, call, policy, attempt),
        min(call.retry_after or 0.0, _LONGEST_WAIT),
    )
    if wait <= 0:
        return "now"
    timer_id = f"{call.id}/r{call.attempt}"
    draft.add(
        e.TimerSet(
            id=draft.id(timer_id, "set"),
            time=draft.now,
            cause=call.closed_by or "",
            timer_id=timer_id,
            at=later(draft.now, wait),
            purpose="retry",
            call_id=call.id,
            reason=problem.code,
        )
    )
    return "later"


def no_outcome(call: Call) -> Problem:
    """The error of a call that ended without saying how."""
    return Problem(
        code="call.no_outcome", message=f"{call.id} was closed without a result", fault="platform"
    )


def _worth(problem: Problem, policy: Retry) -> bool:
    if policy.retry_on:
        return any(problem.code.startswith(prefix) for prefix in policy.retry_on)
    return problem.retryable


def _backoff(run_id: str, call: Call, policy: Retry, attempt: int) -> float:
    """Exponential, with jitter drawn from the call's id: every decider draws the same."""
    base = min(policy.max, policy.initial * policy.factor ** min(attempt - 1, 64))
    share = zlib.crc32(f"{run_id}.{call.id}.{call.attempt}".encode()) / 0xFFFFFFFF
    return base * (1 + policy.jitter * (2 * share - 1))


_NEVER = "9999-12-31T23:59:59.999Z"


def later(now: str, seconds: float) -> str:
    """`now` plus some seconds, as events carry times; what lies behind the calendar's end is at its end."""
    try:
        moment = datetime.fromisoformat(now) + timedelta(seconds=seconds)
    except OverflowError:
        return _NEVER
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
