"""Manners: what servers that speak OpenAI's Chat Completions do differently from OpenAI."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from pydantic import JsonValue

__all__ = ["LLAMA_CPP", "OLLAMA", "OPENAI", "VLLM", "Manners"]


@dataclass(frozen=True, slots=True)
class Manners:
    """How one server speaks Chat Completions; without arguments as OpenAI does, and as most say what they think."""

    thoughts: tuple[str, ...] = ("reasoning_content",)
    """The fields in which a thought is said, each time in all of them."""
    usage: Literal["asked", "last", "never"] = "asked"
    """asked: in a chunk of its own, if the request wants it. last: always, beside the finish reason."""
    done: bool = True
    """Whether `[DONE]` comes at the end."""
    first_content: str | None = ""
    """The content of the first chunk, which only names the role."""
    whole_calls: bool = False
    """Whether a tool call comes in one piece."""
    call_ids: Literal["first", "empty", "none", "random", "repeated", "same"] = "first"
    """first: with the first piece. empty: also later, as empty text. none: never. random: another one in each piece.
    repeated: the call's in each piece. same: all calls of all answers have one."""
    call_names: Literal["first", "null", "repeated", "pieces"] = "first"
    """first: with the first piece. null: later as the word `null`. repeated: in each. pieces: in two pieces."""
    null_arguments: bool = False
    """Whether the first piece of a call has no arguments at all, and not empty ones."""
    parts: bool = False
    """Whether content is a list of parts, thoughts among them."""
    think_tags: bool = False
    """Whether a thought is said in `<think>` at the beginning of the content."""
    refuses: frozenset[str] = frozenset()
    """Fields of a request that the server does not know, and refuses."""
    models: tuple[str, ...] = ()
    """The models that there are; empty: any."""
    under_v1: bool = False
    """Whether it answers under `/v1` alone."""
    call_index: Literal["counted", "zero", "none"] = "counted"
    calls_end: Literal["tool_calls", "stop"] = "tool_calls"
    """The finish reason of a turn that calls tools."""
    object_arguments: bool = False
    """Whether the arguments of a call are an object and not its text."""
    status_codes: bool = False
    """Whether the code of an error is its HTTP status, and no word."""
    keep_alive: bytes = b""
    """Said before each chunk; a comment, to whoever knows server-sent events."""
    extra: Mapping[str, JsonValue] = field(default_factory=dict)
    """Fields of each chunk that OpenAI does not know."""


OPENAI = Manners()

OLLAMA = Manners(
    thoughts=("reasoning",),
    whole_calls=True,
    call_index="zero",
    calls_end="stop",
    extra={"system_fingerprint": "fp_ollama"},
)
"""Before version 0.5.8 all calls had index 0 and a turn with calls finished with `stop`; later ones are kinder."""

VLLM = Manners(
    thoughts=("reasoning", "reasoning_content"),
    call_ids="empty",
    call_index="zero",
    status_codes=True,
    extra={"prompt_token_ids": None, "kv_transfer_params": None},
)
"""Some of its parsers of tool calls number every call 0, and repeat an empty id."""

LLAMA_CPP = Manners(
    usage="last",
    first_content=None,
    status_codes=True,
    extra={"timings": {"prompt_ms": 1.5, "predicted_per_second": 20.0}, "__verbose": {}},
)
"""`llama-server`."""
