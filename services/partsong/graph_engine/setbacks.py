"""Setbacks: why a run could not be read or decided on, in words."""

from __future__ import annotations

import traceback

from partsong.contracts.errors import PartsongError, Problem, Unavailable
from partsong.log.blobs import LOST

__all__ = ["broken", "frames", "passes", "stale_read"]

_FRAMES = 20


def broken(run_id: str, error: Exception) -> Problem:
    """Why nobody decides on a run any more: each try has failed, and nothing says that the next one would not."""
    if isinstance(error, PartsongError):
        return error.problem
    return Problem(
        code="engine.fault",
        message=f"run {run_id} cannot be decided on: {type(error).__name__}: {error}",
        where=run_id,
        fix="report it with the traceback, which `partsong run events` and the engine's log have; an engine that starts tries again",
        fault="platform",
    )


def frames(error: Exception) -> tuple[str, ...]:
    """Where an error was raised, the innermost place last."""
    places = traceback.extract_tb(error.__traceback__)[-_FRAMES:]
    return tuple(f"{place.filename}:{place.lineno} in {place.name}" for place in places)


def passes(error: Exception) -> bool:
    """Whether a try that failed may do better later, whatever becomes of the run: what is away comes back."""
    return isinstance(error, PartsongError) and (
        error.problem.retryable
        or (isinstance(error, Unavailable) and error.problem.code not in LOST)
    )


def stale_read(run_id: str, seen: int, newest: int) -> Unavailable:
    """In a cluster, the server that answered may be behind the one that delivered."""
    return Unavailable(
        "log.stale_read",
        f"the log of {run_id} was read up to {seen}, and its record {newest} has been delivered",
        where=run_id,
        retryable=True,
    )
