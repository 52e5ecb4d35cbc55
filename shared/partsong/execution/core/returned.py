"""What a function or tool returned, read as the log wants it."""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import islice

from pydantic import JsonValue
from pydantic_core import PydanticSerializationError, to_jsonable_python

from partsong.contracts.errors import InvalidInput
from partsong.contracts.graph.function_results import Goto, Overwrite, Route
from partsong.contracts.graph.reducers import OVERWRITE, as_data
from partsong.contracts.plain import plain
from partsong.contracts.talk.media import kind_of, left_out

__all__ = ["Content", "Returned", "capped", "content", "returned"]

_BAD_RETURN = "function.bad_return"


@dataclass(frozen=True, slots=True)
class Returned:
    """A function's update of the state, and the outcome label it chose, if any."""

    update: dict[str, JsonValue] | None
    label: str | None = None
    more: tuple[dict[str, JsonValue], ...] = ()
    """Further updates, in order."""
    goto: tuple[str, ...] = ()
    private: dict[str, JsonValue] | None = None


@dataclass(frozen=True, slots=True)
class Content:
    """A tool's result."""

    value: JsonValue


def returned(value: object) -> Returned:
    """Read a function's return value: a dict, several dicts, None, a `Route` or a `Goto`.

    Raises:
        InvalidInput: `function.bad_return`, saying what to return instead.
    """
    match value:
        case None:
            return Returned(None)
        case Route(label=str() as label, update=update, private=private) if label:
            _text(label, "label")
            return Returned(_optional(update), label, private=_optional(private))
        case Route():
            raise _bad(f"a Route with the label {value.label!r}", "a label is text")
        case Goto(targets=targets, update=update, private=private):
            if not targets or not all(isinstance(target, str) for target in targets):
                raise _bad(f"Goto with the targets {targets!r}", "a target is the name of a node")
            for target in targets:
                _text(target, "target")
            return Returned(_optional(update), goto=targets, private=_optional(private))
        case list() | tuple() if value and all(isinstance(one, Mapping) for one in value):
            first, *more = (_update(one) for one in value)
            return Returned(first, more=tuple(more))
        case Mapping():
            return Returned(_update(value))
        case _:
            raise _bad(
                _described(value),
                "return a dict of the keys to write, a list of such dicts, None, Route(label, update) or Goto(node)",
            )


def _text(value: str, where: str) -> None:
    """Refuse a name that cannot be written down."""
    plain(value, where, _BAD_RETURN, fault="tool")


def _optional(value: object) -> dict[str, JsonValue] | None:
    return None if value is None else _update(value)


def _update(value: object) -> dict[str, JsonValue]:
    if not isinstance(value, Mapping):
        raise _bad(f"a Route with {_described(value)} as its update", "an update is a dict or None")
    whole = {
        key: {OVERWRITE: entry.value} if isinstance(entry, Overwrite) else entry
        for key, entry in value.items()
    }
    update = plain(whole, "update", _BAD_RETURN, fault="tool")
    assert isinstance(update, dict)  # noqa: S101  # a mapping becomes an object
    ours = {key for key, entry in value.items() if isinstance(entry, Overwrite)}
    return {key: entry if key in ours else as_data(entry) for key, entry in update.items()}


def _described(value: object) -> str:
    if inspect.isgenerator(value) or inspect.isasyncgen(value):
        return "a generator (a function node returns once; use the context's emit to show progress)"
    kind = type(value).__qualname__
    return (
        f"a {kind}: {value!r:.80}"
        if isinstance(value, str | int | float | list | tuple)
        else f"a {kind}"
    )


def _bad(what: str, fix: str) -> InvalidInput:
    return InvalidInput(_BAD_RETURN, f"returned {what}", fix=fix, fault="tool")


def content(value: object, cap: int, hide: Callable[[str], str] | None = None) -> Content:
    """A tool's result as JSON: whatever pydantic can write, at most `cap` characters of it, its texts as `hide` leaves them.

    Raises:
        InvalidInput: `tool.bad_return` for what JSON cannot hold.
    """
    if inspect.isgenerator(value):  # it may have no end, and no more than this is shown of it
        value = list(islice(value, cap))
    try:
        value = to_jsonable_python(_spoken(value))
    except (PydanticSerializationError, ValueError) as error:
        raise InvalidInput(
            "tool.bad_return",
            f"returned {_described(value)}: {error}",
            fix="return text, or values that JSON can hold; images and files are not supported yet",
            fault="tool",
        ) from None
    result = plain(value, "result", "tool.bad_return", fault="tool")
    return Content(capped(result if hide is None else _hidden(result, hide), cap))


def _spoken(value: object) -> object:
    """The value with bytes that are no text, such as an image, left out and said."""
    match value:
        case bytes() | bytearray():
            data = bytes(value)
            try:
                return data.decode()
            except UnicodeDecodeError:
                return left_out(kind_of(data), len(data))
        case list() | tuple():
            return [_spoken(inner) for inner in value]
        case dict():
            return {key: _spoken(inner) for key, inner in value.items()}
        case _:
            return value


def _hidden(value: JsonValue, hide: Callable[[str], str]) -> JsonValue:
    match value:
        case str():
            return hide(value)
        case list():
            return [_hidden(inner, hide) for inner in value]
        case dict():
            return {hide(key): _hidden(inner, hide) for key, inner in value.items()}
        case _:
            return value


def capped(value: JsonValue, cap: int) -> JsonValue:
    """The value as it is, or, if it is longer than `cap` characters, the beginning of its text and a note."""
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    if len(text) <= cap:
        return value
    return f"{text[:cap]}\n[cut: {len(text)} characters in all, these are the first {cap}]"
