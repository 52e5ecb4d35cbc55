"""Calls: when one is made, made again, or given up."""

from __future__ import annotations

import zlib
from datetime import UTC, datetime, timedelta
from typing import Literal

from pydantic import JsonValue

from partsong.contracts import events as e
from partsong.contracts.errors import Problem
from partsong.contracts.events import Parent
from partsong.contracts.graph import Retry
from partsong.contracts.state.state import MISSING, Call, Execution
from partsong.contracts.wire.work import child_of
from partsong.engine.draft import Draft

__all__ = [
    "AGENT_RETRY",
    "LATEST",
    "NO_RETRY",
    "ask_person",
    "expire",
    "later",
    "no_outcome",
    "request_call",
    "retried",
]

NO_RETRY = Retry(attempts=1)
"""Functions and tools: whoever wants them called again says so."""
_LIVES = 3
"""Workers that may die of such a call, which nobody knows to be the reason: a machine may have died, too."""
_MOST_LAPSES = 20
"""Workers that are stopped while they make one call, after which it is not given to another one."""
AGENT_RETRY = Retry(attempts=5, initial=1.0, factor=2.0, max=60.0, jitter=0.2)
"""Agent turns: providers fail often and briefly."""

_PARKED = Retry(attempts=1, initial=2.0, factor=2.0, max=60.0, jitter=0.1)
"""How often a call is offered again that no worker could make, unless one comes before."""
LATEST = datetime(2262, 1, 1, tzinfo=UTC)
"""The server counts nanoseconds since 1970 in 64 bits: a timer that is set for later fires at once."""
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
    edit: e.ArgumentsEdit | None = None,
    about: Problem | None = None,
) -> None:
    """Ask for a function, tool or hook to be called, or for a run of its own.

    `approved` is who has agreed to it, with which other arguments says `edit`, `about` is the error that plugins are
    asked about.
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
            edit=edit,
            about=about and about.brief(),
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
    editable: str | None = None,
    edit_schema: dict[str, JsonValue] | None = None,
    deadline: float | None = None,
    otherwise: Literal["approve", "reject"] = "reject",
) -> None:
    """Ask somebody whether something may be done; `about` tells the event apart.

    After `deadline` seconds the question expires, and `otherwise` holds.
    """
    until = later(draft.now, deadline) if deadline else None
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
            editable=editable,
            edit_schema=edit_schema,
            deadline=until,
            otherwise=otherwise,
        )
    )
    if until:
        timer_id = f"{call_id}/deadline"
        draft.add(
            e.TimerSet(
                id=draft.id(timer_id, "set"),
                time=draft.now,
                cause=cause,
                timer_id=timer_id,
                at=until,
                purpose="approval_deadline",
                call_id=call_id,
            )
        )


def expire(draft: Draft, question: Call) -> None:
    """Close a question whose deadline has passed; not yet if it has not."""
    if question.expired:
        id_ = draft.id(question.id, "expired")
        draft.close(question.id, e.ApprovalExpired(id=id_, time=draft.now, call_id=question.id))


def retried(
    draft: Draft, call: Call, policy: Retry, *, park: bool = True
) -> Literal["now", "later", "never"]:
    """What becomes of a failed call; `later` has set a durable timer.

    Without `park`, what no worker has is only hoped for as long as the policy says.
    """
    problem = call.problem
    if call.rested or call.again:
        return "now"
    if call.lapsed:
        return "now" if _survived(call, policy) else "never"
    if problem is None:
        return "never"
    if problem.code in MISSING and draft.park and park:
        policy, attempt = _PARKED, call.parked + 1
    else:
        attempt = call.charged
        if attempt >= policy.attempts or not policy.worth(problem):
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


def _survived(call: Call, policy: Retry) -> bool:
    """Whether a call whose worker is gone is given to another one."""
    lives = _LIVES if policy is NO_RETRY else policy.attempts
    return call.may_repeat and call.lapses < _MOST_LAPSES and (call.stopped or call.charged < lives)


def no_outcome(call: Call) -> Problem:
    """The error of a call that ended without saying how."""
    if call.lapsed and call.may_repeat:
        gone = call.lapses + 1
        return Problem(
            code="call.worker_died",
            message=f"{call.name} was begun by {gone} workers one after the other, and each was gone before it ended"
            if gone > 1
            else f"the worker of {call.name} was gone before it ended",
            where=call.worker,
            fix="see what ended them (out of memory, a crash of native code, os._exit, code that holds the interpreter until "
            "its worker is replaced); `retry.attempts` says how many workers a call may cost",
            fault="tool",
        )
    return Problem(
        code="call.no_outcome", message=f"{call.id} was closed without a result", fault="platform"
    )


def _backoff(run_id: str, call: Call, policy: Retry, attempt: int) -> float:
    """Exponential, with jitter drawn from the call's id: every decider draws the same."""
    try:
        base = min(policy.max, policy.initial * policy.factor ** min(attempt - 1, 64))
    except OverflowError:
        base = policy.max
    share = zlib.crc32(f"{run_id}.{call.id}.{call.attempt}".encode()) / 0xFFFFFFFF
    return base * (1 + policy.jitter * (2 * share - 1))


def later(now: str, seconds: float) -> str:
    """`now` plus some seconds, as events carry times; never later than a timer can wait for."""
    moment = datetime.fromisoformat(now)
    try:
        moment = min(moment + timedelta(seconds=seconds), LATEST)
    except OverflowError:
        moment = LATEST
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
