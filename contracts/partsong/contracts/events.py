"""Every event the log can hold: what it says, and which service may write it.

On the wire an event is `{id, type, v, time, cause, data}` (CloudEvents 1.0 terms; `cause` is the id of what led to it).
In Python it is one flat frozen model, so that a `match` reads it at a glance. `write` and `read` convert.

Ids are derived, never drawn: `<run>.<what>.<verb>`. The same thing said twice has the same id.
Execution ids are `<node>:<visit>`; call ids are the execution's id, with `/t<turn>` and `/c<index>` for an agent's
turns and the tool calls in them.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypeAlias, cast, get_args

from pydantic import BaseModel, ConfigDict, Field, JsonValue, TypeAdapter, ValidationError

from partsong.contracts.errors import InvalidInput, Problem
from partsong.contracts.graph import Graph
from partsong.contracts.messages import AssistantMessage
from partsong.contracts.upcast import upcast

__all__ = [
    "EVENTS",
    "WRITERS",
    "AgentTurnClaimed",
    "AgentTurnCompleted",
    "AgentTurnFailed",
    "AgentTurnRequested",
    "ApprovalDecided",
    "ApprovalExpired",
    "ApprovalRequested",
    "CallCancelled",
    "CallClaimed",
    "CallCompleted",
    "CallFailed",
    "CallKind",
    "CallLapsed",
    "CallRequested",
    "Event",
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
    "TurnUsage",
    "Writer",
    "read",
    "write",
]

Writer = Literal["graph-engine", "agent-gateway", "tool-runner", "approval"]
Outcome = Literal["failed", "cancelled", "limit_exceeded"]
CallKind = Literal["function", "tool"]


class _Event(BaseModel):
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
    max_steps: int = Field(10_000, ge=1)
    """Node executions before the run ends with `limit_exceeded`."""
    deadline: str | None = None
    """RFC 3339; a run that is not done by then ends with `limit_exceeded`."""


class RunStarted(_Event):
    """A request was accepted. The graph travels along: the log alone is enough to replay."""

    type: Literal["run.started"] = "run.started"
    graph: Graph
    graph_hash: str
    input: dict[str, JsonValue]
    options: RunOptions = RunOptions()
    request_id: str = ""


class OwnerChanged(_Event):
    """Another engine took the run over; every commit its predecessor tries from now on is refused."""

    type: Literal["owner.changed"] = "owner.changed"
    owner: str


class NodeScheduled(_Event):
    """A node fires: it takes the tokens that `sources` had sent to it."""

    type: Literal["node.scheduled"] = "node.scheduled"
    exec: str
    node: str
    visit: int
    depth: int
    """1 + the depth of the deepest source: the order in which updates are reduced."""
    sources: tuple[str, ...] = ()


class CallRequested(_Event):
    """A function or tool is to be called. Its inputs follow from the state and are not copied here."""

    type: Literal["call.requested"] = "call.requested"
    call_id: str
    exec: str
    kind: CallKind
    name: str
    attempt: int = 1


class AgentTurnRequested(_Event):
    """A model is to be asked for the next turn of the conversation that the log already holds."""

    type: Literal["agent.turn.requested"] = "agent.turn.requested"
    call_id: str
    exec: str
    model: str
    attempt: int = 1


class ApprovalRequested(_Event):
    """A person is asked."""

    type: Literal["approval.requested"] = "approval.requested"
    call_id: str
    exec: str
    title: str
    detail: str = ""
    context: dict[str, JsonValue] = Field(default_factory=dict)
    deadline: str | None = None
    otherwise: Literal["approve", "reject"] = "reject"


class TimerSet(_Event):
    """A durable timer waits."""

    type: Literal["timer.set"] = "timer.set"
    timer_id: str
    at: str
    purpose: Literal["retry", "approval_deadline", "run_deadline"]
    call_id: str | None = None
    reason: str | None = None
    """The error code a retry answers to."""


class TimerFired(_Event):
    """A timer's moment has come. Late or twice does no harm."""

    type: Literal["timer.fired"] = "timer.fired"
    timer_id: str


