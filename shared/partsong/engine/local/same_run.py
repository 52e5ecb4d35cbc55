"""Whether what is asked for is the run that exists under its id, or another one."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from pydantic import JsonValue

from partsong.contracts import events as e
from partsong.contracts.deadlines import seconds_after
from partsong.contracts.errors import Conflict

__all__ = ["check_same"]


def check_same(
    run_id: str,
    events: Iterable[e.Event],
    input: Mapping[str, JsonValue],
    options: e.RunOptions | None,
) -> None:
    """Refuse to go on with a run that was begun with something else; what is not given may be whatever it was.

    Raises:
        Conflict: `run.exists`, naming what differs.
    """
    begun = next((event for event in events if isinstance(event, e.RunStarted)), None)
    if begun is None:  # a fork has no input of its own
        return
    differs = list[str]()
    if input and dict(input) != begun.input:
        keys = [*dict.fromkeys([*begun.input, *input])]
        differs += [f"input.{key}" for key in keys if _unlike(key, begun.input, input)]
    fresh = e.RunOptions()
    options = options or fresh
    for name in e.RunOptions.model_fields:
        wanted = getattr(options, name)
        if name == "deadline" and _same_deadline(options.deadline, begun):
            continue
        if wanted not in (getattr(fresh, name), getattr(begun.options, name)):
            differs.append(f"options.{name}")
    if differs:
        raise Conflict(
            "run.exists",
            f"run {run_id} exists, and was begun with other {', '.join(differs[:10])}",
            where="run_id",
            fix="take another id for another run; to go on with this one leave them out or give what it was begun with",
        )


def _same_deadline(wanted: str | None, begun: e.RunStarted) -> bool:
    """Whether a duration is the one that the run's deadline was made of."""
    return (
        wanted is not None
        and (after := seconds_after(wanted)) is not None
        and after == begun.deadline_after
    )


def _unlike(key: str, old: Mapping[str, JsonValue], new: Mapping[str, JsonValue]) -> bool:
    return (key in old) != (key in new) or old.get(key) != new.get(key)
