"""Redaction of tool calls: what is shown of their arguments, and what of a turn is kept elsewhere than in the log."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from pydantic import JsonValue

from partsong.contracts.talk.chunks import Chunk, ToolArgs, ToolEnd, ToolStart
from partsong.contracts.talk.messages import AssistantMessage, Part, ToolCallPart, ToolSpec
from partsong.contracts.talk.redaction import REDACTED, placeholder

__all__ = ["RedactedCalls", "Taken", "hidden_of", "taken_out"]


def hidden_of(tools: Iterable[ToolSpec]) -> dict[str, frozenset[str]]:
    """The arguments that nobody is shown, by the name of their tool."""
    return {tool.name: frozenset(tool.redact) for tool in tools if tool.redact}


class RedactedCalls:
    """Shows a call of a tool that redacts as it ends, without the values; fragments of JSON cannot be judged."""

    def __init__(self, hidden: Mapping[str, frozenset[str]]) -> None:
        self._hidden = hidden
        self._calls: set[str] = set()

    def __call__(self, chunk: Chunk) -> Iterator[Chunk]:
        """What is shown of a chunk."""
        match chunk:
            case ToolStart(name=name, id=id_) if name in self._hidden:
                self._calls.add(id_)
                yield chunk
            case ToolArgs(id=id_) if id_ in self._calls:
                pass
            case ToolEnd(name=name) if name in self._hidden:
                yield from self._ended(chunk)
            case _:
                yield chunk

    def _ended(self, chunk: ToolEnd) -> Iterator[Chunk]:
        if not isinstance(chunk.args, dict):
            yield chunk.model_copy(update={"raw": REDACTED})
            return
        hidden = self._hidden[chunk.name]
        args = {key: REDACTED if key in hidden else value for key, value in chunk.args.items()}
        raw = json.dumps(args, ensure_ascii=False)
        yield ToolArgs(i=chunk.i, id=chunk.id, text=raw)
        yield chunk.model_copy(update={"raw": raw, "args": args})


@dataclass(frozen=True, slots=True)
class Taken:
    """A message with placeholders, and the values that they stand for, by token."""

    message: AssistantMessage
    values: dict[str, JsonValue] = field(default_factory=dict)


def taken_out(
    message: AssistantMessage, hidden: Mapping[str, frozenset[str]], token: Callable[[], str]
) -> Taken:
    """Take the values of redacted arguments out of a message; each gets a token of its own."""
    values: dict[str, JsonValue] = {}

    def clean(name: str, args: Mapping[str, JsonValue]) -> Iterator[tuple[str, JsonValue]]:
        for key, value in args.items():
            if key in hidden[name]:
                values[made := token()] = value
                yield key, placeholder(made)
            else:
                yield key, value

    def part(one: Part) -> Part:
        if not isinstance(one, ToolCallPart) or one.name not in hidden:
            return one
        raw = None if one.malformed is None else REDACTED  # what cannot be read cannot be judged
        args = dict(clean(one.name, one.args))
        return one.model_copy(update={"args": args, "malformed": raw})

    parts = tuple(part(one) for one in message.parts)
    return Taken(
        message.model_copy(update={"parts": parts}) if parts != message.parts else message, values
    )
