"""What vendors keep of prompts, and how they count it: prefixes, by block, for a while, from a least size on.

Anthropic  reads the longest prefix it kept that ends at a mark or up to 20 blocks before one; keeps what ends at a mark
OpenAI     reads the longest prefix it has seen, in steps of 128 tokens; Gemini too, without steps
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from pydantic import JsonValue

from partsong.testing.fake_llm.steps import Ask, Deny, Tokens, WireName
from partsong.testing.fake_llm.wire import Json, objects

__all__ = ["PromptCache"]

_LOOKBACK = 20
_MARKS = 4
_STEP = 128
_SECONDS = {"5m": 300.0, "1h": 3600.0}
_LEAST: dict[str, dict[str, int]] = {
    "anthropic": {
        "claude-opus-5": 512,
        "claude-fable-5": 512,
        "claude-opus-4-5": 4096,
        "claude-opus-4-6": 4096,
        "claude-haiku-4-5": 4096,
    },
    "google": {"gemini-2.5-pro": 4096, "gemini-3-pro": 4096},
}
_USUAL = 1024


@dataclass(frozen=True, slots=True)
class _Block:
    text: str
    mark: str | None = None
    """For how long it is to be kept."""
    wrong: str = ""
    """Why it cannot be marked."""

    @property
    def size(self) -> int:
        return len(self.text.encode(errors="replace")) // 4


class PromptCache:
    """Counts a request's tokens as its vendor does that has seen the ones before."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """Nothing is kept yet. `clock` gives seconds; a test turns it on at will."""
        self._clock = clock
        self._kept: dict[str, tuple[float, float]] = {}
        """When what ends so is forgotten, and for how long it is kept, by digest."""

    def count(self, ask: Ask) -> Tokens | Deny:
        """What the request costs, or why the vendor refuses it."""
        blocks = list(_READ[ask.wire](ask.body))
        if refused := _refused(ask, blocks):
            return Deny(400, "invalid_request", refused)
        ends = list(_ends(ask, blocks))
        least = next(
            (n for m, n in _LEAST.get(ask.wire, {}).items() if ask.model.startswith(m)), _USUAL
        )
        if ask.wire == "anthropic":
            return self._marked(blocks, ends, least)
        return self._seen(ask, ends, least)

    def _marked(self, blocks: list[_Block], ends: list[tuple[str, int]], least: int) -> Tokens:
        marks = [i for i, block in enumerate(blocks) if block.mark and ends[i][1] >= least]
        looked = {i for mark in marks for i in range(max(0, mark - _LOOKBACK), mark + 1)}
        found = max((i for i in looked if self._has(ends[i][0])), default=-1)
        read = ends[found][1] if found >= 0 else 0
        written = hour = 0
        for mark in marks:
            digest, size = ends[mark]
            fresh = max(0, size - read - written)
            written += fresh
            hour += fresh if blocks[mark].mark == "1h" else 0
            self._keep(digest, _SECONDS[blocks[mark].mark or "5m"])
        return Tokens(ends[-1][1], cache_read=read, cache_write=written, cache_write_1h=hour)

    def _seen(self, ask: Ask, ends: list[tuple[str, int]], least: int) -> Tokens:
        total = ends[-1][1] if ends else 0
        read = max((size for digest, size in ends if self._has(digest)), default=0)
        if ask.wire != "google":
            read -= read % _STEP
        read = read if read >= least else 0
        charged = ask.wire != "google" and ask.model.startswith("gpt-5.6") and total >= least
        for digest, _ in ends:
            self._keep(digest, _SECONDS["5m"])
        return Tokens(total, cache_read=read, cache_write=total - read if charged else 0)

    def _has(self, digest: str) -> bool:
        """Whether it is kept; who reads it makes it last."""
        until, life = self._kept.get(digest, (0.0, 0.0))
        if until <= self._clock():
            return False
        self._kept[digest] = (self._clock() + life, life)
        return True

    def _keep(self, digest: str, seconds: float) -> None:
        _, life = self._kept.get(digest, (0.0, 0.0))
        self._kept[digest] = (self._clock() + max(seconds, life), max(seconds, life))


def _refused(ask: Ask, blocks: list[_Block]) -> str:
    marks = [block for block in blocks if block.mark]
    if len(marks) > _MARKS:
        return (
            f"A maximum of {_MARKS} blocks with cache_control may be provided. Found {len(marks)}."
        )
    if wrong := next((block.wrong for block in marks if block.wrong), ""):
        return f"cache_control cannot be set for {wrong}"
    kept = [block.mark for block in marks]
    if "5m" in kept and "1h" in kept[kept.index("5m") :]:
        return "a ttl='1h' cache_control block must not come after a ttl='5m' cache_control block"
    if len(str(ask.body.get("prompt_cache_key", ""))) > 64:
        return (
            "Invalid 'prompt_cache_key': string too long. Expected a string with maximum length 64"
        )
    return ""


def _ends(ask: Ask, blocks: list[_Block]) -> Iterator[tuple[str, int]]:
    """For each block a digest of all up to it, and how many tokens that is."""
    running, size = hashlib.sha256(f"{ask.wire}:{ask.model}".encode()), 0
    for block in blocks:
        running.update(block.text.encode(errors="replace") + b"\0")
        size += block.size
        yield running.hexdigest(), size


def _plain(value: JsonValue, place: str = "") -> _Block:
    return _Block(place + json.dumps(value, ensure_ascii=False))


def _anthropic(body: Json) -> Iterator[_Block]:
    for tool in objects(body.get("tools")):
        yield _with_mark(tool, "tool")
    system = body.get("system")
    told: JsonValue = [{"type": "text", "text": system}] if isinstance(system, str) else system
    for block in objects(told):
        yield _with_mark(block, "system")
    # Another choice of tools, or thinking on or off, and the messages are read anew.
    manner = json.dumps([body.get("thinking"), body.get("tool_choice")])
    for message in objects(body.get("messages")):
        content = message.get("content")
        said: JsonValue = (
            [{"type": "text", "text": content}] if isinstance(content, str) else content
        )
        for block in objects(said):
            yield _with_mark(block, f"{manner} {message.get('role')}")


def _with_mark(block: dict[str, JsonValue], place: str) -> _Block:
    plain = {key: value for key, value in block.items() if key != "cache_control"}
    control, kind = block.get("cache_control"), block.get("type")
    ttl = str(control.get("ttl") or "5m") if isinstance(control, dict) else None
    wrong = str(kind) if kind in {"thinking", "redacted_thinking"} else ""
    if kind == "text" and not str(block.get("text")).strip():
        wrong = "empty text blocks"
    return _Block(f"{place} {json.dumps(plain, ensure_ascii=False)}", ttl, wrong)


def _chat(body: Json) -> Iterator[_Block]:
    yield _plain(body.get("tools"), "tools")
    yield from (_plain(message) for message in objects(body.get("messages")))


def _responses(body: Json) -> Iterator[_Block]:
    yield _plain([body.get("instructions"), body.get("tools"), body.get("text")])
    yield from (_plain(item) for item in objects(body.get("input")))


def _gemini(body: Json) -> Iterator[_Block]:
    yield _plain([body.get("systemInstruction"), body.get("tools")])
    for content in objects(body.get("contents")):
        yield from (
            _plain(part, str(content.get("role"))) for part in objects(content.get("parts"))
        )


_READ: dict[WireName, Callable[[Json], Iterator[_Block]]] = {
    "anthropic": _anthropic,
    "openai": _responses,
    "openai-chat": _chat,
    "google": _gemini,
}
