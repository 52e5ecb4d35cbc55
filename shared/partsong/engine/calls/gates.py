"""Gates: before something happens, or its result counts, a run's plugins are asked, and what they decided holds.

A run without plugins for a point passes at once, and its log has not one event more. What was decided is in the log
before anything follows from it, so whoever replays the run asks nobody.
"""

from __future__ import annotations

from typing import Literal

from partsong.contracts import events as e
from partsong.contracts.errors import Problem
from partsong.contracts.graph import Retry
from partsong.contracts.state.hook_decisions import consent_id, decided, forbidden
from partsong.contracts.state.scope import Execution
from partsong.contracts.state.state import Call
from partsong.contracts.talk.hooks import HookPoint, RequireApproval, hook_id
from partsong.contracts.talk.hooks import Retry as Again
from partsong.engine.calls.calls import ask_person, request_call, retried
from partsong.engine.draft import Draft

__all__ = ["passes", "wants_again"]

_RETRY = Retry(attempts=5, initial=0.5, factor=2.0, max=10.0, jitter=0.1)
"""Only for what keeps plugins from being asked at all; what a plugin does wrong is its own decision."""


def passes(
    draft: Draft,
    execution: Execution | None,
    subject: str,
    point: HookPoint,
    cause: str,
    *,
    attempt: int = 1,
    about: Problem | None = None,
) -> Literal["yes", "wait"] | Problem:
    """Whether plugins, and the person they may have asked, let something happen; a problem if not.

    `execution` is None for the run itself, `about` the error that `on_error` is about. What a plugin puts in the place of a value is read by `hooked.replaced`.
    """
    if not any(point in plugin.points for plugin in draft.state.plugins):
        return "yes"
    if not _asked(draft, execution, subject, point, cause, attempt, about):
        return "wait"
    problem = forbidden(draft.state, subject, point, attempt)
    if problem is not None:
        return problem
    outcome = decided(draft.state, subject, point, attempt)
    if isinstance(outcome, RequireApproval) and execution is not None:
        return _agreed(draft, execution, subject, point, outcome)
    if outcome is None:
        call = draft.state.calls[hook_id(subject, point, attempt)]
        return call.problem or Problem(
            code="hook.no_outcome", message=f"{call.id} was closed without a decision"
        )
    return "yes"


def wants_again(draft: Draft, subject: str, point: HookPoint, attempt: int = 1) -> bool:
    """Whether a plugin wants that done once more."""
    return isinstance(decided(draft.state, subject, point, attempt), Again)


def _asked(
    draft: Draft,
    execution: Execution | None,
    subject: str,
    point: HookPoint,
    cause: str,
    attempt: int,
    about: Problem | None,
) -> bool:
    """Whether the plugins have answered, or never will; asks them if nobody has."""
    call_id = hook_id(subject, point, attempt)
    call = draft.state.calls.get(call_id)
    if call is None:
        _ask(draft, execution, call_id, point, 1, cause, about)
        return False
    if call.open or call.given_up:
        return False
    if isinstance(call.outcome, e.HookDecided):
        return True
    match retried(draft, call, _RETRY):
        case "now":
            _ask(draft, execution, call_id, point, call.attempt + 1, call.closed_by or "", about)
            return False
        case "later":
            return False
        case "never":
            return True


def _ask(
    draft: Draft,
    execution: Execution | None,
    call_id: str,
    point: HookPoint,
    attempt: int,
    cause: str,
    about: Problem | None,
) -> None:
    if execution is not None:
        request_call(draft, execution, call_id, "hook", point, attempt, cause, about=about)
        return
    draft.add(
        e.CallRequested(
            id=draft.id(*draft.rounds(call_id, attempt, "requested")),
            time=draft.now,
            cause=cause,
            call_id=call_id,
            exec="",
            kind="hook",
            name=point,
            attempt=attempt,
        )
    )


def _agreed(
    draft: Draft, execution: Execution, subject: str, point: HookPoint, wish: RequireApproval
) -> Literal["yes", "wait"]:
    """Whether a person has agreed; asks one if nobody has."""
    asked = consent_id(subject, point)
    question: Call | None = draft.state.calls.get(asked)
    if question is not None:
        return "wait" if question.open or question.given_up else "yes"
    hook = draft.state.calls[hook_id(subject, point)]
    title = f"{point.replace('_', ' ').capitalize()}: {subject}"
    ask_person(draft, execution, asked, hook.closed_by or "", title=title, detail=wish.reason)
    return "wait"
