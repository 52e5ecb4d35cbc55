"""What holds for every answer, whoever gives it: errors are ours, legible, short, and no text steers a terminal."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TypeVar

from pydantic import JsonValue

from partsong.contracts.errors import PartsongError, Problem
from partsong.contracts.foreign.size import unsayable
from partsong.contracts.wire.requests import REPLY, Rejected
from partsong.runtime.visible import visible

__all__ = ["STEERING", "Refused", "attempt", "problem", "refusal", "tells"]

T = TypeVar("T")

STEERING = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069\u2028\u2029\ufeff\ud800-\udfff]"
)
"""What must not reach a terminal or a log line."""
_CODE = re.compile(r"[a-z][a-z0-9_]*(\.[a-z0-9_]+)+")
_LONGEST = 8192
"""Characters of an error in all: who sends a megabyte does not get it back."""


@dataclass(frozen=True)
class Refused:
    """It was refused, as it may be."""

    problem: Problem


def attempt(make: Callable[[], T]) -> T | Refused:
    """What comes of it; any other error than ours goes through, and is a finding."""
    try:
        return make()
    except PartsongError as error:
        return Refused(error.problem)


def problem(said: Problem | None) -> Iterator[str]:
    """What is wrong with an error that somebody is to read."""
    if said is None:
        yield "nothing says what is wrong"
        return
    if not _CODE.fullmatch(said.code):
        yield f"the code {said.code!r} is none"
    if not said.message.strip():
        yield f"{said.code} says nothing"
    text = str(PartsongError.of(said))
    if len(text) > _LONGEST:
        yield f"{said.code} has {len(text)} characters"
    if STEERING.search(visible(text)):
        yield f"{said.code} steers a terminal"
    try:
        REPLY.validate_json(Rejected(id="q", error=said).model_dump_json())
    except ValueError as error:
        yield f"{said.code} cannot be sent: {error!s:.200}"


def refusal(found: object) -> Iterator[str]:
    """What is wrong with a refusal, if it is one."""
    if isinstance(found, Refused):
        yield from problem(found.problem)


def tells(value: JsonValue, what: str) -> Iterator[str]:
    """Whether a value is JSON for every reader."""
    try:
        text = json.dumps(value, allow_nan=False, ensure_ascii=False).encode()
    except (ValueError, TypeError, RecursionError) as error:
        yield f"{what} is no JSON: {type(error).__name__}: {error!s:.200}"
        return
    if json.loads(text) != value:
        yield f"{what} is read back as another value"
    if (held := unsayable(value)) is not None:
        yield f"{what} holds {held}"
