"""The machine a result was measured on, with its own yardstick: how long a durable write takes without anybody's code."""

from __future__ import annotations

import os
import platform
import statistics
from pathlib import Path
from typing import BinaryIO

from pydantic import BaseModel, ConfigDict

from partsong.runtime.clock import monotonic

__all__ = ["Machine", "look"]

_WRITES = 100
_PAGE = b"\0" * 4096


class Machine(BaseModel):
    """What to know before comparing two results."""

    model_config = ConfigDict(frozen=True)

    system: str
    python: str
    cpus: int
    load: float
    """One-minute load average before the first measurement."""
    fsync_ms: float
    """Median of appending 4 KB to a file and fsyncing it."""


def look(folder: Path) -> Machine:
    """Describe this machine and its disk under the folder."""
    with (folder / "yardstick").open("wb", buffering=0) as file:
        writes = [_durable_write(file) for _ in range(_WRITES)]
    return Machine(
        system=f"{platform.system()} {platform.machine()}",
        python=platform.python_version(),
        cpus=os.cpu_count() or 1,
        load=os.getloadavg()[0],
        fsync_ms=round(statistics.median(writes) * 1000, 3),
    )


def _durable_write(file: BinaryIO) -> float:
    start = monotonic()
    file.write(_PAGE)
    os.fsync(file.fileno())
    return monotonic() - start
