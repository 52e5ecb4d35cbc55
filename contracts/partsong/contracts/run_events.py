"""Events of a run and its nodes: what the graph engine decides."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue

from partsong.contracts.errors import Problem
from partsong.contracts.graph import Graph
from partsong.contracts.hooks import PluginRef

__all__ = [
    "AgentTurnRequested",
    "Allowance",
    "ApprovalRequested",
    "CallKind",
    "CallRequested",
    "ConversationCompacted",
    "EventBase",
    "NodeCancelled",
    "NodeCompensated",
    "NodeCompleted",
    "NodeFailed",
    "NodeScheduled",
    "Outcome",
    "OwnerChanged",
    "Parent",
    "RunAdmitted",
    "RunCancelled",
    "RunCompleted",
    "RunFailedEvent",
    "RunForked",
    "RunLimitExceeded",
    "RunNotified",
    "RunOptions",
    "RunPaused",
    "RunResumed",
    "RunRetried",
    "RunStarted",
    "RunStopping",
    "ScopeClosed",
    "ScopeOpened",
    "SignalReceived",
    "TimerFired",
    "TimerPurpose",
    "TimerSet",
]

Outcome = Literal["failed", "cancelled", "limit_exceeded"]
CallKind = Literal["function", "tool", "run", "hook"]
TimerPurpose = Literal["retry", "approval_deadline", "run_deadline", "wait", "signal_deadline"]


class EventBase(BaseModel):
    """What every event has; `type` is added by each."""

    model_config = ConfigDict(frozen=True, extra="allow")

    id: str = ""
    v: Literal[1] = 1
    time: str = ""
    cause: str = ""


class Parent(BaseModel):
    """The call in another run that a detached subgraph answers."""

    model_config = ConfigDict(frozen=True, extra="allow")

    run_id: str
    call_id: str
    attempt: int = 1


class RunOptions(BaseModel):
    """What a run request may ask for beside its graph and input."""

    model_config = ConfigDict(frozen=True, extra="allow")

    thread: str | None = None
    """Runs of one conversation share it."""
    labels: dict[str, str] = Field(default_factory=dict)
    max_steps: int = Field(default=10_000, ge=1)
    """Node executions before the run ends with `limit_exceeded`."""
    max_cost: float | None = Field(default=None, gt=0)
    """US dollars for models before the run ends with `limit_exceeded`."""
    deadline: str | None = None
    """RFC 3339; a run that is not done by then ends with `limit_exceeded`."""
    on_busy: Literal["allow", "reject", "enqueue", "cancel_previous"] = "enqueue"
    """What happens if another run of the thread is open: go on beside it, refuse this one, wait, or cancel the other."""
    webhook: str | None = None
    """URL that is told when the run has ended."""
    parent: Parent | None = None
    """The run and call that wait for this one."""


class RunStarted(EventBase):
    """A request was accepted. The graph travels along: the log alone is enough to replay."""

    type: Literal["run.started"] = "run.started"
    graph: Graph
    graph_hash: str
    input: dict[str, JsonValue]
    options: RunOptions = RunOptions()
    request_id: str = ""
    queued: bool = False
    """It waits until its thread is free."""
    plugins: tuple[PluginRef, ...] = ()
    """Who is asked at the run's hook points."""
    remembered: dict[str, JsonValue] = Field(default_factory=dict)
    """What the thread's last run has left for this one: the keys that the graph calls its memory."""


class RunAdmitted(EventBase):
    """The run's thread is free: it begins."""

    type: Literal["run.admitted"] = "run.admitted"
    remembered: dict[str, JsonValue] = Field(default_factory=dict)
    """As in `RunStarted`, for a run that had to wait for its thread."""


class RunForked(EventBase):
    """A run begins where another one was at some moment of its log.

    `state` is that moment as data; what was in flight then is done again, and what was decided by people is asked again.
    """

    type: Literal["run.forked"] = "run.forked"
    origin: str
    """The run it comes from."""
    origin_seq: int
    """The last sequence of the log that it shares with its origin."""
    state: dict[str, JsonValue]
    edited: tuple[str, ...] = ()
    """State keys and executions whose values the caller has changed."""
    request_id: str = ""


class RunRetried(EventBase):
    """An ended run goes on: what is unfinished is done again, perhaps with a mended graph or larger limits."""

    type: Literal["run.retried"] = "run.retried"
    graph: Graph | None = None
    graph_hash: str | None = None
    options: RunOptions | None = None
    reason: str | None = None


class RunPaused(EventBase):
    """Nothing new begins until the run is resumed; what is in flight reports as usual."""

    type: Literal["run.paused"] = "run.paused"
    reason: str | None = None


class RunResumed(EventBase):
    """A paused run goes on."""

    type: Literal["run.resumed"] = "run.resumed"


class SignalReceived(EventBase):
    """Somebody sent the run a named signal; it is kept until a node takes it."""

    type: Literal["signal.received"] = "signal.received"
    name: str
    payload: JsonValue = None


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


class RunNotified(EventBase):
    """The webhook of an ended run has been told; with `error`, it could not be, and nobody tries again."""

    type: Literal["run.notified"] = "run.notified"
    call_id: str
    attempts: int = 1
    error: Problem | None = None
