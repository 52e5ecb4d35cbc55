"""Events of a run and its nodes: what the graph engine decides."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue

from partsong.contracts.errors import Problem
from partsong.contracts.graph import Graph

__all__ = [
    "AgentTurnRequested",
    "ApprovalRequested",
    "CallKind",
    "CallRequested",
    "EventBase",
    "NodeCompleted",
    "NodeFailed",
    "NodeScheduled",
    "Outcome",
    "OwnerChanged",
    "RunCancelled",
    "RunCompleted",
    "RunFailedEvent",
    "RunLimitExceeded",
    "RunOptions",
    "RunStarted",
    "RunStopping",
    "TimerFired",
    "TimerSet",
]

Outcome = Literal["failed", "cancelled", "limit_exceeded"]
CallKind = Literal["function", "tool"]


class EventBase(BaseModel):
    """What every event has; `type` is added by each."""

    model_config = ConfigDict(frozen=True, extra="allow")

    id: str = ""
    v: Literal[1] = 1
    time: str = ""
    cause: str = ""


class RunOptions(BaseModel):
    """What a run request may ask for beside its graph and input."""

    model_config = ConfigDict(frozen=True, extra="allow")

    thread: str | None = None
    """Runs of one conversation share it."""
    labels: dict[str, str] = Field(default_factory=dict)
    max_steps: int = Field(default=10_000, ge=1)
    """Node executions before the run ends with `limit_exceeded`."""
    deadline: str | None = None
    """RFC 3339; a run that is not done by then ends with `limit_exceeded`."""


class RunStarted(EventBase):
    """A request was accepted. The graph travels along: the log alone is enough to replay."""

    type: Literal["run.started"] = "run.started"
    graph: Graph
    graph_hash: str
    input: dict[str, JsonValue]
    options: RunOptions = RunOptions()
    request_id: str = ""


class OwnerChanged(EventBase):
    """Another engine took the run over; every commit its predecessor tries from now on is refused."""

    type: Literal["owner.changed"] = "owner.changed"
    owner: str


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
    kind: CallKind
    name: str
    attempt: int = 1


class AgentTurnRequested(EventBase):
    """A model is to be asked for the next turn of the conversation that the log already holds."""

    type: Literal["agent.turn.requested"] = "agent.turn.requested"
    call_id: str
    exec: str
    model: str
    attempt: int = 1


class ApprovalRequested(EventBase):
    """A person is asked."""

    type: Literal["approval.requested"] = "approval.requested"
    call_id: str
    exec: str
    title: str
    detail: str = ""
    context: dict[str, JsonValue] = Field(default_factory=dict)
    deadline: str | None = None
    otherwise: Literal["approve", "reject"] = "reject"


class TimerSet(EventBase):
    """A durable timer waits."""

    type: Literal["timer.set"] = "timer.set"
    timer_id: str
    at: str
    purpose: Literal["retry", "approval_deadline", "run_deadline"]
    call_id: str | None = None
    reason: str | None = None
    """The error code a retry answers to."""


class TimerFired(EventBase):
    """A timer's moment has come. Late or twice does no harm."""

    type: Literal["timer.fired"] = "timer.fired"
    timer_id: str


class NodeCompleted(EventBase):
    """An execution is done: its update counts, and tokens go along `edges`."""

    type: Literal["node.completed"] = "node.completed"
    exec: str
    label: str | None = None
    edges: tuple[int, ...] = ()


class NodeFailed(EventBase):
    """An execution failed for good; `edges` are its failure edges, if it has any."""

    type: Literal["node.failed"] = "node.failed"
    exec: str
    error: Problem
    edges: tuple[int, ...] = ()


class RunStopping(EventBase):
    """The run will end with `outcome` as soon as its open calls are closed."""

    type: Literal["run.stopping"] = "run.stopping"
    outcome: Outcome
    error: Problem | None = None
    reason: str | None = None


class RunCompleted(EventBase):
    """The run ended well."""

    type: Literal["run.completed"] = "run.completed"


class RunFailedEvent(EventBase):
    """The run ended with an error."""

    type: Literal["run.failed"] = "run.failed"
    error: Problem


class RunCancelled(EventBase):
    """Somebody ended the run."""

    type: Literal["run.cancelled"] = "run.cancelled"
    reason: str | None = None


class RunLimitExceeded(EventBase):
    """The run met one of its limits."""

    type: Literal["run.limit_exceeded"] = "run.limit_exceeded"
    error: Problem
