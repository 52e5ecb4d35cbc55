"""A model's answer: what it says as plugins have left it, and what it asks for."""

from __future__ import annotations

import json
import re

from pydantic import JsonValue

from partsong.contracts import events as e
from partsong.contracts.errors import Problem
from partsong.contracts.graph import AgentNode
from partsong.contracts.graph.nodes import HANDOFF
from partsong.contracts.state.hook_decisions import replaced
from partsong.contracts.state.scope import Execution
from partsong.contracts.state.state import Call, RunState
from partsong.contracts.talk.messages import AssistantMessage, RefusalPart, TextPart, ToolCallPart

__all__ = [
    "answer_of",
    "declined",
    "handoff_of",
    "last_answer",
    "parsed",
    "tool_calls_of",
]

_FENCED = re.compile(r"\s*```(?:json)?\s*\n(.*?)\n\s*```\s*", re.DOTALL)


def tool_calls_of(state: RunState, execution: Execution) -> tuple[ToolCallPart, ...]:
    """What the last turn's answer asks for."""
    answer = last_answer(state, execution)
    return answer.message.tool_calls if answer is not None else ()


def last_answer(state: RunState, execution: Execution) -> e.AgentTurnCompleted | None:
    """What the visit's last turn was answered; None as long as it is not."""
    turn = state.calls.get(f"{execution.id}/t{execution.turn}")
    return answer_of(state, turn) if turn is not None else None


def answer_of(state: RunState, turn: Call) -> e.AgentTurnCompleted | None:
    """What a model answered, as plugins have left it."""
    outcome = turn.outcome
    if not isinstance(outcome, e.AgentTurnCompleted):
        return None
    text = replaced(state, turn.id, "after_agent_call", None, turn.attempt)
    if not isinstance(text, str):
        return outcome
    rest = tuple(part for part in outcome.message.parts if not isinstance(part, TextPart))
    message = AssistantMessage(parts=(*((TextPart(text=text),) if text else ()), *rest))
    return outcome.model_copy(update={"message": message})


def declined(answer: e.AgentTurnCompleted) -> Problem | None:
    """Why an answer without tool calls cannot stand: `agent.refusal`, `.blocked`, `.length`, `.malformed_tool_call`."""
    if answer.stop in {"refusal", "blocked"}:
        parts = answer.message.parts
        said = "".join(part.text for part in parts if isinstance(part, TextPart | RefusalPart))
        return Problem(
            code=f"agent.{answer.stop}",
            message=f"{answer.model} declined: {said[:200]!r}",
            fault="provider",
        )
    if answer.stop in {"length", "malformed_tool_call"}:
        return Problem(
            code=f"agent.{answer.stop}",
            message=f"{answer.model} stopped with {answer.stop} after {answer.usage.output_total} tokens",
            where="max_tokens" if answer.stop == "length" else None,
            fix="raise max_tokens" if answer.stop == "length" else "try another model",
            fault="provider",
        )
    return None


def handoff_of(node: AgentNode, name: str) -> str | None:
    """The label that a tool call hands over to; None if it is no handoff."""
    label = name.removeprefix(HANDOFF)
    return label if name.startswith(HANDOFF) and label in node.agent.handoffs else None


def parsed(text: str) -> JsonValue:
    """The JSON value of an answer; a fence around it is no harm.

    Raises:
        ValueError: it is no JSON.
    """
    fenced = _FENCED.fullmatch(text)
    try:
        value: JsonValue = json.loads(fenced[1] if fenced else text)
    except RecursionError:
        raise ValueError("it is nested too deep to be read") from None
    return value
