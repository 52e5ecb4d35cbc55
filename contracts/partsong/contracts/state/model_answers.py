"""A model's answer: what it says as plugins have left it, and what it asks for."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import cast

from pydantic import JsonValue

from partsong.contracts import events as e
from partsong.contracts.errors import Problem
from partsong.contracts.graph import AgentNode
from partsong.contracts.graph.nodes import HANDOFF
from partsong.contracts.plain import read_json
from partsong.contracts.state.hook_decisions import replaced
from partsong.contracts.state.scope import Execution
from partsong.contracts.state.state import Call, RunState
from partsong.contracts.talk.messages import AssistantMessage, RefusalPart, TextPart, ToolCallPart

__all__ = [
    "answer_of",
    "declined",
    "handed_by",
    "handoff_of",
    "last_answer",
    "next_model",
    "parsed",
    "tool_calls_of",
    "value_of",
]

_FENCE = "```"


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


def handed_by(node: AgentNode, calls: Iterable[ToolCallPart]) -> ToolCallPart | None:
    """The first call that hands over, if one does; one with arguments that cannot be read does not."""
    return next(
        (call for call in calls if call.malformed is None and handoff_of(node, call.name)), None
    )


_FINAL = frozenset({"provider.cancelled", "provider.tool_call_cut"})
"""Failures that no other model would mend."""

_KEYS = {"openai-chat": "openai"}
"""Providers that use another one's key and address."""


def next_model(models: Sequence[str], failed: str, problem: Problem) -> str | None:
    """The model that may do better than the one that failed: the next of the list; None if no other can.

    A key that was refused is shown to nobody again: models that would be asked with the same one are passed over.
    """
    code = problem.code
    if not code.startswith(("provider.", "agent.empty")) or code in _FINAL:
        return None
    rest = models[models.index(failed) + 1 :] if failed in models else models
    if code == "provider.auth":
        return next((model for model in rest if _key(model) != _key(failed)), None)
    return next(iter(rest), None)


def _key(model: str) -> str:
    provider = model.partition(":")[0]
    return _KEYS.get(provider, provider)


def handoff_of(node: AgentNode, name: str) -> str | None:
    """The label that a tool call hands over to; None if it is no handoff."""
    label = name.removeprefix(HANDOFF)
    return label if name.startswith(HANDOFF) and label in node.agent.handoffs else None


def parsed(text: str) -> JsonValue:
    """The JSON value of an answer, which everybody reads the same; a fence around it is no harm.

    Raises:
        ValueError: it is none.
    """
    return cast("JsonValue", read_json(_unfenced(text)))


def value_of(text: str) -> JsonValue:
    """The JSON value of an answer that was accepted, also by an engine that looked less closely."""
    return cast("JsonValue", json.loads(_unfenced(text)))


def _unfenced(text: str) -> str:
    said = text.strip()
    if not (said.startswith(_FENCE) and said.endswith(_FENCE)):
        return text
    head, line, inner = said.partition("\n")
    if not line or head.removeprefix(_FENCE).strip() not in {"", "json"}:
        return text
    return inner.removesuffix(_FENCE)
