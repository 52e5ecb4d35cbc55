"""The port of a wire format: how a request is read and an answer is written, and which path belongs to which."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Protocol

from pydantic import JsonValue

from partsong.testing.fake_llm.steps import Ask, Call, Deny, Step, Tokens, WireName

__all__ = [
    "Json",
    "Voice",
    "Wire",
    "counted",
    "event_bytes",
    "json_bytes",
    "objects",
    "pieces",
    "text_of",
]

Json = Mapping[str, JsonValue]


class Voice(Protocol):
    """Writes the steps of one answer; remembers which block it is in."""

    tokens: Tokens
    """What was said so far costs this."""

    def speak(self, step: Step) -> Iterator[bytes]:
        """The events of one step, each as it goes over the wire; none for a step that is not said."""
        ...


class Wire(Protocol):
    """One wire format."""

    name: WireName

    def ask(self, path: str, body: Json) -> Ask:
        """The request, read."""
        ...

    def voice(self, ask: Ask, number: int, tokens: Tokens) -> Voice:
        """Somebody to write the answer; `number` tells answers apart, `tokens` says what the request costs."""
        ...

    def denial(self, deny: Deny) -> bytes:
        """The body of an HTTP error."""
        ...


def counted(tokens: Tokens, text: str, *, thought: bool = False) -> Tokens:
    """The tokens after one more text; a word is a token."""
    size = max(1, len(text.split()))
    return replace(
        tokens,
        output_total=tokens.output_total + size,
        reasoning=tokens.reasoning + size * thought,
    )


_HALF = re.compile("[\ud800-\udfff]")


def json_bytes(value: JsonValue) -> bytes:
    """Compact JSON; half a character, which no UTF-8 has, is escaped as servers do it."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return _HALF.sub(lambda sign: f"\\u{ord(sign[0]):04x}", text).encode()


def event_bytes(kind: str, data: JsonValue) -> bytes:
    """A server-sent event; half a character in its name goes out as bytes that are no UTF-8."""
    return b"event: %s\ndata: %s\n\n" % (kind.encode(errors="surrogatepass"), json_bytes(data))


def pieces(call: Call) -> Iterator[str]:
    """A call's arguments in about as many pieces as it wants, so that they are seen to stream."""
    size = max(1, -(-len(call.args) // max(1, call.pieces)))
    for start in range(0, len(call.args), size):
        yield call.args[start : start + size]


def objects(value: JsonValue) -> Iterator[dict[str, JsonValue]]:
    """The objects in a list; nothing if it is no list."""
    if isinstance(value, list):
        yield from (element for element in value if isinstance(element, dict))


def text_of(value: JsonValue) -> str:
    """The text in a content that is text, or a list of objects with `text`, or any other JSON."""
    if isinstance(value, str):
        return value
    if isinstance(value, list):
        return "".join(str(part["text"]) for part in objects(value) if "text" in part)
    return "" if value is None else json.dumps(value, ensure_ascii=False)
