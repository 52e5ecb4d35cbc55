"""What the nodes of random graphs do: one pure function for all, told by the state which node does what.

The plan travels in the state under `world`, so the same run can be played by the reference interpreter, by a
simulation, and by tool-runners on a bus.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypedDict

from pydantic import JsonValue

__all__ = ["EVER", "Act", "Deed", "act", "comes", "deed_of"]

EVER = 99
"""As a number of failing attempts: none succeeds."""


class Deed(TypedDict, total=False):
    """What one node does."""

    routes: list[str | None]
    """Labels of its first visits; `@name` goes to a node. None is a plain return."""
    out: str | None
    """Label of all later visits: it leads on, so loops end."""
    fails: int
    """How many attempts fail."""
    breaks_at: int
    """The item of a map at which no attempt succeeds."""
    quiet: bool
    """Writes nothing."""
    piles: bool
    """Puts an `Overwrite` where others append."""
    clashes: int
    """Written to a key that has no reducer and that other nodes write too."""
    comes: bool
    """Of a wait: whether its signal is sent."""


@dataclass(frozen=True)
class Act:
    """What a call returned."""

    update: dict[str, JsonValue]
    label: str | None = None
    goto: tuple[str, ...] = ()


def deed_of(state: dict[str, JsonValue], node: str) -> Deed:
    """The part of the plan that is for a node."""
    world = state["world"]
    assert isinstance(world, dict)
    return world.get(node, {})  # type: ignore[return-value]  # the strategy made it


def comes(state: dict[str, JsonValue], node: str) -> bool:
    """Whether the signal that a node waits for is sent."""
    return deed_of(state, node).get("comes", True)


def act(node: str, state: dict[str, JsonValue], attempt: int) -> Act:
    """One attempt of one node's function.

    Raises:
        ValueError: the plan says that it fails.
    """
    deed = deed_of(state, node)
    if attempt <= deed.get("fails", 0) or deed.get("breaks_at", -1) == state.get("index"):
        raise ValueError(f"{node} fails at attempt {attempt}")
    path = state.get("log", [])
    assert isinstance(path, list)
    visit = path.count(node)
    routes = deed.get("routes", [])
    route = routes[visit] if visit < len(routes) else deed.get("out")
    goto = (route[1:],) if route is not None and route.startswith("@") else ()
    return Act(
        {} if deed.get("quiet") else _update(node, visit, deed, state.get("error")),
        None if goto else route,
        goto,
    )


def _update(node: str, visit: int, deed: Deed, error: JsonValue) -> dict[str, JsonValue]:
    pile: JsonValue = {"__overwrite__": [node]} if deed.get("piles") else f"{node}.{visit}"
    update: dict[str, JsonValue] = {"log": node, "sum": 1, "pile": pile, f"at_{node}": visit}
    if isinstance(error, dict):
        update[f"blames_{node}"] = error["node"]
    if "clashes" in deed:
        update["clash"] = deed["clashes"]
    return update
