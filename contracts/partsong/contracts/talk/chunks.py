"""Chunks: what a call says while it runs. Seen live, kept for minutes, never part of the state.

Per attempt the `seq` starts at 0 and has no gaps, and exactly one terminal chunk (`end` or `error`) comes last.
A stream without its terminal chunk is not a success: it did not end.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue, TypeAdapter

__all__ = [
    "CHUNK",
    "TERMINAL",
    "Chunk",
    "Citation",
    "End",
    "ErrorClass",
    "Failed",
    "Raw",
    "Reasoning",
    "ReasoningState",
    "Refusal",
    "ServerTool",
    "Start",
    "StopReason",
    "Text",
    "ToolArgs",
    "ToolEnd",
    "ToolStart",
    "Usage",
]

StopReason = Literal[
    "stop", "length", "tool_calls", "refusal", "blocked", "pause", "malformed_tool_call", "other"
]
ErrorClass = Literal[
    "rate_limited",
    "overloaded",
    "timeout",
    "connection",
    "truncated",
    "auth",
    "invalid_request",
    "server",
    "cancelled",
    "limit",
]


class _Chunk(BaseModel):
    model_config = ConfigDict(frozen=True, extra="allow")

    call_id: str = ""
    attempt: int = 1
    seq: int = 0
    i: int = 0
    """Index of the content block the chunk belongs to."""


class Start(_Chunk):
    """The provider accepted the call."""

    kind: Literal["start"] = "start"
    provider: str
    model: str
    """The model that actually answers, which may differ from the one asked for."""
    response_id: str | None = None
    request_id: str | None = None


class Text(_Chunk):
    """Text for people."""

    kind: Literal["text"] = "text"
    text: str


class Reasoning(_Chunk):
    """The model's thinking, for display only."""

    kind: Literal["reasoning"] = "reasoning"
    text: str
    form: Literal["full", "summary"] = "full"


class ReasoningState(_Chunk):
    """Opaque state that must go back verbatim to the same provider on the next turn, and to no other."""

    kind: Literal["reasoning_state"] = "reasoning_state"
    form: Literal["signature", "redacted", "reasoning_item", "thought_signature"]
    opaque: JsonValue


class ToolStart(_Chunk):
    """The model begins a tool call."""

    kind: Literal["tool_start"] = "tool_start"
    id: str
    name: str


class ToolArgs(_Chunk):
    """A fragment of a tool call's arguments: raw JSON text, not parseable before `tool_end`."""

    kind: Literal["tool_args"] = "tool_args"
    id: str
    text: str


class ToolEnd(_Chunk):
    """A tool call is complete. It may run only if `ok`, and only after `end`."""

    kind: Literal["tool_end"] = "tool_end"
    id: str
    name: str
    raw: str
    ok: bool
    args: JsonValue = None


class ServerTool(_Chunk):
    """A tool the provider ran itself: shown, never executed by us."""

    kind: Literal["server_tool"] = "server_tool"
    data: JsonValue


class Refusal(_Chunk):
    """The model declines."""

    kind: Literal["refusal"] = "refusal"
    text: str


class Citation(_Chunk):
    """A source the text refers to."""

    kind: Literal["citation"] = "citation"
    data: JsonValue


class Usage(_Chunk):
    """Tokens so far: cumulative, the last one wins. `input_total` includes cached tokens."""

    kind: Literal["usage"] = "usage"
    input_total: int = 0
    output_total: int = 0
    cache_read: int = 0
    cache_write: int = 0
    cache_write_1h: int = 0
    """Those of `cache_write` that are kept for an hour."""
    reasoning: int = 0


class End(_Chunk):
    """The stream ended as it should."""

    kind: Literal["end"] = "end"
    stop: StopReason
    native: str | None = None
    complete: Literal[True] = True


class Failed(_Chunk):
    """The stream ended as it should not."""

    kind: Literal["error"] = "error"
    error: ErrorClass
    message: str = ""
    status: int | None = None
    retryable: bool = False
    retry_after: float | None = None
    """Seconds, as the provider asked."""
    mid_stream: bool = False
    fix: str | None = None
    """What to do about it, where that is known better than by the class."""


class Raw(_Chunk):
    """A provider event we have no word for, or what a function node emitted, untouched."""

    kind: Literal["raw"] = "raw"
    data: JsonValue


Chunk = Annotated[
    Start
    | Text
    | Reasoning
    | ReasoningState
    | ToolStart
    | ToolArgs
    | ToolEnd
    | ServerTool
    | Refusal
    | Citation
    | Usage
    | End
    | Failed
    | Raw,
    Field(discriminator="kind"),
]
CHUNK: TypeAdapter[Chunk] = TypeAdapter(Chunk)
TERMINAL = (End, Failed)
