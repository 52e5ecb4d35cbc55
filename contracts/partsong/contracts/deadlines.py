"""When a run has to be done: at a moment, or some time after it has begun.

A duration is kept as one until the run begins, so that asking for the same again asks for the same run.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Annotated

from pydantic import BeforeValidator
from pydantic_core import PydanticCustomError
from pydantic_core.core_schema import ValidationInfo

from partsong.contracts.durations import FORMS, Duration, format_duration, parse_duration
from partsong.contracts.errors import InvalidInput

__all__ = ["BAD_DEADLINE", "Deadline", "DeadlineText", "parse_deadline", "seconds_after"]

Deadline = Duration | datetime
"""A moment with its offset, also as RFC 3339, or the time from a run's beginning, also as text like `1h30m`."""

BAD_DEADLINE = "run.bad_deadline"
_FIX = f"give RFC 3339 like 2030-01-31T18:00:00Z, or the time that it has: {FORMS}"


def parse_deadline(value: object, where: str = "deadline") -> str:
    """The deadline as text: a moment as it is, a duration in its shortest form.

    Raises:
        InvalidInput: `run.bad_deadline`: it is neither.
    """
    if isinstance(value, datetime):
        value = value.isoformat()
    moment = _moment(value) if isinstance(value, str) else None
    if moment is not None and moment.tzinfo is not None:
        return str(value)
    try:
        if moment is None:
            return format_duration(parse_duration(value, where))
        said = f"{value!r} does not say in which time zone"
    except InvalidInput as error:
        said = f"{error.problem.message}; nor is it a moment"
    raise InvalidInput(BAD_DEADLINE, said, where=where, fix=_FIX)


def seconds_after(deadline: str) -> float | None:
    """Seconds from the run's beginning; None if it is a moment, or neither."""
    if _moment(deadline) is not None:
        return None
    try:
        return parse_duration(deadline)
    except InvalidInput:
        return None


def _moment(text: str) -> datetime | None:
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        return None


def _read(value: object, info: ValidationInfo) -> object:
    """What is being asked is read; text of a log stays what it is."""
    asked = info.context is not None and bool(info.context.get("asked"))
    if value is None or not (asked or isinstance(value, int | float | timedelta | datetime)):
        return value
    try:
        return parse_deadline(value)
    except InvalidInput as error:
        said = {"said": error.problem.message, "fix": error.problem.fix}
        raise PydanticCustomError(BAD_DEADLINE, "{said}", said) from None


DeadlineText = Annotated[str | None, BeforeValidator(_read)]
"""A field that any `Deadline` may be given for."""
