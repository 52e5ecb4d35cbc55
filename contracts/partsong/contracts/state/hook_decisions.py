"""What hooks have decided in a run: read back wherever it matters, and never asked again."""

from __future__ import annotations

from pydantic import JsonValue

from partsong.contracts import events as e
from partsong.contracts.errors import Problem
from partsong.contracts.state.state import Call, RunState
from partsong.contracts.talk.hooks import (
    HookOutcome,
    HookPoint,
    Replace,
    RequireApproval,
    Veto,
    hook_id,
)

__all__ = [
    "consent_id",
    "decided",
    "error_left",
    "forbidden",
    "question_left",
    "replaced",
    "replacement",
]


def decided(
    state: RunState, subject: str, point: HookPoint, attempt: int = 1
) -> HookOutcome | None:
    """What was decided at a point; None if nobody was asked, or has not answered."""
    call = state.calls.get(hook_id(subject, point, attempt))
    outcome = call.outcome if call is not None else None
    return outcome.outcome if isinstance(outcome, e.HookDecided) else None


def replaced(
    state: RunState, subject: str, point: HookPoint, value: JsonValue, attempt: int = 1
) -> JsonValue:
    """A value, or what a plugin has put in its place."""
    fresh = replacement(decided(state, subject, point, attempt))
    return fresh.value if fresh is not None else value


def replacement(outcome: HookOutcome | None) -> Replace | None:
    """What an outcome puts in the place of a value, be it that a person has to agree."""
    if isinstance(outcome, RequireApproval):
        return outcome.then
    return outcome if isinstance(outcome, Replace) else None


def question_left(state: RunState, subject: str, title: str, detail: str) -> tuple[str, str]:
    """A question's title and detail, as plugins have left them."""
    fresh = replaced(state, subject, "on_approval", None)
    if not isinstance(fresh, dict):
        return title, detail
    return str(fresh.get("title", title)), str(fresh.get("detail", detail))


def error_left(state: RunState, subject: str, problem: Problem) -> Problem:
    """An error as plugins have left it."""
    fresh = replaced(state, subject, "on_error", None)
    return problem if fresh is None else Problem.model_validate(fresh)


def consent_id(subject: str, point: HookPoint) -> str:
    """The id of the question that a plugin wants a person to answer."""
    return f"{hook_id(subject, point)}/p"


def forbidden(state: RunState, subject: str, point: HookPoint, attempt: int = 1) -> Problem | None:
    """Why a plugin, or the person it asked, does not let something happen; None if nobody objects, or has not yet."""
    outcome = decided(state, subject, point, attempt)
    if isinstance(outcome, Veto):
        return Problem(code="hook.vetoed", message=f"{point}: {outcome.reason}", fault="caller")
    if not isinstance(outcome, RequireApproval):
        return None
    question = state.calls.get(consent_id(subject, point))
    answer = question.outcome if isinstance(question, Call) else None
    if isinstance(answer, e.ApprovalDecided) and answer.decision != "approve":
        said = answer.reason or "no reason given"
        return Problem(code="approval.rejected", message=f"{answer.by} did not agree: {said}")
    return None
