"""What the reference interpreter says of a graph: what it wrote, what ran, and how sure that is."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from pydantic import JsonValue

from partsong.contracts.graph import Graph
from partsong.contracts.graph.reducers import OVERWRITE, overwritten, reduce

__all__ = ["Ambiguous", "Ran", "State", "Written", "added_by", "reduced_writes", "unwrapped"]

State = dict[str, JsonValue]
Limit = Literal["no", "maybe", "yes"]


class Ambiguous(Exception):
    """The graph's meaning depends on timing, or it runs for too long: no example for a comparison."""


@dataclass(frozen=True)
class Written:
    """One value for one key; sorts in reduction order."""

    depth: int
    position: int
    exec: str
    key: str
    value: JsonValue


@dataclass
class Ran:
    """What became of a graph."""

    state: State
    added: State
    """Its own writes alone: what goes through the reducers around it."""
    writes: list[Written]
    base: State
    failed: str | None
    must: set[str]
    """Executions that happen, whatever comes first."""
    may: set[str] = field(default_factory=set)
    """Executions that something else may have come before."""
    limit: Limit = "no"

    def doubt(self) -> None:
        """Something else may end it early."""
        self.may |= self.must
        self.must = set()
        self.limit = "maybe" if self.limit == "yes" else self.limit


def reduced_writes(graph: Graph, base: State, writes: list[Written]) -> State:
    """The state after some writes."""
    state = dict(base)
    for write in sorted(writes, key=lambda w: (w.depth, w.position, w.exec)):
        name = graph.reducers.get(write.key, "replace")
        old = state.get(write.key)
        state[write.key] = reduce(name, write.key, write.key in state, old, write.value)
    return state


def added_by(graph: Graph, writes: list[Written]) -> State:
    fresh = {write.key for write in writes if overwritten(write.value) is not None}
    values = reduced_writes(graph, {}, writes)
    return {key: {OVERWRITE: value} if key in fresh else value for key, value in values.items()}


def unwrapped(value: JsonValue) -> JsonValue:
    found = overwritten(value)
    return found[0] if found is not None else value
