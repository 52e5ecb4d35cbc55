"""Assembly: the chunks of one attempt become a turn, or the reason why there is none.

1. Without a terminal chunk nothing has ended: the attempt is truncated, whatever it said before.
2. A tool call counts only if its arguments are sound, the stream ended, and it ended in order to call tools.
3. A call whose arguments are no JSON object is one all the same: it is never made, and the model is told so.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Literal, assert_never

from partsong.contracts.errors import Fault, Problem
from partsong.contracts.events import TurnUsage
from partsong.contracts.talk.chunks import (
    Chunk,
    Citation,
    End,
    ErrorClass,
    Failed,
    Raw,
    Reasoning,
    ReasoningState,
    Refusal,
    ServerTool,
    Start,
    StopReason,
    Text,
    ToolArgs,
    ToolEnd,
    ToolStart,
    Usage,
)
from partsong.contracts.talk.messages import (
    AssistantMessage,
    Part,
    ReasoningStatePart,
    RefusalPart,
    ServerToolPart,
    TextPart,
    ToolCallPart,
)
from partsong.models.core.failure import failed

__all__ = ["Broken", "Turn", "assemble", "hollow", "problem_of"]

_CHARS_PER_TOKEN = 4
"""A rule of thumb for English, for streams that broke off before they said what they cost."""

_MOST_RAW = 4_000
"""Characters that are kept of arguments that cannot be read."""

_FAULT: dict[ErrorClass, Fault] = {
    "auth": "caller",
    "invalid_request": "caller",
    "limit": "caller",
    "cancelled": "caller",
}
_FIX: dict[ErrorClass, str] = {
    "auth": "check the provider's API key and what it may use",
    "invalid_request": "change the request: the provider refuses it as it is",
    "limit": "raise the quota or add credit with the provider, or choose another model",
}


@dataclass(frozen=True, slots=True)
class Turn:
    """What the model answered, from a stream that ended as it should."""

    message: AssistantMessage
    stop: StopReason
    provider: str
    model: str
    """The model that answered."""
    usage: TurnUsage
    native: str | None = None
    """The provider's own word for `stop`."""


@dataclass(frozen=True, slots=True)
class Broken:
    """Why there is no turn."""

    problem: Problem
    usage: TurnUsage
    """What the attempt cost all the same, as far as it is known."""
    partial: str = ""
    """Text seen before it broke; never to be joined with another attempt's."""
    retry_after: float | None = None
    """Seconds the provider asked for."""


def assemble(chunks: Iterable[Chunk], read: int = 0) -> Turn | Broken:
    """The outcome of one attempt, from all its chunks in order.

    `read` is about how many tokens the model was given, for providers that do not say.
    """
    seen = _Seen(read)
    for chunk in chunks:
        match chunk:
            case End():
                return _ended(seen, chunk)
            case Failed():
                return seen.broken(problem_of(chunk), chunk.retry_after)
            case _:
                seen.add(chunk)
    truncated = failed("truncated", "the stream stopped without a terminal chunk")
    return seen.broken(problem_of(truncated))


def hollow(turn: Turn) -> Broken | None:
    """Why a turn that ended as it should has no answer: there is not a word in it, and no call."""
    if turn.stop not in {"stop", "other"} or turn.message.tool_calls:
        return None
    parts = turn.message.parts
    if any(isinstance(part, RefusalPart) for part in parts) or turn.message.text.strip():
        return None
    said = "gave only its reasoning" if parts else "said nothing"
    problem = Problem(
        code="agent.empty_answer",
        message=f"{turn.model} stopped ({turn.native or turn.stop}) and {said}",
        fix="ask again, raise max_tokens if it reasons, or give the agent fallbacks",
        retryable=True,
        fault="provider",
    )
    return Broken(problem, turn.usage)


def problem_of(failure: Failed) -> Problem:
    """A failure as a problem: `provider.<class>`, with whose fault it is and what to do."""
    return Problem(
        code=f"provider.{failure.error}",
        message=failure.message if failure.message.strip() else failure.error,
        fix=failure.fix or _FIX.get(failure.error),
        retryable=failure.retryable,
        fault=_FAULT.get(failure.error, "provider"),
    )


