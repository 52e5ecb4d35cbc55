"""What Gemini streams, as chunks."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Literal, cast

from pydantic import JsonValue

from partsong.contracts.talk.chunks import (
    Chunk,
    Citation,
    End,
    Raw,
    Reasoning,
    ReasoningState,
    ServerTool,
    Start,
    StopReason,
    Text,
    ToolArgs,
    ToolEnd,
    ToolStart,
    Usage,
)
from partsong.models.core.arguments import tool_end

if TYPE_CHECKING:
    from google.genai import types

__all__ = ["Reader"]

_STOP: dict[str, StopReason] = {
    "STOP": "stop",
    "MAX_TOKENS": "length",
    "SAFETY": "blocked",
    "RECITATION": "blocked",
    "BLOCKLIST": "blocked",
    "PROHIBITED_CONTENT": "blocked",
    "SPII": "blocked",
    "MODEL_ARMOR": "blocked",
    "IMAGE_SAFETY": "blocked",
    "IMAGE_PROHIBITED_CONTENT": "blocked",
    "IMAGE_RECITATION": "blocked",
    "MALFORMED_FUNCTION_CALL": "malformed_tool_call",
    "UNEXPECTED_TOOL_CALL": "malformed_tool_call",
    "CONTINUATION": "pause",
}


class Reader:
    """Events in, chunks out. The end is only known when the body is: `finishReason` need not be the last event."""

    def __init__(self, *, turn: int) -> None:
        self._turn = turn
        """Tells the calls of one turn from those of another, where Gemini gives them no ids."""
        self._started = False
        self._block = 0
        self._kind = ""
        self._calls = 0
        self._native: str | None = None
        self._blocked = False

    def read(self, event: types.GenerateContentResponse) -> Iterator[Chunk]:
        """The chunks of one event."""
        first, self._started = not self._started, True
        if first:
            yield Start(
                provider="google",
                model=event.model_version or "",
                response_id=event.response_id,
            )
        feedback = event.prompt_feedback
        if feedback is not None and feedback.block_reason is not None:
            self._native, self._blocked = str(feedback.block_reason.value), True
        for candidate in (event.candidates or [])[:1]:
            for part in (candidate.content and candidate.content.parts) or ():
                yield from self._part(part)
            if candidate.citation_metadata is not None:
                yield Citation(data=_dump(candidate.citation_metadata))
            if found := _beside(candidate):
                yield Raw(data=found)
            if candidate.finish_reason is not None:
                self._native = str(candidate.finish_reason.value)
        # Every event says it anew; the first and the last are enough, and let text between them be joined.
        if event.usage_metadata is not None and (first or self._native is not None):
            yield _usage(event.usage_metadata)

    def ended(self) -> Iterator[Chunk]:
        """What the end of the body means: nothing, if the model had not finished before."""
        if self._native is None:
            return
        stop = "blocked" if self._blocked else _STOP.get(self._native, "other")
        if stop == "stop" and self._calls:
            stop = "tool_calls"
        yield End(stop=stop, native=self._native)

    def _part(self, part: types.Part) -> Iterator[Chunk]:
        signature = part.thought_signature
        if part.function_call is not None:
            yield from self._call(part.function_call, signature)
        elif part.text is not None and part.thought:
            yield Reasoning(i=self._in("thought"), text=part.text)
            if signature is not None:
                yield self._signed(signature, "nothing", self._block)
        elif part.text is not None:
            yield from self._text(part.text, signature)
        elif (
            part.executable_code
            or part.code_execution_result
            or part.tool_call
            or part.tool_response
        ):
            yield ServerTool(i=self._in("server_tool"), data=_dump(part))
        else:
            yield Raw(data=_dump(part))

    def _in(self, kind: str) -> int:
        """The block for a part of this kind: the one before, or a new one."""
        if kind != self._kind or kind == "call":
            self._kind, self._block = kind, self._block + 1
        return self._block

    def _text(self, text: str, signature: bytes | None) -> Iterator[Chunk]:
        """Text; what carries a signature is a part of its own and must stay one."""
        if signature is not None:
            self._kind = ""
            yield self._signed(signature, "text" if text else "nothing", self._in("text"))
        if text:
            yield Text(i=self._in("text"), text=text)
        if signature is not None:
            self._kind = ""

    def _call(self, call: types.FunctionCall, signature: bytes | None) -> Iterator[Chunk]:
        """A whole call in one part. Calls that come in pieces are never asked for, and count as broken."""
        i = self._in("call")
        self._calls += 1
        name = call.name or ""
        call_id = call.id or f"call_{self._turn}_{self._calls}"
        if signature is not None:
            yield self._signed(signature, "call", i)
        yield ToolStart(i=i, id=call_id, name=name)
        if call.partial_args or call.will_continue or not name:
            yield ToolEnd(i=i, id=call_id, name=name, raw=json.dumps(_dump(call)), ok=False)
            return
        raw = json.dumps(call.args or {}, ensure_ascii=False)
        yield ToolArgs(i=i, id=call_id, text=raw)
        yield tool_end(call_id, name, raw, i=i)

    @staticmethod
    def _signed(signature: bytes, on: Literal["text", "nothing", "call"], i: int) -> ReasoningState:
        opaque: JsonValue = {"on": on, "signature": base64.b64encode(signature).decode()}
        return ReasoningState(i=i, form="thought_signature", opaque=opaque)


def _usage(usage: types.GenerateContentResponseUsageMetadata) -> Usage:
    """Cumulative. What candidates cost excludes their thoughts; what the prompt costs includes the cache."""
    thoughts = usage.thoughts_token_count or 0
    return Usage(
        input_total=(usage.prompt_token_count or 0) + (usage.tool_use_prompt_token_count or 0),
        output_total=(usage.candidates_token_count or 0) + thoughts,
        cache_read=usage.cached_content_token_count or 0,
        reasoning=thoughts,
    )


_KNOWN = frozenset(
    [
        "content",
        "citation_metadata",
        "finish_reason",
        "finish_message",
        "index",
        "token_count",
        "safety_ratings",
        "avg_logprobs",
    ]
)
"""What of a candidate is read, or says nothing more."""


def _beside(candidate: types.Candidate) -> dict[str, JsonValue]:
    """What came beside the content and has no chunk of its own: what was searched, which pages were read, ratings."""
    fields = cast("dict[str, JsonValue]", candidate.to_json_dict())
    return {key: value for key, value in fields.items() if value and key not in _KNOWN}


def _dump(value: types.Part | types.FunctionCall | types.CitationMetadata) -> dict[str, JsonValue]:
    return cast("dict[str, JsonValue]", value.to_json_dict())
