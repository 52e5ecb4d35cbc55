"""Draws what a case is made of: hostile texts, numbers and JSON, and changes to what was valid.

Small generators of our own, not strategies of a library: a case is named by seed, kind and number, and drawn from these
three alone. So it is the same in another process, beside other cases, and with the next version of everything else.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Sequence
from typing import TypeVar

from pydantic import JsonValue

__all__ = ["Draw"]

T = TypeVar("T")

_TEXTS = (
    "", "a", "b", "n", "x" * 300, "\u202etxt.exe", "a\0b", "../../etc/passwd", "a.b", "*", ">", "a b", "\ud800", "\udfff!",
    "\U0001f9e8" * 40, "sha256:" + "0" * 64, "{{n}}", "{{a.b.0}}", "{{ n }} and {{x}}", "%s%n", "1e999", "NaN", "__proto__",
    "__overwrite__", "__data__", "r~1", "~", "x/y", "tests.fuzz.work:step", "os:system", "scripted:echo", "auto:nobody",
    "2026-13-45T99:99:99Z", "0 0 0 30 2 *", "@every 1ms", "START", "END", "run", "\x1b]0;title\x07\x1b[2J", "\x9b31m", "\r\n",
    "\u2028", "\ufeff", "e\u0301" * 30, "'; drop table runs; --", "<script>alert(1)</script>", "null", "-0", "0x10", "\u0660",
)  # fmt: skip
_NUMBERS: tuple[JsonValue, ...] = (
    0, -1, 1, 2, 3, 100, 2**31, 2**53 + 1, 2**63 - 1, 2**63, 2**64, -(2**63) - 1, 10**400, 1e308, -1e308, 5e-324, 0.1, -0.0,
    True, False, None, float("inf"), float("-inf"), float("nan"),
)  # fmt: skip
_KEYS = (
    "id", "run_id", "new_run_id", "graph", "input", "options", "name", "nodes", "edges", "entry", "type", "function", "from",
    "to", "on", "when", "else", "goto", "seq", "values", "outputs", "payload", "every", "cron", "timezone", "overlap", "v",
    "reason", "thread", "labels", "max_steps", "max_cost", "deadline", "webhook", "call_id", "attempt", "kind", "tool", "args",
    "state", "agent", "model", "tools", "plugins", "max_visits", "join", "retry", "state_schema", "reducers", "memory",
    "signal", "seconds", "until", "over", "into", "set", "title", "show", "editable", "edit_schema", "$ref", "__overwrite__",
)  # fmt: skip


class Draw:
    """One case's luck: everything that is chosen for it, in order."""

    def __init__(self, name: str) -> None:
        """The same name draws the same."""
        self.random = random.Random(name)

    def chance(self, share: float) -> bool:
        return self.random.random() < share

    def one(self, of: Sequence[T]) -> T:
        return self.random.choice(of)

    def count(self, least: int, most: int) -> int:
        return self.random.randint(least, most)

    def some(self, make: Callable[[], T], least: int, most: int) -> list[T]:
        return [make() for _ in range(self.count(least, most))]

    def weighted(self, of: dict[T, float]) -> T:
        return self.random.choices([*of], [*of.values()])[0]

    def text(self) -> str:
        """A text that somebody could stumble over, or just any."""
        match self.count(0, 9):
            case 0:
                return "".join(self.one(_TEXTS) for _ in range(self.count(2, 4)))
            case 1:
                return "".join(chr(self.count(0, 0x2FF)) for _ in range(self.count(0, 12)))
            case _:
                return self.one(_TEXTS)

    def key(self) -> str:
        return self.one(_KEYS) if self.chance(0.8) else self.text()

    def number(self) -> JsonValue:
        return self.one(_NUMBERS)

    def value(self, depth: int = 0) -> JsonValue:
        """Any JSON, and what Python takes for it."""
        kind = self.random.random()
        if depth > 3 or kind < 0.3:
            return self.text()
        if kind < 0.5:
            return self.number()
        if kind < 0.7:
            return self.some(lambda: self.value(depth + 1), 0, 4)
        if kind < 0.72:
            return self.nested(self.one((50, 101, 150, 400)))
        return {self.key(): self.value(depth + 1) for _ in range(self.count(0, 5))}

    def nested(self, levels: int) -> JsonValue:
        """Lists or objects in each other."""
        found: JsonValue = self.number()
        for _ in range(levels):
            found = [found] if self.chance(0.5) else {self.one(("a", "b", "not", "allOf")): found}
        return found

    def sane(self, depth: int = 0) -> JsonValue:
        """JSON that passes every gate."""
        match self.count(0, 5 if depth < 3 else 3):
            case 0:
                return self.one(("", "text", "ünï", "1.5", "true"))
            case 1:
                return self.one((0, 1, -7, 2.5, 10**12))
            case 2:
                return self.one((True, False, None))
            case 3:
                return self.some(lambda: self.count(-3, 9), 0, 5)
            case 4:
                return self.some(lambda: self.sane(depth + 1), 0, 4)
            case _:
                return {
                    self.one(("a", "b", "n", "x", "item")): self.sane(depth + 1)
                    for _ in range(self.count(0, 4))
                }

    def changed(self, value: JsonValue, times: int = 1) -> JsonValue:
        """JSON that differs from `value` somewhere: another value, one more, one fewer, another name."""
        for _ in range(times):
            value = self._changed(value)
        return value

    def _changed(self, value: JsonValue) -> JsonValue:
        if isinstance(value, dict) and value and self.chance(0.85):
            key = self.one([*value])
            match self.count(0, 9):
                case 0:
                    return {other: inner for other, inner in value.items() if other != key}
                case 1:
                    return {**value, self.key(): self.value(2)}
                case 2:
                    return {
                        self.key() if other == key else other: inner
                        for other, inner in value.items()
                    }
                case _:
                    return {**value, key: self._changed(value[key])}
        if isinstance(value, list) and value and self.chance(0.85):
            at = self.count(0, len(value) - 1)
            match self.count(0, 5):
                case 0:
                    return value[:at] + value[at + 1 :]
                case 1:
                    return [*value, value[at]]
                case _:
                    return [*value[:at], self._changed(value[at]), *value[at + 1 :]]
        return self.value(1)

    def body(self, value: JsonValue) -> bytes:
        """The value as bytes on the wire: mostly as JSON, sometimes as what only looks like it."""
        text = _dumped(value)
        match self.count(0, 39):
            case 0:
                return text[: self.count(0, len(text))]
            case 1:
                return self.random.randbytes(self.count(0, 200))
            case 2:
                return b"[" * 3000 + b"]" * 3000
            case 3:
                return text.rstrip(b"}") + b',"deep":' + b'{"a":' * 1000 + b"1" + b"}" * 1000 + b"}"
            case 4:
                return text.rstrip(b"}") + b',"id":7,"id":"twice"}'
            case 5:
                return text.decode().encode(self.one(("utf-16", "utf-32", "utf-8-sig", "utf-7")))
            case 6:
                return text.replace(
                    b"a", self.one((b"\xff", b"\xed\xa0\x80", b"\x00", b"\xc0\x80")), 1
                )
            case 7:
                return text.rstrip(b"}") + b',"huge":' + b"9" * 5000 + b"}"
            case 8:
                return (
                    text.rstrip(b"}")
                    + b',"pad":"'
                    + b"x" * self.one((70_000, 300_000, 990_000, 1_100_000))
                    + b'"}'
                )
            case 9:
                return json.dumps(value, indent=3).encode()
            case _:
                return text


def _dumped(value: JsonValue) -> bytes:
    return json.dumps(value).encode()
