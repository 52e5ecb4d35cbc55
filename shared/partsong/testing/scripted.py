"""`ScriptedModel`: a model that answers from a list, and remembers what it was asked.

with ScriptedModel(ToolCall("weather", {"city": "Oslo"}), "It rains.") as model:
    result = await Agent(model.model, tools=[weather]).call("How is Oslo?")
assert model.asked[1].messages[-1].text == "4 degrees, rain"
"""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias, cast

from pydantic import BaseModel, JsonValue

from partsong.contracts.events import TurnUsage
from partsong.contracts.graph.nodes import ANSWER
from partsong.contracts.talk.chunks import (
    Chunk,
    ErrorClass,
    Failed,
    Reasoning,
    Start,
    StopReason,
    Text,
)
from partsong.contracts.talk.messages import AssistantMessage, Part, TextPart, ToolCallPart
from partsong.models.core.failure import failed
from partsong.models.port import TurnRequest
from partsong.testing.speech import speech, words
from partsong.testing.stand_in import StandIn

__all__ = ["Answer", "Fails", "ScriptedModel", "ToolCall", "Turn"]


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A call of a tool."""

    name: str
    args: Mapping[str, JsonValue] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Turn:
    """An answer of several parts, or one that does not simply stop."""

    text: str = ""
    calls: Sequence[ToolCall] = ()
    reasoning: str = ""
    stop: StopReason | None = None
    """Default: `tool_calls` with calls, else `stop`."""
    usage: TurnUsage | None = None
    """Default: as many tokens as there are words."""


@dataclass(frozen=True, slots=True)
class Fails:
    """No answer: the provider fails, perhaps after some text. By the class of the error it is retried or not."""

    error: ErrorClass
    message: str = "the script says so"
    retry_after: float | None = None
    """Seconds the provider asks to wait."""
    after: str = ""
    """What it has said by then."""


Answer: TypeAlias = (
    "str | ToolCall | Sequence[ToolCall] | Turn | Fails | BaseModel | Mapping[str, JsonValue]"
)
"""Text; tool calls; a structured value; or more of these in a `Turn`."""


class ScriptedModel(StandIn):
    """Plays its answers in order, one a turn, at once.

    A question more than there are answers fails the turn, and so does the end of the block; so does an answer that nobody
    asked for. Agents that ask side by side need a model each, for their order is not known.
    """

    def __init__(self, *answers: Answer, model: str = "test:model") -> None:
        """`model` is the full name it answers to: one of its own, or a vendor's that the code under test names."""
        super().__init__(model)
        self._answers = answers

    async def stream(self, request: TurnRequest) -> AsyncGenerator[Chunk, None]:
        """The next answer; see `Provider.stream`."""
        self.asked.append(request)
        number = len(self.asked)
        if number > len(self._answers):
            last = request.messages[-1].text if request.messages else ""
            yield self._fail(
                f"{self.model} has {len(self._answers)} answers, this is question {number}: {_cut(last)!r}"
            )
            return
        for chunk in self._spoken(self._answers[number - 1], number, request):
            yield chunk

    def _spoken(self, answer: Answer, number: int, request: TurnRequest) -> Iterator[Chunk]:
        if isinstance(answer, Fails):
            if answer.after:
                yield Start(provider=self.name, model=request.model)
                yield from (Text(text=word) for word in words(answer.after))
            yield _failure(answer)
            return
        turn = _turn(answer, request)
        calls = (
            ToolCallPart(id=f"call_{number}_{i}", name=call.name, args=dict(call.args))
            for i, call in enumerate(turn.calls)
        )
        parts: tuple[Part, ...] = (*([TextPart(text=turn.text)] if turn.text else ()), *calls)
        stop = turn.stop or ("tool_calls" if turn.calls else "stop")
        usage = turn.usage or _usage(turn, request)
        chunks = speech(self.name, request.model, AssistantMessage(parts=parts), stop, usage)
        yield next(chunks)
        yield from (Reasoning(text=word) for word in words(turn.reasoning) if word)
        yield from chunks

    def _unfinished(self) -> str | None:
        left = len(self._answers) - len(self.asked)
        if left <= 0:
            return None
        return f"{self.model} was asked {len(self.asked)} times, its script has {left} answers more"


def _turn(answer: Answer, request: TurnRequest) -> Turn:
    """The answer in full. A structured value comes the way the agent wants it: as a tool call, or as text."""
    if isinstance(answer, Turn):
        return answer
    if isinstance(answer, str):
        return Turn(answer)
    if isinstance(answer, ToolCall):
        return Turn(calls=(answer,))
    if isinstance(answer, BaseModel):
        answer = cast("dict[str, JsonValue]", answer.model_dump(mode="json"))
    if not isinstance(answer, Mapping):
        return Turn(calls=tuple(cast("Sequence[ToolCall]", answer)))
    if any(tool.name == ANSWER for tool in request.tools):
        return Turn(calls=(ToolCall(ANSWER, answer),))
    return Turn(json.dumps(dict(answer), ensure_ascii=False))


def _failure(answer: Fails) -> Failed:
    update = {"retry_after": answer.retry_after, "mid_stream": bool(answer.after)}
    return failed(answer.error, answer.message).model_copy(update=update)


def _usage(turn: Turn, request: TurnRequest) -> TurnUsage:
    heard = " ".join([request.instructions, *(message.text for message in request.messages)])
    said = " ".join([turn.text, *(json.dumps(dict(call.args)) for call in turn.calls)])
    return TurnUsage(input_total=len(heard.split()), output_total=len(said.split()))


def _cut(text: str) -> str:
    return text if len(text) <= 200 else f"{text[:200]}…"