class NodeCompleted(_Event):
    """An execution is done: its update counts, and tokens go along `edges`."""

    type: Literal["node.completed"] = "node.completed"
    exec: str
    label: str | None = None
    edges: tuple[int, ...] = ()


class NodeFailed(_Event):
    """An execution failed for good; `edges` are its failure edges, if it has any."""

    type: Literal["node.failed"] = "node.failed"
    exec: str
    error: Problem
    edges: tuple[int, ...] = ()


class RunStopping(_Event):
    """The run will end with `outcome` as soon as its open calls are closed."""

    type: Literal["run.stopping"] = "run.stopping"
    outcome: Outcome
    error: Problem | None = None
    reason: str | None = None


class RunCompleted(_Event):
    """The run ended well."""

    type: Literal["run.completed"] = "run.completed"


class RunFailedEvent(_Event):
    """The run ended with an error."""

    type: Literal["run.failed"] = "run.failed"
    error: Problem


class RunCancelled(_Event):
    """Somebody ended the run."""

    type: Literal["run.cancelled"] = "run.cancelled"
    reason: str | None = None


class RunLimitExceeded(_Event):
    """The run met one of its limits."""

    type: Literal["run.limit_exceeded"] = "run.limit_exceeded"
    error: Problem


class CallClaimed(_Event):
    """A tool-runner is about to make a guarded call."""

    type: Literal["call.claimed"] = "call.claimed"
    call_id: str
    attempt: int
    worker: str
    lease: float = 5.0
    """Seconds of silence after which the claim lapses."""


class CallCompleted(_Event):
    """A function or tool returned."""

    type: Literal["call.completed"] = "call.completed"
    call_id: str
    attempt: int
    worker: str = ""
    update: dict[str, JsonValue] | None = None
    """A function's update of the state."""
    label: str | None = None
    """A function's outcome label."""
    content: JsonValue = None
    """A tool's result."""


class CallFailed(_Event):
    """A function or tool raised, timed out or could not be found."""

    type: Literal["call.failed"] = "call.failed"
    call_id: str
    attempt: int
    worker: str = ""
    error: Problem


class CallLapsed(_Event):
    """The worker that had claimed a call fell silent; the outcome of its attempt is unknown."""

    type: Literal["call.lapsed"] = "call.lapsed"
    call_id: str
    attempt: int
    worker: str


class CallCancelled(_Event):
    """Nobody needs the call any more."""

    type: Literal["call.cancelled"] = "call.cancelled"
    call_id: str
    reason: str | None = None


class AgentTurnClaimed(_Event):
    """A gateway is about to ask the provider."""

    type: Literal["agent.turn.claimed"] = "agent.turn.claimed"
    call_id: str
    attempt: int
    worker: str
    lease: float = 5.0


class TurnUsage(BaseModel):
    """Tokens and cost of one attempt. `cost` is in US dollars, null if the price is unknown, never 0 for that."""

    model_config = ConfigDict(frozen=True, extra="allow")

    input_total: int = 0
    output_total: int = 0
    cache_read: int = 0
    cache_write: int = 0
    reasoning: int = 0
    cost: float | None = None
    estimated: bool = False


class AgentTurnCompleted(_Event):
    """The model answered; its stream had a proper end."""

    type: Literal["agent.turn.completed"] = "agent.turn.completed"
    call_id: str
    attempt: int
    worker: str = ""
    message: AssistantMessage
    stop: str
    provider: str
    model: str
    usage: TurnUsage = TurnUsage()


class AgentTurnFailed(_Event):
    """The model did not answer, or its stream broke off."""

    type: Literal["agent.turn.failed"] = "agent.turn.failed"
    call_id: str
    attempt: int
    worker: str = ""
    error: Problem
    retry_after: float | None = None
    """Seconds the provider asked us to wait."""
    usage: TurnUsage = TurnUsage()


class ApprovalDecided(_Event):
    """A person decided. The log's guard lets only the first decision in."""

    type: Literal["approval.decided"] = "approval.decided"
    call_id: str
    decision: Literal["approve", "reject"]
    by: str
    reason: str | None = None


