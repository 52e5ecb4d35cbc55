"""What a measurement reports, and what it gets to work with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from pydantic import BaseModel, ConfigDict

from bench.bars import BARS

__all__ = ["Context", "Measure", "PeerValue", "Row", "shown"]


def shown(value: float, unit: str) -> str:
    """A figure for people: three digits that matter, whole thousands."""
    return f"{value:,.0f} {unit}" if abs(value) >= 1000 else f"{value:.3g} {unit}"


class PeerValue(BaseModel):
    """A figure that somebody else's program reported."""

    model_config = ConfigDict(frozen=True)

    value: float
    unit: str
    note: str = ""

    def __str__(self) -> str:
        return shown(self.value, self.unit) + (f" ({self.note})" if self.note else "")


class Row(BaseModel):
    """One measured figure, as it stands in `bench/results/latest.json`."""

    model_config = ConfigDict(frozen=True)

    name: str
    """`step.one_process`: a key of `bars.BARS`, or any other dotted name for a figure without a promise."""
    work: str
    value: float
    unit: str
    bar: str | None = None
    holds: bool | None = None
    peers: Mapping[str, PeerValue] = {}
    """The same work by others, on this machine in this run."""
    command: str
    note: str = ""


@dataclass(frozen=True, slots=True)
class Context:
    """Handed to each measurement."""

    quick: bool
    """Less of everything: the figures are rough, the code paths are the same."""
    folder: Path
    """An empty folder on a real disk; gone afterwards."""
    command: str
    """What a reader types to measure this again."""

    def size(self, full: int, quick: int) -> int:
        """How much work to do."""
        return quick if self.quick else full

    def promised(self, key: str, value: float, *, note: str = "") -> Row:
        """A figure that has a bar.

        Raises:
            KeyError: no such bar in `bars.BARS`.
        """
        bar = BARS[key]
        return Row(
            name=key,
            work=bar.work,
            value=round(value, 4),
            unit=bar.unit,
            bar=str(bar),
            holds=bar.holds(value),
            command=self.command,
            note=note,
        )

    def figure(self, name: str, work: str, value: float, unit: str, *, note: str = "") -> Row:
        """A figure that nothing was promised about."""
        return Row(
            name=name,
            work=work,
            value=round(value, 4),
            unit=unit,
            command=self.command,
            note=note,
        )


class Measure(Protocol):
    """The one function of a module in `bench/rows/`."""

    async def __call__(self, context: Context) -> list[Row]:
        """Do the work, report the figures."""
        ...
