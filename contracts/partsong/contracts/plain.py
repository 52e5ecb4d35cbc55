"""The gate for values: what enters a state, a request or the log is JSON that every other program reads the same.

One rule for all doors, in one process and on the bus: run input, signal, fork, schedule, edit, what functions, tools and
agents return, what they emit. Refused are what JSON has no word for (NaN, bytes, dates, sets), and what other programs
read differently or not at all: a NUL in a text (CEL and PostgreSQL), half a character (UTF-8), an integer of more than 64
bits, and what is nested deeper than others descend.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Mapping
from typing import NoReturn

from pydantic import BaseModel, JsonValue

from partsong.contracts.errors import Fault, InvalidInput

__all__ = ["DEEPEST", "copied", "plain", "read_json"]

DEEPEST = 100
"""Levels of lists and objects in a value; some parsers descend no further than 128."""
_LEAST, _MOST = -(2**63), 2**64 - 1


def copied(state: dict[str, JsonValue]) -> dict[str, JsonValue]:
    """A copy that shares no list or object with the original, so that changing it in place changes nothing else."""
    return {key: _copy(value) for key, value in state.items()}


def _copy(value: JsonValue) -> JsonValue:
    if isinstance(value, dict):
        return {key: _copy(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_copy(inner) for inner in value]
    return value


def plain(
    value: object, where: str, code: str, depth: int = 0, fault: Fault = "caller"
) -> JsonValue:
    """The value as JSON knows it: pydantic models become objects, tuples become lists; everything is copied.

    Raises:
        InvalidInput: `code`, naming the key and the type of what JSON cannot hold.
    """
    kind = type(value)
    if value is None or kind is bool:
        return value  # type: ignore[return-value]  # the two types just named
    if kind is str and value.isascii() and "\0" not in value:  # type: ignore[attr-defined,operator]  # most are
        return value  # type: ignore[return-value]
    if isinstance(value, str):
        return _text(value, where, code, fault)
    if isinstance(value, float):
        if not math.isfinite(value):
            raise _refused(code, where, f"{value} is no JSON number", "use None, or a text", fault)
        return float(value)
    if isinstance(value, int):
        if not _LEAST <= value <= _MOST:
            said = f"an integer of {value.bit_length()} bits, at most 64 are read everywhere"
            raise _refused(code, where, said, "make it a text", fault)
        return int(value)
    if depth >= DEEPEST:
        said = f"nested deeper than {DEEPEST} levels, or within itself"
        raise _refused(code, where, said, "flatten it", fault)
    if isinstance(value, BaseModel):
        return plain(_dumped(value, where, code, fault), where, code, depth + 1, fault)
    if isinstance(value, Mapping):
        return {
            _key(key, where, code, fault): plain(inner, f"{where}.{key}", code, depth + 1, fault)
            for key, inner in value.items()
        }
    if isinstance(value, list | tuple):
        return [
            plain(inner, f"{where}[{index}]", code, depth + 1, fault)
            for index, inner in enumerate(value)
        ]
    raise _refused(code, where, f"a {_name(kind)} is no JSON value", _advice(value), fault)


def _dumped(value: BaseModel, where: str, code: str, fault: Fault) -> object:
    try:
        return value.model_dump(mode="json")
    except (
        Exception
    ) as error:  # whatever a serializer of its own raises, and bytes that are no UTF-8
        said = f"a {_name(type(value))} cannot be written as JSON: {type(error).__name__}: {error}"
        fix = "give its fields values, or serializers, that make JSON of them"
        raise _refused(code, where, said, fix, fault) from error


def read_json(text: str | bytes) -> object:
    """What somebody sent as JSON, by its grammar alone: no NaN, no integer of 5,000 digits, no key that stands twice.

    Of two values under one key some programs read the first, others the last. `plain` says what may enter.

    Raises:
        ValueError: it is none, or nested deeper than anything may be.
    """
    try:
        return json.loads(text, parse_constant=_no_number, object_pairs_hook=_once)
    except RecursionError:
        raise ValueError(f"it is nested deeper than {DEEPEST} levels") from None


def _no_number(said: str) -> NoReturn:
    raise ValueError(f"{said} is no JSON number")


def _once(pairs: list[tuple[str, object]]) -> dict[str, object]:
    made = dict(pairs)
    if len(made) < len(pairs):
        twice = next(key for key, times in Counter(key for key, _ in pairs).items() if times > 1)
        raise ValueError(f"key {twice!r:.60} stands twice in one object")
    return made


def _text(value: str, where: str, code: str, fault: Fault) -> str:
    text = str.__str__(value)  # also of a StrEnum's member
    if "\0" in text:
        said = f"the text has a NUL at {text.index(chr(0))}"
        raise _refused(code, where, said, r"take it out: text.replace('\0', '')", fault)
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError as error:
            said = f"the text has a lone surrogate at {error.start}"
            fix = "decode bytes with errors='replace'"
            raise _refused(code, where, said, fix, fault) from None
    return text


def _key(key: object, where: str, code: str, fault: Fault) -> str:
    if not isinstance(key, str):
        said = f"key {key!r:.60} is a {_name(type(key))}"
        raise _refused(code, where, said, "use text as keys: str(key)", fault)
    return _text(key, where, code, fault)


def _name(kind: type) -> str:
    return (
        kind.__qualname__
        if kind.__module__ == "builtins"
        else f"{kind.__module__}.{kind.__qualname__}"
    )


def _advice(value: object) -> str:
    match value:
        case set() | frozenset():
            return "use a list: sorted(…)"
        case bytes() | bytearray():
            return "decode it, or store it elsewhere and return its address"
        case _ if hasattr(value, "isoformat"):
            return "use .isoformat()"
        case _ if hasattr(value, "tolist"):
            return "use .tolist()"
        case _ if hasattr(value, "__dataclass_fields__"):
            return "use dataclasses.asdict(…)"
        case _:
            return (
                "use text, numbers, booleans, None, lists and objects of these, or pydantic models"
            )


def _refused(code: str, where: str, message: str, fix: str, fault: Fault) -> InvalidInput:
    return InvalidInput(code, f"{where}: {message}", where=where, fix=fix, fault=fault)
