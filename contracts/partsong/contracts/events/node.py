"""Events of a run's nodes: what the graph engine decides about scopes, executions, their calls and timers."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue

from partsong.contracts.errors import Problem
from partsong.contracts.events.run import EventBase

__all__ = [
    "AgentTurnRequested",
    "Allowance",
    "ApprovalRequested",
    "CallKind",
    "CallRequested",
    "ConversationCompacted",
    "NodeCancelled",
    "NodeCompensated",
    "NodeCompleted",
    "NodeFailed",
    "NodeScheduled",
    "ScopeClosed",
    "ScopeOpened",
    "TimerFired",
    "TimerPurpose",
    "TimerSet",
]

CallKind = Literal["function", "tool", "run", "hook"]
TimerPurpose = Literal["retry", "approval_deadline", "run_deadline", "wait", "signal_deadline"]


class ScopeOpened(EventBase):
    """A subgraph, one item of a map, or a graph that a model called begins. What it begins with follows from the state."""

    type: Literal["scope.opened"] = "scope.opened"
    scope: str
    exec: str
    index: int = 0
    tool: str = ""
    """The name by which a model called the graph."""


class ScopeClosed(EventBase):
    """A subgraph, or one item of a map, has ended, perhaps badly. Its result follows from the state."""

    type: Literal["scope.closed"] = "scope.closed"
    scope: str
    error: Problem | None = None


class NodeCancelled(EventBase):
    """An execution is given up: nobody needs it any more. Nothing it did counts, and nothing follows from it."""

    type: Literal["node.cancelled"] = "node.cancelled"
    exec: str
    reason: str | None = None


class NodeCompensated(EventBase):
    """What a completed execution did was undone; with `error`, it could not be."""

    type: Literal["node.compensated"] = "node.compensated"
    exec: str
    error: Problem | None = None


class NodeScheduled(EventBase):
    """A node fires: it takes the tokens that `sources` had sent to it."""

    type: Literal["node.scheduled"] = "node.scheduled"
    exec: str
    node: str
    visit: int
    depth: int
    """1 + the depth of the deepest source: the order in which updates are reduced."""
    sources: tuple[str, ...] = ()


class CallRequested(EventBase):
    """A function or tool is to be called. Its inputs follow from the state and are not copied here."""

    type: Literal["call.requested"] = "call.requested"
    call_id: str
    exec: str
    """The execution that waits for it; empty for what the run itself waits for: its hooks, its webhook."""
    kind: CallKind
    name: str
    attempt: int = 1
    child: str | None = None
    """The run that answers it, if a detached subgraph does."""
    approved: str | None = None
    """Who has agreed to a tool's call that needs it."""
    about: Problem | None = None
    """The error that plugins are asked about at `on_error`."""


class Allowance(BaseModel):
    """What one turn may use, set aside for it until it has ended; None is no bound."""

    model_config = ConfigDict(frozen=True, extra="allow")

    tokens: int | None = None
    """Input and output tokens together."""
    cost: float | None = None
    """US dollars."""


class AgentTurnRequested(EventBase):
    """A model is to be asked for the next turn of the conversation that the log already holds."""

    type: Literal["agent.turn.requested"] = "agent.turn.requested"
    call_id: str
    exec: str
    model: str
    attempt: int = 1
    allowance: Allowance = Allowance()
    purpose: Literal["answer", "compaction"] = "answer"
    """`compaction`: the model is asked to sum up the conversation so far."""
    repair: str | None = None
    """What the model is told about its last answer, which did not fit."""


class ConversationCompacted(EventBase):
    """An agent's conversation goes on with a summary of what was said; without one, as it was: nobody could sum it up."""

    type: Literal["agent.conversation.compacted"] = "agent.conversation.compacted"
    exec: str
    summary: str | None = None


class ApprovalRequested(EventBase):
    """A person is asked."""

    type: Literal["approval.requested"] = "approval.requested"
    call_id: str
    exec: str
    title: str
    detail: str = ""
    context: dict[str, JsonValue] = Field(default_factory=dict)
    editable: str | None = None
    """Key of the context, perhaps not in it yet, that the approver may give another value."""
    edit_schema: dict[str, JsonValue] | None = None
    """JSON Schema of that value."""
    deadline: str | None = None
    otherwise: Literal["approve", "reject"] = "reject"


class TimerSet(EventBase):
    """A durable timer waits."""

    type: Literal["timer.set"] = "timer.set"
    timer_id: str
    at: str
    purpose: TimerPurpose
    call_id: str | None = None
    exec: str | None = None
    """Wait nodes have no call; this is the execution that waits."""
    reason: str | None = None
    """The error code a retry answers to."""


class TimerFired(EventBase):
    """A timer's moment has come. Late or twice does no harm."""

    type: Literal["timer.fired"] = "timer.fired"
    timer_id: str
    at: str | None = None
    """The moment it was set for: a timer set anew does not fire for the one before."""


class NodeCompleted(EventBase):
    """An execution is done: its update counts, and tokens go along `edges`."""

    type: Literal["node.completed"] = "node.completed"
    exec: str
    label: str | None = None
    edges: tuple[int, ...] = ()
    update: dict[str, JsonValue] | None = None
    """What a transform computed; other updates follow from what was reported."""
    signal: str | None = None
    """Id of the signal that a wait node takes."""


class NodeFailed(EventBase):
    """An execution failed for good; `edges` are its failure edges, if it has any."""

    type: Literal["node.failed"] = "node.failed"
    exec: str
    error: Problem
    edges: tuple[int, ...] = ()
