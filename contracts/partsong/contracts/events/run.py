"""Events of a run as a whole: how it begins, is steered, and ends."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue

from partsong.contracts.deadlines import DeadlineText
from partsong.contracts.errors import Problem
from partsong.contracts.events.base import EventBase
from partsong.contracts.graph import Graph
from partsong.contracts.services import GRAPH_ENGINE, Service
from partsong.contracts.talk.hooks import PluginRef

__all__ = [
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
    "RunParked",
    "RunPaused",
    "RunResumed",
    "RunRetried",
    "RunStarted",
    "RunStopping",
    "SignalReceived",
]

Outcome = Literal["failed", "cancelled", "limit_exceeded"]


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
    max_steps: int = Field(default=10_000, ge=0)
    """Node executions before the run ends with `limit_exceeded`."""
    max_cost: float | None = Field(default=None, ge=0)
    """US dollars for models before the run ends with `limit_exceeded`."""
    deadline: DeadlineText = None
    """RFC 3339, or in a request a duration from the run's beginning; a run that is not done by then ends with
    `limit_exceeded`."""
    on_busy: Literal["allow", "reject", "enqueue", "cancel_previous"] = "enqueue"
    """What happens if another run of the thread is open: go on beside it, refuse this one, wait, or cancel the other."""
    webhook: str | None = None
    """URL that is told when the run has ended."""
    parent: Parent | None = None
    """The run and call that wait for this one."""


class RunStarted(EventBase):
    """A request was accepted. The graph travels along: the log alone is enough to replay."""

    writer: ClassVar[Service] = GRAPH_ENGINE
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
    deadline_after: float | None = None
    """Seconds that were asked for, if the options' deadline, a moment, was made of a duration."""


class RunAdmitted(EventBase):
    """The run's thread is free: it begins."""

    writer: ClassVar[Service] = GRAPH_ENGINE
    type: Literal["run.admitted"] = "run.admitted"
    remembered: dict[str, JsonValue] = Field(default_factory=dict)
    """As in `RunStarted`, for a run that had to wait for its thread."""


class RunForked(EventBase):
    """A run begins where another one was at some moment of its log.

    `state` is that moment as data; what was in flight then is done again, and what was decided by people is asked again.
    """

    writer: ClassVar[Service] = GRAPH_ENGINE
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

    writer: ClassVar[Service] = GRAPH_ENGINE
    type: Literal["run.retried"] = "run.retried"
    graph: Graph | None = None
    graph_hash: str | None = None
    options: RunOptions | None = None
    reason: str | None = None


class RunPaused(EventBase):
    """Nothing new begins until the run is resumed; what is in flight reports as usual."""

    writer: ClassVar[Service] = GRAPH_ENGINE
    type: Literal["run.paused"] = "run.paused"
    reason: str | None = None


class RunResumed(EventBase):
    """A paused run goes on."""

    writer: ClassVar[Service] = GRAPH_ENGINE
    type: Literal["run.resumed"] = "run.resumed"


class SignalReceived(EventBase):
    """Somebody sent the run a named signal; it is kept until a node takes it."""

    writer: ClassVar[Service] = GRAPH_ENGINE
    type: Literal["signal.received"] = "signal.received"
    name: str
    key: str | None = None
    """Which of several waits is meant; without it, one that has no key."""
    payload: JsonValue = None


class OwnerChanged(EventBase):
    """Another engine took the run over; every commit its predecessor tries from now on is refused."""

    writer: ClassVar[Service] = GRAPH_ENGINE
    type: Literal["owner.changed"] = "owner.changed"
    owner: str


class RunStopping(EventBase):
    """The run will end with `outcome` as soon as its open calls are closed."""

    writer: ClassVar[Service] = GRAPH_ENGINE
    type: Literal["run.stopping"] = "run.stopping"
    outcome: Outcome
    error: Problem | None = None
    reason: str | None = None


class RunCompleted(EventBase):
    """The run ended well."""

    writer: ClassVar[Service] = GRAPH_ENGINE
    type: Literal["run.completed"] = "run.completed"


class RunFailedEvent(EventBase):
    """The run ended with an error."""

    writer: ClassVar[Service] = GRAPH_ENGINE
    type: Literal["run.failed"] = "run.failed"
    error: Problem


class RunCancelled(EventBase):
    """Somebody ended the run."""

    writer: ClassVar[Service] = GRAPH_ENGINE
    type: Literal["run.cancelled"] = "run.cancelled"
    reason: str | None = None


class RunLimitExceeded(EventBase):
    """The run met one of its limits."""

    writer: ClassVar[Service] = GRAPH_ENGINE
    type: Literal["run.limit_exceeded"] = "run.limit_exceeded"
    error: Problem


class RunParked(EventBase):
    """The engine cannot decide on the run: each try broke, and it tries no more until an engine starts."""

    writer: ClassVar[Service] = GRAPH_ENGINE
    type: Literal["run.parked"] = "run.parked"
    error: Problem
    traceback: tuple[str, ...] = ()
    """Where it broke, the innermost place last."""


class RunNotified(EventBase):
    """The webhook of an ended run has been told; with `error`, it could not be, and nobody tries again."""

    writer: ClassVar[Service] = GRAPH_ENGINE
    type: Literal["run.notified"] = "run.notified"
    call_id: str
    attempts: int = 1
    error: Problem | None = None
