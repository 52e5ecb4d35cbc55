"""What the fake LLM says: the steps of an answer, and the question it answers, in no provider's dialect."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from pydantic import JsonValue

__all__ = [
    "Answer",
    "Ask",
    "Break",
    "Bytes",
    "Call",
    "Cut",
    "Deny",
    "Drop",
    "Ending",
    "ErrorKind",
    "Event",
    "Finish",
    "Offer",
    "Refuse",
    "Reply",
    "Reset",
    "Result",
    "Say",
    "Script",
    "Seal",
    "Stall",
    "Step",
    "Stop",
    "Think",
    "Tokens",
    "Wait",
    "WireName",
]

WireName = Literal["anthropic", "openai", "openai-chat", "google"]
Stop = Literal["stop", "length", "tool_calls", "refusal", "blocked", "pause", "malformed_tool_call"]
Ending = Literal["end", "drop", "reset"]
"""end: as HTTP bodies end. drop: the connection is closed in the middle of the body. reset: it is reset."""
ErrorKind = Literal["rate_limited", "overloaded", "server", "auth", "invalid_request", "quota"]


@dataclass(frozen=True, slots=True)
class Offer:
    """A tool the request offers."""

    name: str
    schema: Mapping[str, JsonValue]


@dataclass(frozen=True, slots=True)
class Result:
    """A tool's result that the request contains."""

    call_id: str
    text: str


@dataclass(frozen=True, slots=True)
class Ask:
    """One request, read."""

    wire: WireName
    model: str
    system: str
    prompt: str
    """What the user said last."""
    tools: tuple[Offer, ...]
    results: tuple[Result, ...]
    """Results after the last thing the user said."""
    body: Mapping[str, JsonValue]
    nth: int = 0
    """How many requests for this model came before."""


@dataclass(frozen=True, slots=True)
class Tokens:
    """What the answer costs; each wire format reports it in its own way of counting."""

    input_total: int
    cache_read: int = 0
    cache_write: int = 0
    cache_write_1h: int = 0
    """Those of `cache_write` that are kept for an hour."""
    output_total: int = 0
    reasoning: int = 0


@dataclass(frozen=True, slots=True)
class Say:
    """One piece of text."""

    text: str


@dataclass(frozen=True, slots=True)
class Think:
    """One piece of reasoning."""

    text: str


@dataclass(frozen=True, slots=True)
class Seal:
    """The opaque state that closes the reasoning before it and has to come back verbatim."""

    state: str
    redacted: bool = False


@dataclass(frozen=True, slots=True)
class Call:
    """A tool call; `args` is raw text and need not be JSON."""

    name: str
    args: str
    id: str = "call_1"
    pieces: int = 3
    state: str | None = None
    """Gemini's thought signature, which sits on the call."""


@dataclass(frozen=True, slots=True)
class Refuse:
    """The model's words for declining."""

    text: str


@dataclass(frozen=True, slots=True)
class Wait:
    """Silence until so many seconds after the silence before it; a server that is late keeps its pace."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Stall:
    """Silence for ever: the connection stays open until the client leaves."""


@dataclass(frozen=True, slots=True)
class Cut:
    """The body ends as HTTP bodies end, but without the format's terminal marker."""

    torn: bool = False
    """Whether half an event comes first."""


@dataclass(frozen=True, slots=True)
class Drop:
    """The connection is closed before the body has ended as HTTP bodies end."""


@dataclass(frozen=True, slots=True)
class Reset:
    """The TCP connection is reset."""


@dataclass(frozen=True, slots=True)
class Break:
    """An error event in the middle of the stream."""

    kind: ErrorKind = "overloaded"
    message: str = "the fake is overloaded"


@dataclass(frozen=True, slots=True)
class Event:
    """Any event, as the format frames its events: what no step has a word for."""

    data: Mapping[str, JsonValue]


@dataclass(frozen=True, slots=True)
class Bytes:
    """Bytes of the body, framed by nobody."""

    data: bytes


@dataclass(frozen=True, slots=True)
class Finish:
    """The terminal marker."""

    stop: Stop = "stop"


Step: TypeAlias = (
    Say
    | Think
    | Seal
    | Call
    | Refuse
    | Wait
    | Stall
    | Cut
    | Drop
    | Reset
    | Break
    | Event
    | Bytes
    | Finish
)


@dataclass(frozen=True, slots=True)
class Answer:
    """A stream."""

    steps: tuple[Step, ...]
    cut_after: int | None = None
    """The body ends after so many bytes, whatever is being said then."""
    ending: Ending = "end"
    """How a body that is cut ends."""


@dataclass(frozen=True, slots=True)
class Deny:
    """An HTTP error instead of a stream."""

    status: int
    kind: ErrorKind
    message: str
    headers: Mapping[str, str] = field(default_factory=dict)
    retry_in: float | None = None
    """Seconds, told in the body in the form of a Gemini `RetryInfo`."""


Reply: TypeAlias = Answer | Deny
Script: TypeAlias = Callable[[Ask], Reply]
