"""Durations: how people write them, how one is read, and how one is shown.

One rule for all doors: fields of graphs and requests, arguments in Python, options of commands, the environment. What is
read is seconds as a float, and that is what travels and what a graph's hash is made of, however it was written.
"""

from __future__ import annotations

import math
import re
from datetime import timedelta
from decimal import Decimal
from typing import Annotated, SupportsFloat

from pydantic import BeforeValidator, WithJsonSchema
from pydantic_core import PydanticCustomError
from pydantic_core.core_schema import ValidationInfo

from partsong.contracts.errors import InvalidInput

__all__ = [
    "ASKED",
    "FORMS",
    "INVALID",
    "LONGEST",
    "AnySeconds",
    "Duration",
    "Seconds",
    "SecondsFromZero",
    "format_duration",
    "parse_duration",
    "parse_optional",
]

Duration = float | str | timedelta
"""Seconds, text like `30s`, `1h30m` or `PT1H30M`, or a `timedelta`."""

INVALID = "duration.invalid"
FORMS = "give seconds like 90, or text: 30s, 500ms, 1h30m, 1.5h, 2d, PT1H30M, P1D; in Python also timedelta(hours=1)"
"""What is accepted, with an example each."""

LONGEST = 100 * 365 * 86_400.0
"""Seconds of a hundred years; who means for ever says nothing."""

ASKED: dict[str, bool] = {"asked": True}
"""Context of validating what is being asked. Without it numbers may be longer: in logs there are some that were."""

_LONGEST_TEXT = 64
_UNITS = {"w": 604_800.0, "d": 86_400.0, "h": 3600.0, "m": 60.0, "s": 1.0, "ms": 0.001}
"""From long to short, as they stand in a text."""
_ORDER = tuple(_UNITS)
_NUMBER = re.compile(r"[0-9]+(\.[0-9]*)?([eE][+-]?[0-9]+)?|\.[0-9]+([eE][+-]?[0-9]+)?")
_PART = re.compile(r"\s*([0-9]+(?:\.[0-9]+)?)\s*(ms|[wdhms])")
_ISO = re.compile(
    r"P(?:(?P<w>N)W)?(?:(?P<d>N)D)?(?:T(?=N)(?:(?P<h>N)H)?(?:(?P<m>N)M)?(?:(?P<s>N)S)?)?".replace(
        "N", r"[0-9]+(?:[.,][0-9]+)?"
    )
)
_CALENDAR = re.compile(r"P[0-9.,WD]*[0-9][YM].*")
"""ISO 8601 with years or months, which stand before the `T`."""


def parse_duration(value: object, where: str = "duration", *, zero: bool = False) -> float:
    """Seconds of what somebody asks for at `where`, which may be `zero`.

    Raises:
        InvalidInput: `duration.invalid`, with the value and the forms.
    """
    try:
        return _bounded(value, _read(value), zero=zero)
    except _Wrong as wrong:
        raise InvalidInput(INVALID, str(wrong), where=where, fix=wrong.fix) from None


def parse_optional(
    value: object | None, where: str = "duration", *, zero: bool = False
) -> float | None:
    """As `parse_duration`; None stays None."""
    return None if value is None else parse_duration(value, where, zero=zero)


def format_duration(seconds: float) -> str:
    """The duration as people write it, `1h30m` or `500ms`; read again it is the same number."""
    if not (math.isfinite(seconds) and seconds >= 0):
        return f"{seconds}s"
    exact = Decimal(repr(float(seconds)))
    text = _by_units(exact) if exact >= 1 or not exact else f"{_brief(exact * 1000)}ms"
    if _parts(text) != seconds:
        text = f"{_brief(exact)}s"
    return text if len(text) <= _LONGEST_TEXT else repr(float(seconds))


class _Wrong(ValueError):
    """A value is no duration, or none that is accepted."""

    def __init__(self, said: str, fix: str = FORMS) -> None:
        super().__init__(said)
        self.fix = fix


def _read(value: object) -> float:
    """Seconds, whatever number that is."""
    if isinstance(value, str):
        return _text(value)
    if isinstance(value, timedelta):
        return value.total_seconds()
    if isinstance(value, bool) or not isinstance(value, SupportsFloat):
        raise _Wrong(f"{_shown(value)} is no duration")
    try:
        return float(value)
    except OverflowError:
        return math.inf
    except (TypeError, ValueError):
        raise _Wrong(f"{_shown(value)} is no duration") from None


