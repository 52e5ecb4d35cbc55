"""Prompt caching: what of a prompt a vendor is asked to keep, and how two turns' prompts can be compared afterwards.

A turn of an agent begins with all that the turn before was given. Whoever keeps that reads it for a tenth of the price;
so a prompt must begin with the same bytes each time, and Anthropic must be told where to keep it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping

from pydantic import JsonValue

from partsong.contracts.events import PromptDigest
from partsong.contracts.talk.messages import Message
from partsong.models.port import TurnRequest

__all__ = ["LIVES", "cache_key", "digest_of", "mark", "minimum", "size"]

LIVES = {"auto": 300.0, "1h": 3600.0}
"""Seconds for which a prompt is kept after it was last read."""
_FAR = 15
"""Blocks since the turn before from which its end is marked too: nobody looks back further than 20."""
_MINIMUM = {
    "claude-opus-5": 512,
    "claude-fable-5": 512,
    "claude-haiku-4-5": 4096,
    "claude-opus-4-5": 4096,
    "claude-opus-4-6": 4096,
    "claude-haiku-3": 2048,
    "claude-3-haiku": 2048,
    "claude-3-5-haiku": 2048,
    "gemini-2.5-pro": 4096,
    "gemini-3": 4096,
}
"""Tokens below which nothing is kept, by the beginning of a model's name."""
_USUAL = 1024
_MARKABLE = frozenset({"text", "image", "document", "tool_use", "tool_result"})
_Block = dict[str, JsonValue]


def minimum(model: str) -> int:
    """The tokens that a prompt must have for this model's vendor to keep it."""
    if "flash" in model:
        return _USUAL
    return next((least for name, least in _MINIMUM.items() if model.startswith(name)), _USUAL)


def size(value: object) -> int:
    """About how many tokens a piece of a prompt has: bytes count, for a sign of Chinese is more than one of English."""
    return len(json.dumps(value, ensure_ascii=False).encode(errors="replace")) // 4


def mark(request: TurnRequest, fields: dict[str, JsonValue]) -> None:
    """Say in an Anthropic request up to where it is kept.

    At the last tool, the end of the instructions and the end of the conversation; and where the turn before ended, if
    that is too far back to be found. Nowhere below the model's minimum: that would be ignored.
    """
    if request.cache == "off":
        return
    control: _Block = {"type": "ephemeral"}
    if request.cache == "1h":
        control["ttl"] = "1h"
    least, read = minimum(request.model), 0
    if isinstance(tools := fields.get("tools"), list):
        read += size(tools)
        if read >= least and isinstance(last := tools[-1], dict):
            last["cache_control"] = dict(control)
    if isinstance(system := fields.get("system"), str):
        read += size(system)
        if read >= least:
            told: _Block = {"type": "text", "text": system, "cache_control": dict(control)}
            fields["system"] = [told]
    said = list(_blocks(fields.get("messages")))
    for place in _ends(said):
        if read + sum(size(block) for block, _ in said[: place + 1]) >= least:
            said[place][0]["cache_control"] = dict(control)


def _blocks(messages: JsonValue) -> Iterable[tuple[_Block, bool]]:
    """The blocks of a conversation, and of each whether the model has said it."""
    for message in messages if isinstance(messages, list) else ():
        if isinstance(message, dict) and isinstance(content := message["content"], list):
            for block in content:
                if isinstance(block, dict):
                    yield block, message["role"] == "assistant"


def _ends(said: list[tuple[_Block, bool]]) -> Iterable[int]:
    """The places in a conversation that are marked: its end, and that of the turn before if it is far."""
    markable = [i for i, (block, _) in enumerate(said) if _can_be_marked(block)]
    if not markable:
        return
    end = markable[-1]
    if len(said) > _FAR:
        answer = max((i for i, (_, model) in enumerate(said) if model), default=-1)
        while answer > 0 and said[answer - 1][1]:
            answer -= 1
        before = [i for i in markable if i < (answer if answer > 0 else len(said) - _FAR)]
        yield from before[-1:]
    yield end


def _can_be_marked(block: _Block) -> bool:
    return block.get("type") in _MARKABLE and block.get("text") != ""


def cache_key(request: TurnRequest) -> str:
    """What OpenAI finds a machine by that has read this conversation; that of an agent without tools is its own.

    A conversation goes on where it has begun. Agents that speak once have nothing in common but their instructions.
    """
    first = request.messages[:1] if request.tools else ()
    return _digest([request.instructions, _tools(request), _dumped(first)], 64)


def digest_of(request: TurnRequest) -> PromptDigest:
    """Digests of a prompt's parts."""
    answers = [i for i, m in enumerate(request.messages) if m.role == "assistant"]
    system = [request.instructions, request.output_schema, request.effort]
    return PromptDigest(
        cache=request.cache,
        tools=_digest(_tools(request)),
        system=_digest(system),
        said=_digest(_dumped(request.messages)),
        before=_digest(_dumped(request.messages[: answers[-1]])) if answers else None,
    )


def _tools(request: TurnRequest) -> list[JsonValue]:
    return [[tool.name, tool.description, tool.parameters] for tool in request.tools]


def _dumped(messages: Iterable[Message]) -> list[JsonValue]:
    return [message.model_dump(mode="json") for message in messages]


def _digest(value: object, length: int = 12) -> str:
    # Not sorted: an order that changes is another prompt.
    text = json.dumps(value, ensure_ascii=False, default=_plain)
    return hashlib.sha256(text.encode(errors="replace")).hexdigest()[:length]


def _plain(value: object) -> object:
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(f"{value!r} is no JSON")
