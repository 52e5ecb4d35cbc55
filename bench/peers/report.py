"""What every peer's script does alike: sizes, the clock, one JSON line per figure."""

from __future__ import annotations

import argparse
import json
import os
import platform
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

KILOBYTE = "x" * 1024
FIGURE_SECONDS = 60
"""A figure that takes longer is cut short and says so."""


@dataclass(frozen=True)
class Sizes:
    """How much work each figure does."""

    chain: int
    rounds: int
    runs: int
    run_nodes: int
    short: int
    long: int


FULL = Sizes(chain=100, rounds=5, runs=1000, run_nodes=10, short=100, long=1000)
QUICK = Sizes(chain=100, rounds=1, runs=100, run_nodes=10, short=50, long=200)

Figure = Callable[[Sizes, Path], Awaitable[None]]


def say(name: str, value: float, unit: str, note: str = "") -> None:
    """Print one figure."""
    line = {"name": name, "value": round(value, 4), "unit": unit}
    print(json.dumps(line | ({"note": note} if note else {})), flush=True)


@contextmanager
def timed() -> Iterator[Callable[[], float]]:
    """Seconds since the block began."""
    start = time.perf_counter()
    yield lambda: time.perf_counter() - start


def percentile(values: Sequence[float], share: float) -> float:
    """The value that `share` of the values do not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def bytes_on_disk(folder: Path, stem: str) -> int:
    """The database file with its write-ahead log."""
    return sum(path.stat().st_size for path in folder.glob(f"{stem}*"))


async def play(title: str, package: str, figures: dict[str, Figure]) -> None:
    """Parse the command line and measure the figures that it names, each in a folder of its own."""
    parser = argparse.ArgumentParser(description=title)
    parser.add_argument("--quick", action="store_true", help="less of everything")
    parser.add_argument(
        "--only",
        action="append",
        help="just this figure; one that this peer has not is passed over",
    )
    arguments = parser.parse_args()
    sizes = QUICK if arguments.quick else FULL
    print(
        json.dumps(
            {"peer": title, "version": version(package), "python": platform.python_version()}
        ),
        flush=True,
    )
    for name, figure in figures.items():
        if arguments.only and name not in arguments.only:
            continue
        with tempfile.TemporaryDirectory(prefix="peer-", dir=os.environ.get("BENCH_DIR")) as folder:
            await figure(sizes, Path(folder))
