"""What a run's events amount to: the only state there is, and all of it.

Only what a later decision can need is kept: open executions, waiting tokens, open calls, set timers, and the writes
that some open execution has not seen yet. The rest has settled into `settled`; its history is in the log.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from pydantic import JsonValue

from partsong.contracts.errors import Problem
from partsong.contracts.events import (
    AgentTurnCompleted,
    ApprovalDecided,
    ApprovalExpired,
    CallCompleted,
    Outcome,
    RunOptions,
    TurnUsage,
)
from partsong.contracts.graph import Graph
from partsong.contracts.messages import Message
from partsong.contracts.plan import Plan, plan_of
from partsong.contracts.values import Write, reduced

__all__ = ["ENDED", "Call", "Execution", "RunState", "Status", "Stopping", "Timer", "Token"]

Status = Literal[
    "queued", "running", "waiting", "paused", "completed", "failed", "cancelled", "limit_exceeded"
]
ENDED: frozenset[Status] = frozenset({"completed", "failed", "cancelled", "limit_exceeded"})


@dataclass(frozen=True)
class Token:
    """A finished execution's mark at the next node."""

    source: str
    depth: int
    seen: frozenset[str]
    """Unsettled executions whose writes come along, the source's own among them."""


@dataclass(frozen=True)
class Execution:
    """One visit of one node, from scheduled to completed."""

    id: str
    node: str
    visit: int
    depth: int
    seen: frozenset[str]
    since: str = ""
    """When it was scheduled."""
    turn: int = 0
    """Agent nodes: turns requested so far."""
    messages: tuple[Message, ...] = ()
    """Agent nodes: the conversation up to the turn that is open."""


@dataclass(frozen=True)
class Call:
    """A function, tool, agent turn or approval that an execution waits for."""

    id: str
    exec: str
    kind: Literal["function", "tool", "agent.turn", "approval"]
    name: str
    attempt: int = 1
    worker: str | None = None
    """Who has claimed the attempt."""
    claim: int = 0
    """Sequence of the last record on the call's subject, to guard the next one; 0 if there is none."""
    since: str = ""
    lapsed: bool = False
    expired: bool = False
    """An approval's deadline has passed."""
    outcome: CallCompleted | AgentTurnCompleted | ApprovalDecided | ApprovalExpired | None = None
    problem: Problem | None = None
    retry_after: float | None = None
    closed_by: str | None = None
    """Id of the event that closed the attempt."""
    waits: str | None = None
    """Id of the timer before the next attempt."""
    rested: bool = False
    """That timer has fired."""

    @property
    def open(self) -> bool:
        """Whether a worker, or a person, still owes the answer."""
        return self.closed_by is None

    @property
    def guarded(self) -> bool:
        """Whether it is closed on its own subject, under a guard."""
        return self.kind != "function"


@dataclass(frozen=True)
class Timer:
    """A durable timer that has not fired."""

    id: str
    at: str
    purpose: Literal["retry", "approval_deadline", "run_deadline"]
    call_id: str | None = None


@dataclass(frozen=True)
class Stopping:
    """How the run is about to end."""

    outcome: Outcome
    error: Problem | None
    reason: str | None


@dataclass(frozen=True)
class RunState:
    """A run after some prefix of its log. `RunState(run_id)` is the run before its first event."""

    run_id: str
    status: Status = "queued"
    graph: Graph | None = None
    options: RunOptions = RunOptions()
    started: str = ""
    updated: str = ""
    commits: int = 0
    steps: int = 0
    owner: str | None = None
    settled: Mapping[str, JsonValue] = field(default_factory=dict)
    writes: Mapping[str, tuple[Write, ...]] = field(default_factory=dict)
    """Per key, in reduction order: what has not settled."""
    executions: Mapping[str, Execution] = field(default_factory=dict)
    visits: Mapping[str, int] = field(default_factory=dict)
    tokens: Mapping[str, tuple[Token, ...]] = field(default_factory=dict)
    calls: Mapping[str, Call] = field(default_factory=dict)
    due: tuple[str, ...] = ()
    """Executions that the next decision must look at."""
    timers: Mapping[str, Timer] = field(default_factory=dict)
    stopping: Stopping | None = None
    error: Problem | None = None
    superseded: tuple[str, ...] = ()
    """Ids of second results: recorded, without effect."""
    usage: TurnUsage = TurnUsage()

    @property
    def plan(self) -> Plan:
        """The graph, ready to run; only a started run has one."""
        assert self.graph is not None, f"{self.run_id} has not started"  # noqa: S101
        return plan_of(self.graph)

    @property
    def ended(self) -> bool:
        """Whether no event can change it any more, late results aside."""
        return self.status in ENDED

    def seen_by(self, seen: frozenset[str]) -> dict[str, JsonValue]:
        """The state as an execution sees it whose unsettled ancestors are `seen`."""
        values = dict(self.settled)
        for key, writes in self.writes.items():
            visible = [w for w in writes if w.exec in seen]
            if visible:
                values[key] = reduced(self.reducer(key), key, self.settled, visible)
        return values

    @property
    def values(self) -> dict[str, JsonValue]:
        """The state with all writes so far."""
        values = dict(self.settled)
        for key, writes in self.writes.items():
            values[key] = reduced(self.reducer(key), key, self.settled, writes)
        return values

    def reducer(
        self, key: str
    ) -> Literal["replace", "append", "merge", "add", "min", "max", "union"]:
        """The reducer of a key."""
        return self.graph.reducers.get(key, "replace") if self.graph else "replace"

    @property
    def phase(self) -> Status:
        """The status, and `waiting` for a running run in which nobody works: all that is open waits."""
        if self.status != "running" or self.due or self.stopping:
            return self.status
        calls = self.calls.values()
        working = any(call.open and call.kind != "approval" for call in calls)
        return "waiting" if calls and not working else "running"

    @property
    def waits_on(self) -> str | None:
        """What a waiting run waits for, in one sentence; None if it does not wait."""
        if self.phase != "waiting":
            return None
        for call in self.calls.values():
            if call.kind == "approval" and call.open:
                return f"approval {call.id} since {call.since}"
        for call in self.calls.values():
            if call.waits is not None and (timer := self.timers.get(call.waits)):
                return f"retry of {call.id} at {timer.at}"
        return None
