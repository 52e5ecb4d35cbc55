"""Tool calls that wait: for a person who must agree, or, if the tool runs code, for a tool that the code calls."""

from __future__ import annotations

import hashlib
import json
import re

from pydantic import JsonValue

from partsong.contracts import events as e
from partsong.contracts.errors import Problem
from partsong.contracts.plain import read_json
from partsong.contracts.state.state import Call, RunState
from partsong.contracts.talk.messages import ToolCallPart

__all__ = [
    "UNAPPROVED",
    "agrees",
    "answer_to",
    "digest_of",
    "edit_key",
    "edit_of",
    "edited",
    "made_by_code",
    "malformed",
    "nested_in",
    "question_about",
    "refusal",
    "with_edit",
]

UNAPPROVED = "tool.approval_required"
"""Code of the error of a call that was not made because nobody has agreed to it."""

_EDITED = "arguments"
_ABSENT = object()

_NESTED = re.compile(r"(.+)/n[0-9]+")


def question_about(call_id: str, attempt: int) -> str:
    """The id of the question whether a tool may be called; every attempt that needs one has its own."""
    return f"{call_id}/p{attempt}"


def edit_key(about: e.Unapproved) -> str | None:
    """The name under which a person may give a call other arguments; None if nobody may, as in doubt or in older logs."""
    if about.edit_schema is None or about.doubt is not None:
        return None
    key = _EDITED
    while key in about.args:
        key += "_"
    return key


def edit_of(about: e.Unapproved, edited: JsonValue) -> e.ArgumentsEdit | None:
    """The arguments that a person has put in the place of those it was shown; None if it has put none."""
    if edited is None:
        return None
    fields: dict[str, JsonValue]
    fields = edited if isinstance(edited, dict) else {_EDITED: edited}  # which fits no tool
    kept = tuple(key for key, value in fields.items() if about.args.get(key, _ABSENT) == value)
    return e.ArgumentsEdit(args=fields, kept=kept)


def edited(args: JsonValue, edit: e.ArgumentsEdit | None) -> JsonValue:
    """The arguments to call a tool with: what stands in an edit as it was shown is what it was before."""
    if edit is None or not isinstance(args, dict):
        return args
    return {
        key: args[key] if key in edit.kept and key in args else value
        for key, value in edit.args.items()
    }


def agrees(about: e.Unapproved, answer: JsonValue, args: JsonValue) -> bool:
    """Whether a person who was asked `about` a call, and put `answer` in the place of its arguments, agreed to `args`."""
    edit = edit_of(about, answer)
    if edit is None:
        return about.digest == digest_of(args)
    if not isinstance(args, dict) or args.keys() != edit.args.keys():
        return False
    return all(
        digest_of(args[key]) == about.hidden[key]
        if key in edit.kept and key in about.hidden
        else args[key] == value
        for key, value in edit.args.items()
    )


def with_edit(edit: e.ArgumentsEdit | None, content: JsonValue) -> JsonValue:
    """A call's result as a model is told it, which may have asked for other arguments than a person agreed to."""
    if edit is None:
        return content
    changed: JsonValue = {**edit.args}
    return {"arguments_changed_by_a_person": changed, "result": content}


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


def malformed(call: ToolCallPart) -> Problem | None:
    """Why a model's call is not made whose arguments cannot be read."""
    raw = call.malformed
    if raw is None:
        return None
    try:
        why = f"it is a {type(read_json(raw)).__name__}"
    except ValueError as error:
        why = str(error)
    return Problem(
        code="tool.malformed_arguments",
        message=f"{call.name} was not called, its arguments are not one complete JSON object ({why}); "
        f"they began {raw[:200]!r}. Call it again with one.",
        fault="provider",
    )


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
    if isinstance(answer, e.ApprovalExpired):
        return Problem(
            code="approval.expired",
            message=f"nobody agreed in time to this call of {call.name}, so it was not made",
        )
    if not isinstance(answer, e.ApprovalDecided) or answer.decision == "approve":
        return None
    return Problem(
        code="approval.rejected",
        message=f"{answer.by} did not agree to this call of {call.name}: {answer.reason or 'no reason given'}",
    )
