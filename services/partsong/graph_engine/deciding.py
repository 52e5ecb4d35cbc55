"""Deciding: the runs that an engine has in hand, in memory that outlives it, so that its successor knows what it died of.

What an engine decides on has no claim in the log, and an engine that is killed while it decides would decide on the same
again, and again. So each run stands in a file while its turn is taken. What stands there when an engine starts may have
killed the one before: it is taken up alone, and set aside when it has cost too many.
"""

from __future__ import annotations

import contextlib
import fcntl
import itertools
import json
import logging
import os
from collections.abc import AsyncGenerator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

from partsong.bus.suspects import Suspects
from partsong.contracts.errors import Problem
from partsong.runtime.heartbeat.held import HeldCalls

__all__ = ["MOST_DEATHS", "Deciding"]

_log = logging.getLogger("partsong.graph_engine")

MOST_DEATHS = 3
"""Engines that may die while they take the turn of one run."""
_REMEMBERED = 1000
"""Runs whose deaths are counted."""
_FILE = "deciding"
_DECIDES = "decides"


class Deciding:
    """What one engine decides on now, and of what engines of this data directory may have died."""

    def __init__(
        self, held: HeldCalls, deaths: dict[str, int], file: Path | None = None, lock: int = -1
    ) -> None:
        """See `open` and `forgetful`."""
        self._held, self._deaths, self._file, self._lock = held, deaths, file, lock
        self._suspects = Suspects()

    @classmethod
    def forgetful(cls) -> Deciding:
        """One that nobody comes after, as in tests and simulations."""
        return cls(HeldCalls(), {})

    @classmethod
    def open(cls, folder: Path) -> Deciding:
        """Take the place of an engine that is no more, or one beside those that live.

        Raises:
            OSError: the folder cannot be written.
        """
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        fd, path = _place(folder)
        HeldCalls.make_room(fd)
        held = HeldCalls(fd)
        deaths = _read(path)
        suspects = {entry.run_id for entry in held.entries() if entry.function == _DECIDES}
        counted = {run_id: deaths.get(run_id, 0) + 1 for run_id in suspects}
        held.clear()
        newest = list({**deaths, **counted}.items())[-_REMEMBERED:]
        self = cls(held, dict(newest), path, fd)
        self._keep()
        if suspects:
            told = {"runs": sorted(suspects)[:10], "count": len(suspects)}
            _log.warning("the engine before died with runs in hand", extra=told)
        return self

    def close(self) -> None:
        """Leave the place to another engine."""
        self._held.close()
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1

    def problem(self, run_id: str) -> Problem | None:
        """Why nobody here decides on a run; None if it may be taken up."""
        deaths = self._deaths.get(run_id, 0)
        if deaths < MOST_DEATHS:
            return None
        return Problem(
            code="engine.died",
            message=f"{deaths} engines died while they took a turn of run {run_id}, one after the other",
            where=run_id,
            fix=f"see what ended them (out of memory, a crash of native code) and mend it, then delete {self._file} and start "
            "the engine again",
            fault="platform",
        )

    @asynccontextmanager
    async def on(self, run_id: str) -> AsyncGenerator[None]:
        """Take a turn of a run inside; what an engine may have died of is taken up alone."""
        if not self._deaths:
            with self._entered(run_id):
                yield
            return
        async with self._suspects.admitted(self._deaths.get(run_id, 0)):
            with self._entered(run_id):
                yield
        if self._deaths.pop(run_id, 0):
            self._keep()

    @contextlib.contextmanager
    def _entered(self, run_id: str) -> Iterator[None]:
        slot = self._held.hold(run_id, "", 0, _DECIDES)
        try:
            yield
        finally:
            self._held.release(slot)

    def _keep(self) -> None:
        """Write the counts down; if that fails, an engine more may die of it."""
        if self._file is None:
            return
        temporary = self._file.with_suffix(".new")
        try:
            fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            with os.fdopen(fd, "w", encoding="utf-8") as file:
                json.dump(self._deaths, file)
            temporary.replace(self._file)
        except OSError as error:
            _log.warning(
                "deaths not written down", extra={"file": str(self._file), "why": repr(error)}
            )


def _place(folder: Path) -> tuple[int, Path]:
    """The first place that no living engine has, as an open file that is locked until this process ends."""
    for n in itertools.count():
        path = folder / f"{_FILE}.{n}"
        fd = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(fd)
        else:
            return fd, folder / f"{_FILE}.{n}.json"
    raise AssertionError("unreachable")


def _read(path: Path) -> dict[str, int]:
    try:
        found = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    if not isinstance(found, dict):
        return {}
    return {run_id: n for run_id, n in found.items() if isinstance(n, int)}
