"""What a run's events amount to: the only state there is, and all of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Literal, TypeAlias

from pydantic import BeforeValidator, Field, JsonValue, PlainSerializer

from partsong.contracts.errors import Problem
from partsong.contracts.events import (
    Outcome,
    RunOptions,
    TurnUsage,
)
from partsong.contracts.events.command import Verb
from partsong.contracts.graph import Graph, MapNode, Node, SubgraphNode, WaitNode
from partsong.contracts.persistent import chosen
from partsong.contracts.services import GRAPH_ENGINE
from partsong.contracts.state.calls import CANCELLED, MISSING, Call, Timer, Waiting, retrying
from partsong.contracts.state.scope import Execution, Ids, Scope, Token, scope_of
from partsong.contracts.talk.hooks import PluginRef

__all__ = [
    "CANCELLED",
    "ENDED",
    "MISSING",
    "Call",
    "Execution",
    "Origin",
    "Pending",
    "RunState",
    "Scope",
    "Signal",
    "Status",
    "Stopping",
    "Timer",
    "Token",
    "Undo",
    "Waiting",
    "line_of",
]

Status = Literal[
    "queued", "running", "waiting", "paused", "completed", "failed", "cancelled", "limit_exceeded"
]
_Line: TypeAlias = Annotated[
    Mapping[str, None],
    BeforeValidator(dict.fromkeys),
    PlainSerializer(tuple, return_type=tuple[str, ...]),
    Field(json_schema_extra={"default": []}),
]
"""Names, each once and in their order; JSON has a list of them."""
ENDED: frozenset[Status] = frozenset({"completed", "failed", "cancelled", "limit_exceeded"})


@dataclass(frozen=True)
class Stopping:
    """How the run is about to end."""

    outcome: Outcome
    error: Problem | None
    reason: str | None


@dataclass(frozen=True)
class Signal:
    """A signal that nobody has taken yet."""

    id: str
    payload: JsonValue


def line_of(name: str, key: str | None) -> str:
    """Where signals of a name wait in order, those with a key apart; no name holds a colon."""
    return name if key is None else f"{name}:{key}"


@dataclass(frozen=True)
class Undo:
    """A completed execution that can be undone, and what it saw, its own update included."""

    exec: str
    function: str
    view: Mapping[str, JsonValue]


@dataclass(frozen=True)
class Origin:
    """Where a forked run comes from."""

    run_id: str
    seq: int


@dataclass(frozen=True)
class Pending:
    """A command that has no outcome yet."""

    request_id: str
    verb: Verb
    digest: str
    request: Mapping[str, JsonValue]


def _wants_worker(call: Call) -> bool:
    """Whether a worker may be at it, unless all of them are away."""
    return call.open and call.kind not in {"approval", "run"}


@dataclass(frozen=True)
class RunState:
    """A run after some prefix of its log. `RunState(run_id)` is the run before its first event."""

    run_id: str
    status: Status = "queued"
    options: RunOptions = RunOptions()
    started: str = ""
    updated: str = ""
    commits: int = 0
    steps: int = 0
    owner: str | None = None
    paused: bool = False
    round: int = 0
    """How often it was retried."""
    retried: str = ""
    """The request of its newest retry: delivered again, it means nothing more."""
    origin: Origin | None = None
    digest: str = ""
    """Of the command that began it; empty where none did, as in one process and in old logs."""
    pending: Mapping[str, Pending] = field(default_factory=dict)
    """Commands without an outcome by their request, in the order in which the log has them."""
    plugins: tuple[PluginRef, ...] = ()
    """Who is asked at hook points."""
    scopes: Mapping[str, Scope] = field(default_factory=dict)
    """By path; the run's own graph is at the empty path."""
    calls: Mapping[str, Call] = field(default_factory=dict)
    due: _Line = field(default_factory=dict)
    """Executions that the next decision must look at."""
    timers: Mapping[str, Timer] = field(default_factory=dict)
    signals: Mapping[str, tuple[Signal, ...]] = field(default_factory=dict)
    """By name and key, see `line_of`, in order of arrival."""
    signalled: Ids = frozenset()
    """Ids of all signals so far: one that comes twice counts once."""
    undo: tuple[Undo, ...] = ()
    """In order of completion."""
    overdue: str | None = None
    """The deadline that has passed, until the run is stopped for it."""
    stopping: Stopping | None = None
    error: Problem | None = None
    superseded: tuple[str, ...] = ()
    """Ids of second results: recorded, without effect."""
    usage: TurnUsage = TurnUsage()
    uncompensated: Mapping[str, Problem] = field(default_factory=dict)
    """Executions that could not be undone, and why."""
    parked: Problem | None = None
    """Why no engine decides on it, until one does."""
    newer: Problem | None = None
    """An event of the log that is newer than its reader: behind it, the reader knows nothing of the run."""
    absent: Annotated[Mapping[str, str], Field(exclude=True)] = field(
        default_factory=dict, compare=False
    )
    """Services that were away when a client read the state, and how that showed; the log does not know it."""
    untaken: Annotated[Mapping[str, str], Field(exclude=True)] = field(
        default_factory=dict, compare=False
    )
    """Likewise the open calls that no worker had in its hands."""

    @property
    def root(self) -> Scope:
        """The scope of the run's own graph; only a started run has one."""
        assert "" in self.scopes, f"{self.run_id} has not started"  # noqa: S101
        return self.scopes[""]

    @property
    def graph(self) -> Graph | None:
        """The run's graph; None before it has started."""
        scope = self.scopes.get("")
        return scope.graph if scope is not None else None

    @property
    def ended(self) -> bool:
        """Whether nothing but a retry can change it any more, late results aside."""
        return self.status in ENDED

    @property
    def telling(self) -> bool:
        """Whether the run has ended, and its webhook has not been told yet."""
        return self.ended and any(
            not call.exec and call.kind != "hook" for call in self.calls.values()
        )

    @property
    def values(self) -> dict[str, JsonValue]:
        """The state with all writes so far."""
        return self.scopes[""].values if self.scopes else {}

    @property
    def executions(self) -> dict[str, Execution]:
        """All open executions, in all scopes."""
        return {id_: x for scope in self.scopes.values() for id_, x in scope.active.items()}

    def execution(self, exec_id: str) -> Execution | None:
        """An open execution."""
        scope = self.scopes.get(scope_of(exec_id))
        return scope.active.get(exec_id) if scope is not None else None

    def scope(self, execution: Execution) -> Scope:
        """The scope of an open execution."""
        return self.scopes[execution.scope]

    def node(self, execution: Execution) -> Node:
        """What an open execution visits."""
        return self.scopes[execution.scope].graph.nodes[execution.node]

    def view(self, execution: Execution) -> dict[str, JsonValue]:
        """The state as an open execution sees it."""
        return self.scopes[execution.scope].view(execution)

    def undone(self, exec_id: str) -> Undo | None:
        """What is known of a completed execution that can be undone."""
        return next((undo for undo in self.undo if undo.exec == exec_id), None)

    @property
    def phase(self) -> Status:
        """The status, and `waiting` for a running run in which nobody works: all that is open waits."""
        if self.status != "running":
            return self.status
        if self.paused and not self.stopping:
            return "paused"
        if GRAPH_ENGINE in self.absent or self.newer is not None or self.parked is not None:
            return "waiting"
        if not self.stopping and any(self._pressing(exec_id) for exec_id in self.due):
            return self.status
        if any(not self._away(call) for _, call in chosen(self.calls, _wants_worker)):
            return "running"
        return "waiting" if next(self._waitings(), None) is not None else "running"

    def _away(self, call: Call) -> str:
        """Why nobody is at it, as far as that was seen."""
        return self.absent.get(call.service) or self.untaken.get(call.id, "")

    def _pressing(self, exec_id: str) -> bool:
        """Whether a decision is overdue; what holds others, or waits itself, stays due while it does."""
        execution = self.execution(exec_id)
        return execution is not None and not isinstance(
            self.node(execution), WaitNode | MapNode | SubgraphNode
        )

    @property
    def waits_on(self) -> Waiting | None:
        """What a waiting run waits for, people first; None if it does not wait."""
        if self.phase != "waiting":
            return None
        if self.newer is not None:
            reason = f"needs a newer engine: {self.newer.message} ({self.newer.where})"
            return Waiting("worker", GRAPH_ENGINE, self.updated, None, reason)
        if self.parked is not None:
            return Waiting(
                "worker", GRAPH_ENGINE, self.updated, None, f"parked: {self.parked.message}"
            )
        if GRAPH_ENGINE in self.absent:
            return Waiting("worker", GRAPH_ENGINE, self.updated, None, self.absent[GRAPH_ENGINE])
        order = ("approval", "signal", "worker", "rate_limit", "retry", "timer", "run")
        return min(self._waitings(), key=lambda found: order.index(found.on))

    def _waitings(self) -> Iterator[Waiting]:
        for call in self.calls.values():
            timer = self.timers.get(call.waits or "")
            away = self._away(call)
            if call.open and call.kind == "approval":
                until = self.timers.get(f"{call.id}/deadline")
                yield Waiting("approval", call.id, call.since, until.at if until else None, away)
            elif call.open and away:
                yield Waiting("worker", call.id, call.since, None, away)
            elif call.open and call.kind == "run":
                yield Waiting("run", call.id, call.since)
            elif timer is not None and call.problem is not None:
                yield retrying(call, call.problem, timer)
        for scope in self.scopes.values():
            for execution in scope.active.values():
                node = scope.graph.nodes[execution.node]
                if isinstance(node, WaitNode) and execution.live:
                    timer = next((t for t in self.timers.values() if t.exec == execution.id), None)
                    yield Waiting(
                        "signal" if node.signal else "timer",
                        node.signal or execution.id,
                        execution.since,
                        timer.at if timer else None,
                    )
