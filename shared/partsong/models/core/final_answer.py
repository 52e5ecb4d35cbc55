"""Structured output by a tool: for providers that keep no model to a schema, or not together with other tools.

The model is offered a tool with the schema of the answer, and told to call it. Nobody else needs to know: its arguments
are shown while they come as the text they stand for, and the turn ends with that text as its answer. A model that
answers in words all the same is read like any other.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from pydantic import JsonValue

from partsong.contracts.graph import AgentSpec, OutputMode
from partsong.contracts.graph.nodes import ANSWER
from partsong.contracts.state.model_answers import parsed
from partsong.contracts.talk.chunks import Chunk, End, Text, ToolArgs, ToolEnd, ToolStart
from partsong.contracts.talk.messages import AssistantMessage, TextPart, ToolCallPart, ToolSpec
from partsong.models.core.assemble import Turn

__all__ = ["Asked", "Lens", "answered", "asked", "unwrapped"]

_ORDER = (
    f"When you have the answer, give it by calling {ANSWER}, once, with everything in it. "
    "Do not write it as text."
)
_VALUE = "value"
_SHARED = frozenset({"$defs", "definitions", "$schema"})
"""What stands at the top of a schema and is referred to from there."""
_TOLD = "Gives the final answer, which ends the task."


@dataclass(frozen=True, slots=True)
class Asked:
    """How a model is asked for an agent's answer."""

    instructions: str
    tools: tuple[ToolSpec, ...]
    """Those it is offered beside the agent's own."""
    schema: Mapping[str, JsonValue] | None
    """What its provider is to keep it to."""
    wrapped: bool = False
    """The answer is asked for in an object, for vendors take schemas of objects alone."""


def asked(agent: AgentSpec, *, with_tools: bool) -> Asked:
    """What to ask for; `with_tools` if the agent has tools of its own."""
    wrapped = agent.output_schema is not None and not _of_object(agent.output_schema)
    schema = agent.output_schema
    if schema is not None and wrapped:
        schema = _wrapper(schema)
    if (
        schema is None
        or (agent.output_mode or _usual(agent.model, with_tools=with_tools)) == "native"
    ):
        return Asked(agent.instructions, (), schema, wrapped)
    told = "\n\n".join(part for part in (agent.instructions, _ORDER) if part)
    return Asked(
        told, (ToolSpec(name=ANSWER, description=_TOLD, parameters=schema),), None, wrapped
    )


def _of_object(schema: Mapping[str, JsonValue]) -> bool:
    """Whether a schema says that the answer is an object, in words that every vendor reads."""
    return schema.get("type") == "object"


def _wrapper(schema: Mapping[str, JsonValue]) -> dict[str, JsonValue]:
    inner = {key: value for key, value in schema.items() if key not in _SHARED}
    return {
        "type": "object",
        "properties": {_VALUE: inner},
        "required": [_VALUE],
        "additionalProperties": False,
        **{key: value for key, value in schema.items() if key in _SHARED},
    }


def unwrapped(turn: Turn) -> Turn:
    """The turn with the value alone as its answer, which came in an object; any other answer as it is."""
    try:
        value = parsed(turn.message.text)
    except ValueError:
        return turn
    if not isinstance(value, dict) or value.keys() != {_VALUE}:
        return turn
    text = TextPart(text=json.dumps(value[_VALUE], ensure_ascii=False))
    kept = (part for part in turn.message.parts if not isinstance(part, TextPart))
    return replace(turn, message=AssistantMessage(parts=(*kept, text)))


def _usual(model: str, *, with_tools: bool) -> OutputMode:
    """Native wherever it holds. Older Gemini models refuse a schema together with tools."""
    return "tool" if with_tools and model.startswith("google:") else "native"


class Lens:
    """Shows an answer that comes as a tool call as the text it stands for."""

    def __init__(self) -> None:
        self._answers: set[str] = set()

    def __call__(self, chunk: Chunk) -> Iterator[Chunk]:
        """What is shown of a chunk."""
        match chunk:
            case ToolStart(name=name, id=id_) if name == ANSWER:
                self._answers.add(id_)
            case ToolArgs(id=id_) if id_ in self._answers:
                yield Text(i=chunk.i, text=chunk.text)
            case ToolEnd(id=id_) if id_ in self._answers:
                pass
            case End(stop="tool_calls") if self._answers:
                yield chunk.model_copy(update={"stop": "stop"})
            case _:
                yield chunk


def answered(turn: Turn) -> Turn:
    """The turn with an answer that came as a tool call as its text; what was called beside it is not run."""
    parts = turn.message.parts
    final = next((p for p in parts if isinstance(p, ToolCallPart) and p.name == ANSWER), None)
    if final is None:
        return turn
    said = final.malformed  # is for whoever reads the answer to find wrong
    text = TextPart(text=json.dumps(final.args, ensure_ascii=False) if said is None else said)
    kept = (p for p in parts if not isinstance(p, TextPart | ToolCallPart))
    return replace(turn, message=AssistantMessage(parts=(*kept, text)), stop="stop")
