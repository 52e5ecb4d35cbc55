"""What a query may cost and may not show."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from fnmatch import fnmatchcase

from partsong.contracts.durations import parse_duration
from partsong.contracts.errors import InvalidInput

__all__ = ["REDACTED", "Limits"]

REDACTED = (
    "*api_key*",
    "*apikey*",
    "*credential*",
    "*passwd*",
    "*password*",
    "*private_key*",
    "*secret*",
    "*_token",
    "token",
)
"""Patterns of the columns that read as NULL unless a tool is told otherwise."""


@dataclass(frozen=True, slots=True)
class Limits:
    """The bounds of one query."""

    rows: int = 200
    bytes: int = 24_000
    """Of the result as JSON; a single longer row is refused, and later rows are left out."""
    seconds: float = 10.0
    """From the call to the answer, kept by us: a statement can lift the database's own time limit."""
    redact: tuple[str, ...] = REDACTED
    """Columns that read as NULL wherever they are used, as patterns in lower case.

    In PostgreSQL a view shows a column it has given another name, and a computed column what it was computed from.
    """

    def __post_init__(self) -> None:
        """Refuse bounds that let nothing through; `seconds` may be any duration.

        Raises:
            InvalidInput: `sql.bad_limit`, `duration.invalid`.
        """
        object.__setattr__(self, "seconds", parse_duration(self.seconds, "seconds"))
        for name in ("rows", "bytes"):
            if (value := getattr(self, name)) <= 0:
                raise InvalidInput(
                    "sql.bad_limit", f"{name} is {value}, not more than 0", where=name
                )

    def hides(self, column: str) -> bool:
        """Whether a column of this name reads as NULL."""
        return any(fnmatchcase(column.lower(), pattern) for pattern in self.redact)

    def hidden(self, columns: Iterable[str]) -> frozenset[str]:
        """Those of the columns that read as NULL."""
        return frozenset(column for column in columns if self.hides(column))
