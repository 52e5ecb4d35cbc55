"""One running graph inside a run: its state, its waiting tokens, its open executions.

A run has one scope with an empty path, and one for every open subgraph and map item. Only what a later decision can
need is kept: writes that every open path has seen settle into `settled`; their history is in the log.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, TypeAlias

from pydantic import JsonValue, PlainSerializer

from partsong.contracts.errors import Problem
from partsong.contracts.events import TurnUsage
from partsong.contracts.graph import AtLeast, Graph, Node, ReducerName
from partsong.contracts.graph.plan import Plan, plan_of
from partsong.contracts.graph.reducers import Write, reduced
from partsong.contracts.talk.messages import Message

__all__ = ["Execution", "Ids", "Scope", "Talk", "Token", "scope_of"]


Ids: TypeAlias = Annotated[frozenset[str], PlainSerializer(sorted, return_type=list[str])]
"""Ids in no order; written down sorted, so that every process writes the same."""


def scope_of(exec_id: str) -> str:
    """The path of the scope an execution belongs to: its id up to the last slash."""
    return exec_id.rpartition("/")[0]


@dataclass(frozen=True)
class Token:
    """A finished execution's mark at the next node."""

    source: str
    depth: int
    seen: Ids
    """Unsettled executions whose writes come along, the source's own among them."""
    after: Ids = frozenset()
    """The newest visits of early joins that it comes from: a token that lacks one of them is late there."""
    private: Mapping[str, JsonValue] = field(default_factory=dict)
    """What only the next node sees."""


@dataclass(frozen=True)
class Talk:
    """What an agent's conversation has cost and come to, in one visit."""

    usage: TurnUsage = TurnUsage()
    """Of all attempts of all turns that have ended."""
    tool_calls: int = 0
    repairs: int = 0
    """Answers sent back because they did not fit."""
    seen: Mapping[str, int] = field(default_factory=dict)
    """How often each tool call gave each result, by digest."""
    unknown: int = 0
    """Turns in a row whose calls all named tools that there are not."""
    warned: bool = False
    """The model was told that it goes round in circles."""
    inherited: int = 0
    """So many of the messages were there before the visit."""
    model: str | None = None
    """The model that the router chose last."""
    compacted: int = 0
    """The turn after which somebody was last asked to sum it up."""
    shortened: bool = False
    """A summary stands for what was said first."""


@dataclass(frozen=True)
class Execution:
    """One visit of one node, from scheduled to completed; one that failed stays until the run is retried or ends."""

    id: str
    node: str
    visit: int
    depth: int
    seen: Ids
    since: str = ""
    """When it was scheduled."""
    after: Ids = frozenset()
    private: Mapping[str, JsonValue] = field(default_factory=dict)
    arrived: int = 1
    """How many tokens it took."""
    held: tuple[Token, ...] = ()
    """Those tokens, if its join wants more of them: a retry gives them back."""
    turn: int = 0
    """Agent nodes: turns requested so far."""
    messages: tuple[Message, ...] = ()
    """Agent nodes: the conversation up to the turn that is open."""
    talk: Talk = Talk()
    """Agent nodes: what the conversation has cost and come to."""
    opened: int = 0
    """Subgraphs and maps: scopes opened so far."""
    results: Mapping[int, JsonValue] = field(default_factory=dict)
    """What ended scopes gave, by index; for an agent, those that its last turn called."""
    broken: Mapping[int, Problem] = field(default_factory=dict)
    """Scopes that failed, likewise."""
    timer: str | None = None
    """Wait nodes: the timer that was set for it."""
    problem: Problem | None = None
    """Why it failed."""
    round: int = 0
    """How often its run was retried or forked since it was scheduled."""

    @property
    def scope(self) -> str:
        """The path of its scope."""
        return scope_of(self.id)

    @property
    def live(self) -> bool:
        """Whether something can still come of it without a retry."""
        return self.problem is None


@dataclass(frozen=True)
class Scope:
    """A graph under way."""

    path: str
    graph: Graph
    exec: str = ""
    """The execution that it belongs to; the run's own scope has none."""
    index: int = 0
    """Which item of a map, or which tool call of a turn it is."""
    tool: str = ""
    """The name by which a model called its graph."""
    settled: Mapping[str, JsonValue] = field(default_factory=dict)
    writes: Mapping[str, tuple[Write, ...]] = field(default_factory=dict)
    """Per key, in reduction order: what has not settled."""
    added: Mapping[str, JsonValue] = field(default_factory=dict)
    """Inner scopes: all settled writes per key, reduced on nothing: what goes to the outer graph's reducers."""
    tokens: Mapping[str, tuple[Token, ...]] = field(default_factory=dict)
    visits: Mapping[str, int] = field(default_factory=dict)
    active: Mapping[str, Execution] = field(default_factory=dict)
    problem: Problem | None = None
    """Why it failed."""

    @property
    def plan(self) -> Plan:
        """The graph, ready to run."""
        return plan_of(self.graph)

    @property
    def quiet(self) -> bool:
        """Whether nothing runs in it and nothing can begin."""
        if self.tokens:
            return False
        return all(execution.problem is not None for execution in self.active.values())

    def name(self, node: str, visit: int) -> str:
        """The id of a visit."""
        return f"{self.path}/{node}:{visit}" if self.path else f"{node}:{visit}"

    def node(self, execution: Execution) -> Node:
        """What an execution visits."""
        return self.graph.nodes[execution.node]

    def reducer(self, key: str) -> ReducerName:
        """The reducer of a key."""
        return self.graph.reducers.get(key, "replace")

    def seen_by(self, seen: frozenset[str]) -> dict[str, JsonValue]:
        """The state for somebody whose unsettled ancestors are `seen`."""
        values = dict(self.settled)
        for key, writes in self.writes.items():
            visible = [w for w in writes if w.exec in seen]
            if visible:
                values[key] = reduced(self.reducer(key), key, self.settled, visible)
        return values

    def view(self, execution: Execution) -> dict[str, JsonValue]:
        """The state as an execution sees it, its private values included."""
        values = self.seen_by(execution.seen)
        values.update(execution.private)
        return values

    @property
    def values(self) -> dict[str, JsonValue]:
        """The state with all writes so far."""
        values = dict(self.settled)
        for key, writes in self.writes.items():
            values[key] = reduced(self.reducer(key), key, self.settled, writes)
        return values

    def needs(self, node: str) -> int:
        """How many tokens a node's join wants at least."""
        join = self.graph.nodes[node].join
        return join.n if isinstance(join, AtLeast) else 1

    def late(self, node: str, after: frozenset[str]) -> bool:
        """Whether an early join has fired without whoever comes from `after` only."""
        return (
            node in self.plan.early
            and (visit := self.visits.get(node, 0)) > 0
            and self.name(node, visit) not in after
        )

    def reach(self, node: str, after: frozenset[str]) -> int:
        """What can be reached from a node over one or more edges, past early joins that have fired already."""
        plan = self.plan
        if not plan.early:
            return plan.reach[node]
        closed = frozenset(join for join in plan.early if join != node and self.late(join, after))
        return plan.reach_without(closed)[node]
