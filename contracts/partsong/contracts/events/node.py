"""Events of a run's nodes: what the graph engine decides about scopes and executions."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import JsonValue

from partsong.contracts.errors import Problem
from partsong.contracts.events.base import EventBase
from partsong.contracts.services import GRAPH_ENGINE, Service

__all__ = [
    "NodeCancelled",
    "NodeCompensated",
    "NodeCompleted",
    "NodeFailed",
    "NodeScheduled",
    "ScopeClosed",
    "ScopeOpened",
]


class ScopeOpened(EventBase):
    """A subgraph, one item of a map, or a graph that a model called begins. What it begins with follows from the state."""

    writer: ClassVar[Service] = GRAPH_ENGINE
    type: Literal["scope.opened"] = "scope.opened"
    scope: str
    exec: str
    index: int = 0
    tool: str = ""
    """The name by which a model called the graph."""


class ScopeClosed(EventBase):
    """A subgraph, or one item of a map, has ended, perhaps badly. Its result follows from the state."""

    writer: ClassVar[Service] = GRAPH_ENGINE
    type: Literal["scope.closed"] = "scope.closed"
    scope: str
    error: Problem | None = None


class NodeCancelled(EventBase):
    """An execution is given up: nobody needs it any more. Nothing it did counts, and nothing follows from it."""

    writer: ClassVar[Service] = GRAPH_ENGINE
    type: Literal["node.cancelled"] = "node.cancelled"
    exec: str
    reason: str | None = None


class NodeCompensated(EventBase):
    """What a completed execution did was undone; with `error`, it could not be."""

    writer: ClassVar[Service] = GRAPH_ENGINE
    type: Literal["node.compensated"] = "node.compensated"
    exec: str
    error: Problem | None = None


class NodeScheduled(EventBase):
    """A node fires: it takes the tokens that `sources` had sent to it."""

    writer: ClassVar[Service] = GRAPH_ENGINE
    type: Literal["node.scheduled"] = "node.scheduled"
    exec: str
    node: str
    visit: int
    depth: int
    """1 + the depth of the deepest source: the order in which updates are reduced."""
    sources: tuple[str, ...] = ()


class NodeCompleted(EventBase):
    """An execution is done: its update counts, and tokens go along `edges`."""

    writer: ClassVar[Service] = GRAPH_ENGINE
    type: Literal["node.completed"] = "node.completed"
    exec: str
    label: str | None = None
    edges: tuple[int, ...] = ()
    update: dict[str, JsonValue] | None = None
    """What a transform computed; other updates follow from what was reported."""
    signal: str | None = None
    """Id of the signal that a wait node takes."""
    signal_key: str | None = None
    """The key by which it was found."""


class NodeFailed(EventBase):
    """An execution failed for good; `edges` are its failure edges, if it has any."""

    writer: ClassVar[Service] = GRAPH_ENGINE
    type: Literal["node.failed"] = "node.failed"
    exec: str
    error: Problem
    edges: tuple[int, ...] = ()
