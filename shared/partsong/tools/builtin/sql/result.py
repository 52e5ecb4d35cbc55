"""What a query answered: columns and rows as JSON, cut where they become too much."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from pydantic import JsonValue

from partsong.contracts.errors import InvalidInput
from partsong.tools.builtin.sql.limits import Limits

__all__ = ["Result", "Row", "collected", "plain", "row_too_large"]

Row = Sequence[JsonValue]


@dataclass(frozen=True, slots=True)
class Result:
    """Columns, rows, and what was left out."""

    columns: tuple[str, ...]
    rows: tuple[Row, ...]
    note: str = ""

    def as_json(self) -> dict[str, JsonValue]:
        """As a model sees it."""
        found: dict[str, JsonValue] = {
            "columns": list(self.columns),
            "rows": [list(row) for row in self.rows],
        }
        if self.note:
            found["note"] = self.note
        return found


def collected(columns: Sequence[str], rows: Iterable[Row], limits: Limits) -> Result:
    """As many of the rows as the limits allow; what comes after them is not read.

    Raises:
        InvalidInput: `sql.row_too_large` if one row alone is too much.
    """
    taken: list[Row] = []
    size = 0
    for number, row in enumerate(rows, start=1):
        length = len(json.dumps(row, ensure_ascii=False).encode())
        if length > limits.bytes:
            raise row_too_large(number, length, limits)
        if len(taken) == limits.rows or size + length > limits.bytes:
            note = f"there are more rows: these are the first {len(taken)}; ask for fewer, or aggregate"
            return Result(tuple(columns), tuple(taken), note)
        taken.append(row)
        size += length
    return Result(tuple(columns), tuple(taken))


def plain(value: object) -> JsonValue:
    """A database's value as JSON: bytes by their number only, what is no JSON number as text."""
    match value:
        case None | bool() | int() | str():
            return value
        case float():
            return value if math.isfinite(value) else str(value)
        case bytes() | memoryview():
            return f"[{len(value)} bytes]"
        case _:
            return str(value)


def row_too_large(number: int, length: int, limits: Limits) -> InvalidInput:
    """The refusal of a row."""
    return InvalidInput(
        "sql.row_too_large",
        f"row {number} has {length:,} bytes, at most {limits.bytes:,} are shown",
        where="sql",
        fix="select fewer columns, or only the beginning of long ones: substr(column, 1, 1000)",
    )
