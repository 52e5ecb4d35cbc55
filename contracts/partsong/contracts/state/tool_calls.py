"""Tool calls that wait: for a person who must agree, or, if the tool runs code, for a tool that the code calls."""

from __future__ import annotations

import hashlib
import json
import re

from pydantic import JsonValue

from partsong.contracts import events as e
from partsong.contracts.errors import Problem
from partsong.contracts.state.state import Call, RunState

__all__ = [
    "UNAPPROVED",
    "answer_to",
    "digest_of",
    "made_by_code",
    "nested_in",
    "question_about",
    "refusal",
]

UNAPPROVED = "tool.approval_required"
"""Code of the error of a call that was not made because nobody has agreed to it."""

_NESTED = re.compile(r"(.+)/n[0-9]+")


def question_about(call_id: str, attempt: int) -> str:
    """The id of the question whether a tool may be called; every attempt that needs one has its own."""
    return f"{call_id}/p{attempt}"


def answer_to(paused: e.CallSuspended) -> str:
    """The id of the call that code waits for."""
    return f"{paused.call_id}/n{paused.attempt}"


def nested_in(call_id: str) -> str | None:
    """The call whose code makes this one; None if no code does."""
    found = _NESTED.fullmatch(call_id)
    return found[1] if found else None


def made_by_code(state: RunState, turn: str, calls: int) -> int:
    """How many tool calls the code of a turn's tool calls has made."""
    outer = (f"{turn}/c{index}" for index in range(calls))
    attempts = ((id_, state.calls[id_].attempt) for id_ in outer if id_ in state.calls)
    return sum(f"{id_}/n{n}" in state.calls for id_, last in attempts for n in range(1, last + 1))


def digest_of(args: JsonValue) -> str:
    """The same for the same arguments."""
    text = json.dumps(args, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return f"sha256:{hashlib.sha256(text.encode()).hexdigest()}"


def refusal(state: RunState, call: Call) -> Problem | None:
    """Why a tool was not called, if a person has refused it."""
    if call.unapproved is None:
        return None
    question = state.calls.get(question_about(call.id, call.attempt))
    answer = question.outcome if question is not None else None
    if not isinstance(answer, e.ApprovalDecided) or answer.decision == "approve":
        return None
    return Problem(
        code="approval.rejected",
        message=f"{answer.by} did not agree to this call of {call.name}: {answer.reason or 'no reason given'}",
    )
