"""How a run stands, as a record to print."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from partsong.cli.output import pairs
from partsong.client import Origin, Queued, RunSummary
from partsong.contracts.errors import Problem
from partsong.contracts.state.explained import explained
from partsong.contracts.state.state import Call, RunState

__all__ = ["at_the_door", "error_of", "place", "standing"]


def standing(
    state: RunState,
    forks: Sequence[RunSummary],
    *,
    plain: bool,
    problem: Problem | None = None,
) -> dict[str, object]:
    """The run as it stands; `plain` is for people: what it waits for and where it comes from are sentences.

    With a `problem` its log can be read no further than that, and nobody decides on it.
    """
    waits, origin = state.waits_on, state.origin
    return {
        "run_id": state.run_id,
        "status": state.phase if problem is None else "damaged",
        "why": (explained(state) or None) if problem is None else _set_aside(problem),
        "waits_on": (str(waits) if plain else dataclasses.asdict(waits)) if waits else None,
        "graph": state.graph.name if state.graph else None,
        "graph_hash": state.graph.hash if state.graph else None,
        "thread": state.options.thread,
        "labels": pairs(state.options.labels) if plain else dict(state.options.labels),
        "started": state.started,
        "updated": state.updated,
        "origin": (place(origin) if plain else dataclasses.asdict(origin)) if origin else None,
        "forks": [run.run_id for run in forks],
        "steps": state.steps,
        "open": [_open(call) for call in state.calls.values() if call.open],
        "usage": state.usage.model_dump(exclude_defaults=True),
        "error": error_of(state.error, plain=plain),
        "uncompensated": {
            id_: problem.model_dump(exclude_none=True)
            for id_, problem in state.uncompensated.items()
        },
        "state": state.values,
    }


def error_of(problem: Problem | None, *, plain: bool) -> dict[str, object] | None:
    """An error as a record; `plain` leaves out what a table has below it, or nobody reads."""
    if problem is None:
        return None
    return problem.model_dump(exclude_none=True, exclude={"raised", "traceback"} if plain else None)


def at_the_door(run_id: str, queued: Queued, *, plain: bool) -> dict[str, object]:
    """A run whose request no engine has taken yet, and its place in the line."""
    place = {} if plain else {"queued": dataclasses.asdict(queued)}
    return {"run_id": run_id, "status": "queued", "why": str(queued), **place}


def _set_aside(problem: Problem) -> str:
    where = f" ({problem.where})" if problem.where else ""
    fix = f"; {problem.fix}" if problem.fix else ""
    return f"set aside, and nothing is decided on it any more: {problem.message}{where}{fix}"


def place(origin: Origin) -> str:
    """A moment of a run in a few characters."""
    return f"{origin.run_id} at {origin.seq}"


def _open(call: Call) -> str:
    worker = f", {call.worker}" if call.worker else ""
    return f"{call.id} (attempt {call.attempt}{worker})"
