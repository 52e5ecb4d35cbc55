"""How a call that is bounded in time came out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias, assert_never

from partsong.contracts.errors import PartsongError

__all__ = ["Late", "Outcome", "Raised", "Value", "worth_a_retry"]


@dataclass(frozen=True, slots=True)
class Value:
    """It returned."""

    value: object


@dataclass(frozen=True, slots=True)
class Raised:
    """It raised."""

    error: BaseException


@dataclass(frozen=True, slots=True)
class Late:
    """Its time was over; it has been cancelled, or left behind."""

    seconds: float
    idle: bool = False
    """It had that long to show something, and did not."""


Outcome: TypeAlias = Value | Raised | Late


def worth_a_retry(outcome: Outcome) -> bool:
    """Whether a call that came out so may succeed if it is simply made again."""
    match outcome:
        case Raised(PartsongError() as error):
            return error.problem.retryable
        case Raised():
            return True
        case Value() | Late():
            return False
        case _:
            assert_never(outcome)