def _text(value: str) -> float:
    text = value.strip()
    if len(text) > _LONGEST_TEXT:
        raise _Wrong(f"{_shown(value)} is no duration: it has {len(text)} characters")
    if _NUMBER.fullmatch(text):
        return float(text)
    if (found := _parts(text)) is not None or (found := _iso(text)) is not None:
        return found
    if _CALENDAR.fullmatch(text):
        why = "counts years or months, and those are not all equally long"
        raise _Wrong(f"{value!r} {why}", f"count days, like P30D or 30d; {FORMS}")
    if text.startswith("-"):
        raise _Wrong(f"{_shown(value)} is negative")
    raise _Wrong(f"{_shown(value)} is no duration")


def _parts(text: str) -> float | None:
    """Seconds of `1h30m`: each unit once, the longest first."""
    total, at, before = 0.0, 0, -1
    while at < len(text):
        part = _PART.match(text, at)
        if part is None or (unit := _ORDER.index(part[2])) <= before:
            return None
        total, at, before = total + float(part[1]) * _UNITS[part[2]], part.end(), unit
    return total if at else None


def _iso(text: str) -> float | None:
    found = _ISO.fullmatch(text)
    parts = {} if found is None else {k: v for k, v in found.groupdict().items() if v is not None}
    if not parts:
        return None
    return sum(float(number.replace(",", ".")) * _UNITS[unit] for unit, number in parts.items())


def _bounded(value: object, seconds: float, *, zero: bool, most: float = LONGEST) -> float:
    if math.isnan(seconds) or (math.isinf(seconds) and not isinstance(value, str | int)):
        raise _Wrong(f"{_shown(value)} is no duration: it is not finite")
    if seconds < 0:
        raise _Wrong(f"{_shown(value)} is negative")
    if not seconds and not zero:
        raise _Wrong(f"{_shown(value)} is no time at all; it must be more than nothing")
    if seconds > most:
        raise _Wrong(
            f"{_shown(value)} is too long: {format_duration(LONGEST)} are the most, a hundred years"
        )
    return seconds


def _shown(value: object) -> str:
    try:
        text = str(value) if isinstance(value, timedelta) else repr(value)
    except ValueError:  # of an integer with thousands of digits
        text = "that integer"
    return text if len(text) <= _LONGEST_TEXT else f"{text[: _LONGEST_TEXT - 1]}…"


def _by_units(exact: Decimal) -> str:
    """`1d1h`: whole days, hours and minutes, then seconds."""
    whole = int(exact)
    days, hours, minutes = whole // 86_400, whole // 3600 % 24, whole // 60 % 60
    seconds = exact - whole + whole % 60
    parts = ((days, "d"), (hours, "h"), (minutes, "m"), (seconds, "s"))
    return "".join(f"{_brief(Decimal(n))}{unit}" for n, unit in parts if n) or "0s"


def _brief(number: Decimal) -> str:
    text = f"{number:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def _checked(value: object, info: ValidationInfo, *, zero: bool) -> float:
    recorded = isinstance(value, int | float) and not (info.context and info.context.get("asked"))
    try:
        most = math.inf if recorded else LONGEST
        return _bounded(value, _read(value), zero=zero, most=most)
    except _Wrong as wrong:
        said = {"said": str(wrong), "fix": wrong.fix}
        raise PydanticCustomError(INVALID, "{said}", said) from None


def _positive(value: object, info: ValidationInfo) -> float:
    return _checked(value, info, zero=False)


def _from_zero(value: object, info: ValidationInfo) -> float:
    return _checked(value, info, zero=True)


def _schema(bound: str) -> WithJsonSchema:
    """A number, or text. The first of the patterns stands alone as it did before there were others."""
    n = r"\d+(\.\d+)?"
    one = rf"^\s*{n}\s*(ms|s|m|h|d)\s*$"
    iso = r"\d+([.,]\d+)?"
    iso = rf"P({iso}[WD])*(T({iso}[HMS])+)?"
    more = rf"^\s*(({n}\s*(ms|[wdhms])\s*)+|{n}([eE][+-]?\d+)?|{iso})\s*$"
    texts = ({"type": "string", "pattern": pattern} for pattern in (one, more))
    return WithJsonSchema({"anyOf": [{"type": "number", bound: 0}, *texts]})


Seconds = Annotated[float, BeforeValidator(_positive), _schema("exclusiveMinimum")]
"""A field of seconds, more than none, that any duration may be given for."""

AnySeconds = Annotated[Duration, BeforeValidator(_positive), _schema("exclusiveMinimum")]
"""As `Seconds`, for models that users make in Python: type checkers let them give any duration."""

SecondsFromZero = Annotated[float, BeforeValidator(_from_zero), _schema("minimum")]
"""A field of seconds that may be zero, too."""
