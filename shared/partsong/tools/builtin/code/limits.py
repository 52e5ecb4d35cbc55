"""What a model's code may cost."""

from __future__ import annotations

from dataclasses import dataclass

from partsong.contracts.durations import parse_duration
from partsong.contracts.errors import InvalidInput

__all__ = ["Limits"]


@dataclass(frozen=True, slots=True)
class Limits:
    """The bounds of one run, in every tier."""

    seconds: float = 5.0
    """Of running; waiting for a tool's result does not count."""
    memory: int = 64 * 1024 * 1024
    """Bytes."""
    depth: int = 200
    """Calls within calls."""
    output: int = 64_000
    """Bytes of what is printed, of the value, and of a call's arguments, together."""
    calls: int = 50
    """Calls of tools."""
    length: int = 20_000
    """Characters of the code."""

    def __post_init__(self) -> None:
        """Read `seconds`, which may be any duration.

        Raises:
            InvalidInput: `duration.invalid`.
        """
        object.__setattr__(self, "seconds", parse_duration(self.seconds, "seconds"))

    def check(self, code: str) -> None:
        """Refuse code that is too long, or that cannot be sent anywhere.

        Raises:
            InvalidInput: `code.too_long`, `code.syntax`.
        """
        if len(code) > self.length:
            raise InvalidInput(
                "code.too_long",
                f"{len(code)} characters, at most {self.length} are taken",
                where="code",
                fix="do less in one call, and read data with a tool instead of writing it out",
            )
        try:
            code.encode()
        except UnicodeEncodeError as error:
            raise InvalidInput(
                "code.syntax",
                f"character {error.start + 1} is half of one: {error.reason}",
                where="code",
                fix="correct the code",
            ) from None
