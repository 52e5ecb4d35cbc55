"""CEL within bounds: what may be written, what is cheap, and what an expression is worth (https://cel.dev).

Google's own implementation (cel-cpp) does the work. It is bounded in depth (32) and in iterations of a macro, not in
what one operation costs: `map(x, x + x)` 25 times takes gigabytes. Hence `cost`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime, timedelta
from functools import lru_cache
from math import isfinite
from typing import TYPE_CHECKING

from pydantic import JsonValue

from partsong.contracts.errors import InvalidInput, Unavailable
from partsong.contracts.foreign.size import size_within, unsayable

if TYPE_CHECKING:
    from cel_expr_python.cel import Env, Expression

__all__ = ["LESS", "LONGEST", "check", "cost", "evaluate", "named", "require"]

LONGEST = 4096
"""Characters of an expression."""

_SMALL = 256 * 1024
"""Bytes of the values an expression is asked of in passing."""
_WORK = 2_000_000
"""What it may cost in passing, some 20 ms."""
_TAKEN_OVER = 8
"""So often every value is gone over before and after: CEL takes all of them over, and gives them back."""
_ONCE_MORE = 20
"""In so many characters an expression can go over a value once more, as by comparing it."""
_COPY = 5
"""A `+` may copy all that its sides hold."""
_MOST_PLUS = 8

_ASKED_MORE_THAN_ONCE = re.compile(
    r"\b(?:all|exists|exists_one|existsOne|filter|map|transformList|transformMap|transformMapEntry|sortBy|matches)\s*\("
)
"""Macros, which evaluate a part once per element, and `matches`, whose pattern may come from the values."""


def check(expression: str, name: str = "state") -> None:
    """Refuse what is no CEL, or more than CEL's own bounds and ours.

    Raises:
        InvalidInput: `cel.syntax`, `cel.too_long`.
        Unavailable: `cel.not_installed`.
    """
    _program(expression, name)


def require() -> None:
    """Refuse to go on where no expression can be evaluated.

    Raises:
        Unavailable: `cel.not_installed`, naming the extra.
    """
    try:
        from cel_expr_python import cel  # noqa: F401
    except ImportError as error:
        raise Unavailable(
            "cel.not_installed",
            f"an expression in CEL needs the package 'cel-expr-python': {error}",
            fix="pip install 'partsong[engine]'",
        ) from error


def cost(expression: str, spoken_of: Mapping[str, JsonValue]) -> int | None:
    """What evaluating it costs at most, in units of some 10 ns; None if that is too much to be done in passing."""
    plus = expression.count("+")
    if plus > _MOST_PLUS or _ASKED_MORE_THAN_ONCE.search(expression):
        return None
    each = _TAKEN_OVER + len(expression) // _ONCE_MORE + _COPY * plus
    size = size_within(spoken_of, min(_SMALL, _WORK // each))
    return None if size is None else size * each


def evaluate(expression: str, spoken_of: dict[str, JsonValue], name: str) -> JsonValue:
    """What an expression is worth; times become RFC 3339 text, durations seconds.

    Raises:
        InvalidInput: `cel.syntax`, `cel.too_long`, `cel.failed`.
        Unavailable: `cel.not_installed`.
    """
    program = _program(expression, name)
    # CEL would cut a text at its first NUL: "admin\0x" == "admin" would be true.
    if (found := unsayable(spoken_of)) is not None:
        raise _failed(expression, name, f"{found} cannot be spoken of")
    try:
        result = program.eval(data={name: spoken_of})
        # An error comes back as a value whose plain form is a text.
        if result.type().name() == "ERROR":
            raise _failed(expression, name, _plainly(str(result.plain_value())))
        return _plain(result.plain_value())
    except InvalidInput:
        raise
    except MemoryError:
        raise _failed(expression, name, "it takes more memory than there is") from None
    except Exception as error:
        raise _failed(expression, name, str(error)) from None


def named(expression: str, values: Mapping[str, JsonValue], name: str) -> dict[str, JsonValue]:
    """The values that an expression can speak of: all, unless it only ever says `state.key`.

    CEL takes over every value before it begins, and refuses a number of more than 64 bits: neither need be the lot of
    an expression that speaks of something else.
    """
    keys: set[str] = set()
    for said in _uses(name).finditer(expression):
        if said["key"] is None:
            return dict(values)
        keys.add(said["key"])
    return {key: values[key] for key in keys if key in values}


@lru_cache(maxsize=16)
def _uses(name: str) -> re.Pattern[str]:
    return re.compile(rf"\b{name}\b(?:\.(?P<key>[A-Za-z_][A-Za-z0-9_]*))?")


def _failed(expression: str, name: str, said: str) -> InvalidInput:
    if _ITERATIONS in said:
        return InvalidInput("cel.budget", f"{expression!r:.300}: {said[:200]}", fix=LESS)
    return InvalidInput(
        "cel.failed",
        f"{expression!r:.300}: {said[:200]}",
        fix=f"has({name}.key) asks whether a key is there; double(x) makes an integer a double",
    )


_ITERATIONS = "Iteration budget exceeded"
LESS = "ask less of fewer values: a function has a worker's time"
"""What to do about an expression that takes more than it may."""
_STATUS = re.compile(r"^[A-Z_]+: ")
_NO_KEY = re.compile(r'Key not found in map : "?(.*?)"?$', re.DOTALL)


def _plainly(said: str) -> str:
    """What cel-cpp says, without the name of its status."""
    said = _STATUS.sub("", said)
    missing = _NO_KEY.match(said)
    return f"no key {missing[1]!r}" if missing else said


@lru_cache(maxsize=8)
def _env(name: str) -> Env:
    require()
    from cel_expr_python import cel

    return cel.NewEnv(variables={name: cel.Type("map<string,dyn>")})


@lru_cache(maxsize=1024)
def _program(expression: str, name: str) -> Expression:
    if len(expression) > LONGEST:
        raise InvalidInput(
            "cel.too_long",
            f"an expression has at most {LONGEST:,} characters, this one has {len(expression):,}: {expression[:60]!r}…",
            fix="compute the parts in transform nodes, or in a function",
        )
    env = _env(name)
    try:
        return env.compile(expression)
    except Exception as error:
        if _TWO_TYPES not in str(error):
            raise _no_cel(expression, error) from None
    try:
        return env.compile(expression, disable_check=True)
    except Exception as error:
        raise _no_cel(expression, error) from None


_TWO_TYPES = "no matching overload for '_?_:_'"
"""The checker wants both sides of `? :` to be of one type; values in JSON need not be."""
_PLACE = re.compile(r"ERROR: <input>:(-?\d+:-?\d+): |\s*\[[A-Z_]+\]\s*$")


def _no_cel(expression: str, error: Exception) -> InvalidInput:
    if isinstance(error, TypeError):  # a lone surrogate does not get as far as the parser
        said = "it is no text of Unicode"
    else:
        said = " ".join(
            _PLACE.sub(
                lambda at: f"{at[1] or ''} ", _STATUS.sub("", str(error).split(" | ")[0])
            ).split()
        )
    return InvalidInput("cel.syntax", f"{expression!r:.300} is not CEL: {said[:200]}")


def _plain(value: object) -> JsonValue:
    match value:
        case float() if not isfinite(value):
            raise ValueError(f"it gives {value}, and JSON has no word for that")
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
