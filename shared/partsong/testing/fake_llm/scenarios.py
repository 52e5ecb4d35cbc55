"""Scenarios: what the fake answers, picked from the model's name.

text:N     N words (any name nobody knows does the same with 12)
think      reasoning with opaque state, then text
tool       a call of the first tool offered; when its result is in the request, text that quotes it
tools2     the same with two parallel calls
badjson    a tool call whose arguments break off, though the stream ends properly
cut        the body ends without the terminal marker; `cut:N` after N bytes, `tear` in the middle of an event
drop       the connection is closed in the middle; `reset` resets it
stall      a few words, then silence until the client leaves
slow:N     N words with a pause between them
flood:N    N words as fast as the socket takes them
err        an error event in the middle; `err:rate` says rate limited
refuse     the model declines; `blocked` a filter does, `length` the limit of tokens is met, `pause` the turn is not over
flaky:N    the first N requests get 503, then text
rNNN       HTTP error NNN; 429 takes `:after :ms :date :info :never :quota :none`, the forms of a retry hint
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import timedelta
from email.utils import format_datetime

from pydantic import JsonValue

from partsong.runtime.clock import now
from partsong.testing.fake_llm.steps import (
    Answer,
    Ask,
    Break,
    Call,
    Cut,
    Deny,
    Drop,
    ErrorKind,
    Finish,
    Offer,
    Refuse,
    Reply,
    Reset,
    Say,
    Seal,
    Stall,
    Step,
    Think,
    Wait,
)

__all__ = ["SCENARIOS", "reply", "words"]

_SONG = "the quick brown fox jumps over the lazy dog and sings its own part of the song"


def words(count: int) -> Iterator[str]:
    """So many words, each with its space, always the same ones."""
    song = _SONG.split()
    for index in range(count):
        yield song[index % len(song)] + ("" if index == count - 1 else " ")


def _say(count: int) -> tuple[Say, ...]:
    return tuple(Say(word) for word in words(count))


def _text(_ask: Ask, rest: str) -> Reply:
    return Answer((*_say(_number(rest, 12)), Finish()))


def _think(_ask: Ask, _rest: str) -> Reply:
    thoughts = (Think("first "), Think("this, "), Think("then that"))
    return Answer((*thoughts, Seal("c2VhbGVk"), *_say(6), Finish()))


def _tool(ask: Ask, _rest: str) -> Reply:
    return _quote(ask) or Answer((Say("Let me look. "), _call(ask, 0), Finish("tool_calls")))


def _tools2(ask: Ask, _rest: str) -> Reply:
    return _quote(ask) or Answer((_call(ask, 0), _call(ask, 1), Finish("tool_calls")))


def _quote(ask: Ask) -> Reply | None:
    if not ask.results:
        return None
    said = "The tool says: " + "; ".join(result.text for result in ask.results)
    return Answer((*(Say(word + " ") for word in said.split(" ")), Finish()))


_LOOKUP = Offer("lookup", {"properties": {"query": {"type": "string"}}})


def _call(ask: Ask, index: int) -> Call:
    offer = ask.tools[index % len(ask.tools)] if ask.tools else _LOOKUP
    args = json.dumps(_example({"type": "object", **offer.schema}, ask.prompt))
    return Call(offer.name, args, id=f"call_{ask.nth}_{index}", state="c2lnbmVk")


def _example(schema: JsonValue, text: str) -> JsonValue:
    """A value that fits a plain JSON Schema; text becomes what the user said."""
    if not isinstance(schema, dict):
        return text
    choices, properties = schema.get("enum"), schema.get("properties")
    if isinstance(choices, list) and choices:
        return choices[0]
    match schema.get("type"):
        case "object":
            fields = properties if isinstance(properties, dict) else {}
            return {name: _example(inner, text) for name, inner in fields.items()}
        case "array":
            return [_example(schema.get("items"), text)]
        case "integer" | "number":
            return 1
        case "boolean":
            return True
        case _:
            return text


def _badjson(ask: Ask, _rest: str) -> Reply:
    name = ask.tools[0].name if ask.tools else "lookup"
    return Answer((Call(name, '{"query": "Par', id="call_bad"), Finish("malformed_tool_call")))


def _cut(_ask: Ask, rest: str) -> Reply:
    if rest.isdigit():
        return Answer((*_say(12), Finish()), cut_after=int(rest))
    return Answer((*_say(3), Cut()))


def _slow(_ask: Ask, rest: str) -> Reply:
    steps: list[Step] = []
    for word in words(_number(rest, 20)):
        steps += [Say(word), Wait(0.02)]
    return Answer((*steps, Finish()))


def _err(_ask: Ask, rest: str) -> Reply:
    kind: ErrorKind = "rate_limited" if rest == "rate" else "overloaded"
    return Answer((*_say(3), Break(kind, "the fake breaks off")))


def _flaky(ask: Ask, rest: str) -> Reply:
    if ask.nth < _number(rest, 1):
        return _deny(503, "")
    return Answer((*_say(6), Finish()))


_KIND: dict[int, ErrorKind] = {
    401: "auth",
    403: "auth",
    429: "rate_limited",
    503: "overloaded",
    529: "overloaded",
}


def _deny(status: int, hint: str) -> Deny:
    kind: ErrorKind = (
        "quota"
        if hint == "quota"
        else _KIND.get(status, "server" if status >= 500 else "invalid_request")
    )
    headers: dict[str, str] = {}
    retry_in: float | None = None
    match hint:
        case "ms":
            headers = {"retry-after-ms": "1500", "retry-after": "9"}
        case "date":
            moment = now().replace(microsecond=0)
            headers = {
                "date": format_datetime(moment, usegmt=True),
                "retry-after": format_datetime(moment + timedelta(seconds=3), usegmt=True),
            }
        case "info":
            retry_in = 4.5
        case "never":
            headers = {"x-should-retry": "false", "retry-after": "2"}
        case "after":
            headers = {"retry-after": "2"}
        case "" if status == 429:
            headers = {"retry-after": "2"}
        case _:
            pass
    return Deny(status, kind, f"the fake answers {status}", headers, retry_in)


def _number(text: str, default: int) -> int:
    return int(text) if text.isdigit() else default


def _fixed(*steps: Step) -> Callable[[Ask, str], Reply]:
    return lambda _ask, _rest: Answer(steps)


SCENARIOS: dict[str, Callable[[Ask, str], Reply]] = {
    "text": _text,
    "think": _think,
    "tool": _tool,
    "tools2": _tools2,
    "badjson": _badjson,
    "cut": _cut,
    "tear": _fixed(*_say(3), Cut(torn=True)),
    "drop": _fixed(*_say(3), Drop()),
    "reset": _fixed(*_say(3), Reset()),
    "stall": _fixed(*_say(3), Stall()),
    "slow": _slow,
    "flood": lambda _ask, rest: Answer((*_say(_number(rest, 10_000)), Finish())),
    "err": _err,
    "refuse": _fixed(Refuse("I will not do that."), Finish("refusal")),
    "blocked": _fixed(Say("As to "), Finish("blocked")),
    "length": _fixed(*_say(4), Finish("length")),
    "pause": _fixed(*_say(4), Finish("pause")),
    "flaky": _flaky,
}
"""Scenarios by the first word of the model's name; the rest of the name is their argument."""


def reply(ask: Ask) -> Reply:
    """The answer that the model's name asks for."""
    name, _, rest = ask.model.partition(":")
    if len(name) == 4 and name[0] == "r" and name[1:].isdigit():
        return _deny(int(name[1:]), rest)
    return SCENARIOS.get(name, _text)(ask, rest)
