"""A plan: tasks that depend on each other, as a model writes it, a person edits it and CEL checks it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, cast

from pydantic import BaseModel, ConfigDict, Field, JsonValue

from partsong.contracts.graph.misfits import refusing

__all__ = ["CHECK", "CYCLE", "READY", "SORT", "Plan", "PlannedTask", "plan_schema"]


class PlannedTask(BaseModel):
    """One task of a plan."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    if not TYPE_CHECKING:  # which see the fields
        __init__ = refusing("plan.malformed")

    id: str
    """A short name, by which others depend on it."""
    doer: str
    """Who does it."""
    task: str
    """What to do, with all that is needed for it."""
    depends_on: tuple[str, ...] = Field(json_schema_extra={"minItems": 0})
    """The tasks whose results it needs, by id; perhaps none."""


class Plan(BaseModel):
    """Tasks that, done in the order of their dependencies, reach a goal."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    if not TYPE_CHECKING:  # which see the fields
        __init__ = refusing("plan.malformed")

    summary: str
    """The plan in a sentence or two, for whoever approves it."""
    tasks: tuple[PlannedTask, ...]


def plan_schema(doers: Iterable[str]) -> dict[str, JsonValue]:
    """The JSON Schema of a plan for these doers."""
    schema = cast("dict[str, dict[str, dict[str, dict[str, JsonValue]]]]", Plan.model_json_schema())
    schema["$defs"]["PlannedTask"]["properties"]["doer"] = {"type": "string", "enum": [*doers]}
    return cast("dict[str, JsonValue]", schema)


_TASKS = "state.plan.tasks"
_IDS = f"{_TASKS}.map(o, o.id)"
_TWICE = f"{_TASKS}.filter(t, {_TASKS}.filter(o, o.id == t.id).size() > 1)"
_STRAY = f"{_TASKS}.filter(t, !t.depends_on.all(d, d in {_IDS}))"
_DONE = "state.done.map(r, r.id)"

CHECK = {
    "problem": f"""
        {_TASKS}.size() == 0 ? "the plan has no tasks" :
        {_TWICE}.size() > 0 ? "two tasks have the id " + {_TWICE}[0].id :
        {_STRAY}.size() > 0 ? {_STRAY}[0].id + " depends on "
            + {_STRAY}[0].depends_on.filter(d, !(d in {_IDS}))[0] + ", and there is no such task" :
        "" """,
    "sorted": "[]",
}
"""What is wrong with a plan at first sight, as CEL; the empty text if nothing is."""

SORT = {
    "sorted": f"""state.sorted + {_TASKS}.filter(
        t, !(t.id in state.sorted) && t.depends_on.all(d, d in state.sorted)
    ).map(t, t.id)""",
    "sorted_before": "state.sorted.size()",
}
"""One step of sorting by dependencies, as CEL: tasks come to `sorted` when all that they depend on are there. When a step
brings none and some are left, those wait for each other."""

CYCLE = {
    "problem": f"""{_TASKS}.filter(t, !(t.id in state.sorted))[0].id
        + " can never begin: it waits for tasks that wait for each other" """,
}
"""What is wrong with a plan that cannot be sorted."""

READY = {
    "wave": f"""{_TASKS}.filter(
        t, !(t.id in {_DONE}) && t.depends_on.all(d, d in {_DONE})
    ).map(t, {{
        "id": t.id, "doer": t.doer, "task": t.task, "needs": state.done.filter(r, r.id in t.depends_on)
    }})""",
}
"""The tasks that can begin, each with the results that it needs."""
