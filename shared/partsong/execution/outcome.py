"""How a call that is bounded in time came out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

__all__ = ["Late", "Outcome", "Raised", "Value"]


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