class ApprovalExpired(_Event):
    """Nobody decided in time; the request's `otherwise` holds."""

    type: Literal["approval.expired"] = "approval.expired"
    call_id: str


Event: TypeAlias = Annotated[
    RunStarted
    | OwnerChanged
    | NodeScheduled
    | CallRequested
    | AgentTurnRequested
    | ApprovalRequested
    | TimerSet
    | TimerFired
    | NodeCompleted
    | NodeFailed
    | RunStopping
    | RunCompleted
    | RunFailedEvent
    | RunCancelled
    | RunLimitExceeded
    | CallClaimed
    | CallCompleted
    | CallFailed
    | CallLapsed
    | CallCancelled
    | AgentTurnClaimed
    | AgentTurnCompleted
    | AgentTurnFailed
    | ApprovalDecided
    | ApprovalExpired,
    Field(discriminator="type"),
]

WRITERS: dict[type[_Event], Writer] = {
    RunStarted: "graph-engine",
    OwnerChanged: "graph-engine",
    NodeScheduled: "graph-engine",
    CallRequested: "graph-engine",
    AgentTurnRequested: "graph-engine",
    ApprovalRequested: "graph-engine",
    TimerSet: "graph-engine",
    TimerFired: "graph-engine",
    NodeCompleted: "graph-engine",
    NodeFailed: "graph-engine",
    RunStopping: "graph-engine",
    RunCompleted: "graph-engine",
    RunFailedEvent: "graph-engine",
    RunCancelled: "graph-engine",
    RunLimitExceeded: "graph-engine",
    CallLapsed: "graph-engine",
    CallCancelled: "graph-engine",
    ApprovalExpired: "graph-engine",
    CallClaimed: "tool-runner",
    CallCompleted: "tool-runner",
    CallFailed: "tool-runner",
    AgentTurnClaimed: "agent-gateway",
    AgentTurnCompleted: "agent-gateway",
    AgentTurnFailed: "agent-gateway",
    ApprovalDecided: "approval",
}
"""The one writer of each event type. In one process the engine writes for all."""

EVENTS: dict[str, type[_Event]] = {
    get_args(model.model_fields["type"].annotation)[0]: model for model in WRITERS
}
"""Event models by their type."""

_ADAPTER: TypeAdapter[Event] = TypeAdapter(Event)
_META = ("id", "type", "v", "time", "cause")


def write(event: Event) -> dict[str, JsonValue]:
    """An event as it travels, without what is default."""
    data = event.model_dump(mode="json", exclude_defaults=True)
    for key in _META:
        data.pop(key, None)
    if isinstance(event, RunStarted):
        data["graph"] = event.graph.spec()
    return {
        "id": event.id,
        "type": event.type,
        "v": event.v,
        "time": event.time,
        "cause": event.cause,
        "data": data,
    }


def read(raw: JsonValue) -> Event:
    """An event from the wire, brought up to the newest version; fields nobody knows are kept.

    Raises:
        InvalidInput: `event.malformed` naming the field, `event.unknown` for a type or version nobody knows.
    """
    if not isinstance(raw, dict) or not isinstance(raw.get("data", {}), dict):
        raise InvalidInput(
            "event.malformed", "an event is an object with an object `data`", where="event"
        )
    raw = upcast(raw)
    kind, version = raw.get("type"), raw.get("v")
    if kind not in EVENTS or version != 1:
        raise InvalidInput(
            "event.unknown",
            f"no event type {kind!r} in version {version!r} is known here",
            where="event.type",
            fix="update the reader: the log was written by a newer Partsong",
            fault="platform",
        )
    data = cast("dict[str, Any]", raw.get("data", {}))
    flat = {**data, **{key: value for key, value in raw.items() if key != "data"}}
    try:
        return _ADAPTER.validate_python(flat)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        raise InvalidInput(
            "event.malformed",
            f"{kind}: {first['msg']}",
            where=".".join(str(p) for p in first["loc"]),
            fault="platform",
        ) from None
