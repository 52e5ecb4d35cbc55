"""CEL expressions over a run's state or a call's arguments: conditions, and transforms.

CEL has no loops, no clock and no I/O, so the engine can evaluate what users write (https://cel.dev). Numbers follow
CEL: an integer and a double do not mix in arithmetic, `double(state.n) * 1.5` says what is meant.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from functools import lru_cache
from typing import cast

from pydantic import JsonValue

from partsong.contracts.errors import InvalidInput

__all__ = ["check_expression", "compute", "holds"]

_Program = Callable[[Mapping[str, object]], object]


def check_expression(expression: str, where: str) -> None:
    """Refuse what is not CEL; without the engine's packages nothing is checked here, the engine will.

    Raises:
        InvalidInput: `cel.syntax`.
    """
    try:
        _program(expression)
    except ImportError:
        return
    except InvalidInput as error:
        raise InvalidInput.of(error.problem.model_copy(update={"where": where})) from None


def holds(expression: str, values: Mapping[str, JsonValue], name: str = "state") -> bool:
    """Whether a condition is true; the expression knows the values as `name`.

    Raises:
        InvalidInput: `cel.failed`, or `cel.not_bool` for a value that is neither true nor false.
    """
    value = compute(expression, values, name)
    if not isinstance(value, bool):
        raise InvalidInput(
            "cel.not_bool",
            f"{expression!r} gives {value!r:.60}, a condition gives true or false",
            fix="compare it with something",
        )
    return value


def compute(expression: str, values: Mapping[str, JsonValue], name: str = "state") -> JsonValue:
    """The value of an expression; times become RFC 3339 text, durations seconds.

    Raises:
        InvalidInput: `cel.failed`, saying what there is.
    """
    program = _program(expression)
    try:
        return _plain(program({name: values}))
    except Exception as error:
        said = f"no key {error}" if isinstance(error, KeyError) else str(error)
        keys = ", ".join(sorted(values)) or "none"
        raise InvalidInput(
            "cel.failed",
            f"{expression!r}: {said[:200]} (keys of {'the state' if name == 'state' else name}: {keys[:200]})",
            fix=f"has({name}.key) asks whether a key is there; double(x) makes an integer a double",
        ) from None


@lru_cache(maxsize=1024)
def _program(expression: str) -> _Program:
    import cel

    try:
        return cast("_Program", cel.compile(expression).execute)
    except ValueError as error:
        raise InvalidInput(
            "cel.syntax", f"{expression!r} is not CEL: {' '.join(str(error).split())[:200]}"
        ) from None


def _plain(value: object) -> JsonValue:
    match value:
        case None | bool() | int() | float() | str():
            return value
        case list():
            return [_plain(element) for element in value]
        case dict():
            # CEL keeps no order of keys; in this one, the same expression always gives the same text.
            return {str(key): _plain(value[key]) for key in sorted(value, key=str)}
        case datetime():
            return value.isoformat().replace("+00:00", "Z")
        case timedelta():
            return value.total_seconds()
        case _:
            raise TypeError(f"a {type(value).__name__} is no JSON value")