@dataclass(slots=True)
class _Seen:
    read: int
    """Tokens of the prompt, about."""
    provider: str = ""
    model: str = ""
    parts: list[Part] = field(default_factory=list)
    speech: tuple[Literal["text", "refusal"], int] | None = None
    """Kind and block of the text being said."""
    words: list[str] = field(default_factory=list)
    unfinished: dict[str, str] = field(default_factory=dict)
    """Names of tool calls that began, by id, until they end well."""
    usage: Usage | None = None
    characters: int = 0

    def add(self, chunk: Chunk) -> None:
        match chunk:
            case Start():
                self.provider, self.model = chunk.provider, chunk.model
            case Text():
                self._say("text", chunk.i, chunk.text)
            case Refusal():
                self._say("refusal", chunk.i, chunk.text)
            case Reasoning() | ToolArgs():
                self.characters += len(chunk.text)
            case ReasoningState():
                self._put(
                    ReasoningStatePart(provider=self.provider, form=chunk.form, opaque=chunk.opaque)
                )
            case ServerTool():
                self._put(ServerToolPart(provider=self.provider, data=chunk.data))
            case ToolStart():
                self.unfinished[chunk.id] = chunk.name
            case ToolEnd():
                self._tool(chunk)
            case Usage():
                self.usage = chunk
            case Citation() | Raw() | End() | Failed():
                pass
            case _:
                assert_never(chunk)

    def _say(self, kind: Literal["text", "refusal"], block: int, text: str) -> None:
        self.characters += len(text)
        if self.speech != (kind, block):
            self.pause()
            self.speech = (kind, block)
        self.words.append(text)

    def pause(self) -> None:
        """The text being said is a part now."""
        if self.speech is not None and (text := "".join(self.words)):
            refused = self.speech[0] == "refusal"
            self.parts.append(RefusalPart(text=text) if refused else TextPart(text=text))
        self.speech, self.words = None, []

    def _put(self, part: Part) -> None:
        self.pause()
        self.parts.append(part)

    def _tool(self, chunk: ToolEnd) -> None:
        if chunk.ok and isinstance(chunk.args, dict):
            self._put(ToolCallPart(id=chunk.id, name=chunk.name, args=chunk.args))
        else:
            self._put(ToolCallPart(id=chunk.id, name=chunk.name, malformed=chunk.raw[:_MOST_RAW]))
        self.unfinished.pop(chunk.id, None)

    def message(self, *, with_calls: bool) -> AssistantMessage:
        kept = (part for part in self.parts if with_calls or not isinstance(part, ToolCallPart))
        return AssistantMessage(
            parts=tuple(p for p in kept if not isinstance(p, TextPart) or p.text)
        )

    def cost(self, *, ended: bool) -> TurnUsage:
        usage = self.usage or Usage()
        guess = -(-self.characters // _CHARS_PER_TOKEN)
        estimated = guess > usage.output_total if not ended else self.usage is None
        # A provider that has begun to answer has read the prompt, whether it says so or not.
        untold = self.provider != "" and not usage.input_total and self.read > 0
        return TurnUsage(
            input_total=self.read if untold else usage.input_total,
            output_total=guess if estimated else usage.output_total,
            cache_read=usage.cache_read,
            cache_write=usage.cache_write,
            cache_write_1h=usage.cache_write_1h,
            reasoning=usage.reasoning,
            estimated=estimated or untold,
        )

    def broken(
        self, problem: Problem, retry_after: float | None = None, *, ended: bool = False
    ) -> Broken:
        self.pause()
        partial = "".join(part.text for part in self.parts if isinstance(part, TextPart))
        return Broken(problem, self.cost(ended=ended), partial, retry_after)


def _ended(seen: _Seen, end: End) -> Turn | Broken:
    seen.pause()
    calls = any(isinstance(part, ToolCallPart) for part in seen.parts)
    stop: StopReason = (
        "tool_calls" if end.stop == "stop" and (calls or seen.unfinished) else end.stop
    )
    if stop == "length" and (calls or seen.unfinished):
        return seen.broken(_cut_off(seen), ended=True)
    if stop == "malformed_tool_call" or (stop == "tool_calls" and (seen.unfinished or not calls)):
        return seen.broken(_malformed(seen, end), ended=True)
    return Turn(
        message=seen.message(with_calls=stop == "tool_calls"),
        stop=stop,
        provider=seen.provider,
        model=seen.model,
        usage=seen.cost(ended=True),
        native=end.native,
    )


def _malformed(seen: _Seen, end: End) -> Problem:
    names = ", ".join(seen.unfinished.values()) or "a tool"
    return Problem(
        code="provider.malformed_tool_call",
        message=f"the model stopped ({end.native or end.stop}) to call {names}, but no complete JSON arguments came",
        retryable=True,
        fault="provider",
    )


def _cut_off(seen: _Seen) -> Problem:
    names = ", ".join(seen.unfinished.values()) or "tools"
    return Problem(
        code="provider.tool_call_cut",
        message=f"the limit of output tokens was met while the model was calling {names}",
        where="max_tokens",
        fix="raise max_tokens",
        fault="caller",
    )
