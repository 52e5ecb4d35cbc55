"""Finds the measurements, runs them one after the other, sets the peers beside them, prints and keeps the result."""

from __future__ import annotations

import asyncio
import gc
import importlib
import pkgutil
import tempfile
import traceback
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from bench import others, rows
from bench.bars import BARS
from bench.machine import Machine, look
from bench.row import Context, Measure, Row
from partsong.contracts.errors import InvalidInput
from partsong.runtime.clock import now_text

__all__ = ["Options", "Result", "measure", "names"]


class Result(BaseModel):
    """One run of the harness."""

    model_config = ConfigDict(frozen=True)

    time: str
    quick: bool
    machine: Machine
    rows: Sequence[Row]
    problems: Sequence[str] = ()
    """Measurements and peers that failed, with the reason."""


@dataclass(frozen=True, slots=True)
class Options:
    """What to measure and how much of it."""

    only: frozenset[str] = frozenset()
    """Modules of `bench/rows`; empty means all."""
    quick: bool = False
    peers: bool = True
    folder: Path | None = None
    """Where the measured stores live; a temporary folder if not given."""


def names() -> list[str]:
    """The modules in `bench/rows/`, in order."""
    return sorted(module.name for module in pkgutil.iter_modules(rows.__path__))


def measure(options: Options) -> Result:
    """Run the measurements.

    Raises:
        InvalidInput: `only` names a measurement that is not there.
    """
    chosen = _chosen(options.only)
    with tempfile.TemporaryDirectory(prefix="bench-", dir=options.folder) as place:
        folder = Path(place)
        machine = look(folder)
        measured: list[Row] = []
        problems: list[str] = []
        for name in chosen:
            found, problem = _run_one(name, folder, quick=options.quick)
            measured += found
            problems += problem
        reports = (
            others.ask(_groups(measured), quick=options.quick, folder=folder)
            if options.peers
            else []
        )
    problems += [f"{report.title}: {report.problem}" for report in reports if report.problem]
    return Result(
        time=now_text(),
        quick=options.quick,
        machine=machine,
        rows=[others.beside(row, reports) for row in measured],
        problems=problems,
    )


def _chosen(only: frozenset[str]) -> list[str]:
    known = names()
    if unknown := only - set(known):
        raise InvalidInput(
            "bench.unknown_row",
            f"no measurement {', '.join(sorted(unknown))}",
            where="--only",
            fix=f"one of: {', '.join(known)}",
        )
    return [name for name in known if not only or name in only]


def _run_one(name: str, parent: Path, *, quick: bool) -> tuple[list[Row], list[str]]:
    work: Measure = importlib.import_module(f"{rows.__name__}.{name}").measure
    folder = parent / name
    folder.mkdir()
    command = f"python -m bench --only {name}{' --quick' if quick else ''}"
    gc.collect()
    try:
        return asyncio.run(work(Context(quick=quick, folder=folder, command=command))), []
    except Exception:
        return [], [f"{name}: {traceback.format_exc()}"]


def _groups(measured: Iterable[Row]) -> set[str]:
    bars = (BARS.get(row.name) for row in measured)
    return {bar.peer.group for bar in bars if bar is not None and bar.peer is not None}
