"""Plain JSON values: private copies going in, checked conversions coming out."""

from __future__ import annotations

import math
from collections.abc import Mapping

from pydantic import BaseModel, JsonValue

from partsong.contracts.errors import InvalidInput

__all__ = ["copied", "plain"]

_DEEPEST = 100


def copied(state: dict[str, JsonValue]) -> dict[str, JsonValue]:
    """A copy that shares no list or object with the original, so that changing it in place changes nothing else."""
    return {key: _copy(value) for key, value in state.items()}


def _copy(value: JsonValue) -> JsonValue:
    if isinstance(value, dict):
        return {key: _copy(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_copy(inner) for inner in value]
    return value


def plain(value: object, where: str, code: str, depth: int = 0) -> JsonValue:
    """The value as JSON knows it: pydantic models become objects, tuples become lists; everything is copied.

    Raises:
        InvalidInput: `code`, naming the key and the type of what JSON cannot hold.
    """
    kind = type(value)
    if value is None or kind is bool or kind is int:
        return value  # type: ignore[return-value]  # the three types just named
    if isinstance(value, str):
        return _text(value, where, code)
    if isinstance(value, float):
        if not math.isfinite(value):
            raise _refused(code, where, f"{value} is no JSON number", "use None, or a text")
        return float(value)
    if isinstance(value, int):
        return int(value)
    if depth >= _DEEPEST:
        raise _refused(
            code, where, f"nested deeper than {_DEEPEST} levels, or within itself", "flatten it"
        )
    if isinstance(value, BaseModel):
        return plain(value.model_dump(mode="json"), where, code, depth + 1)
    if isinstance(value, Mapping):
        return {
            _key(key, where, code): plain(inner, f"{where}.{key}", code, depth + 1)
            for key, inner in value.items()
        }
    if isinstance(value, list | tuple):
        return [
            plain(inner, f"{where}[{index}]", code, depth + 1) for index, inner in enumerate(value)
        ]
    raise _refused(code, where, f"a {_name(kind)} is no JSON value", _advice(value))


def _text(value: str, where: str, code: str) -> str:
    text = str.__str__(value)  # also of a StrEnum's member
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError as error:
            raise _refused(
                code,
                where,
                f"the text has a lone surrogate at {error.start}",
                "decode bytes with errors='replace'",
            ) from None
    return text


def _key(key: object, where: str, code: str) -> str:
    if not isinstance(key, str):
        raise _refused(
            code, where, f"key {key!r:.60} is a {_name(type(key))}", "use text as keys: str(key)"
        )
    return _text(key, where, code)


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
            return "return text, numbers, booleans, None, lists and objects of these, or pydantic models"


def _refused(code: str, where: str, message: str, fix: str) -> InvalidInput:
    return InvalidInput(code, f"{where}: {message}", where=where, fix=fix, fault="tool")
