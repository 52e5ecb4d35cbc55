"""Every event the log can hold: what it says, and which service may write it.

On the wire an event is `{id, type, v, time, cause, data}` (CloudEvents 1.0 terms; `cause` is the id of what led to it).
In Python it is one flat frozen model, so that a `match` reads it at a glance. `write` and `read` convert.

Ids are derived, never drawn: `<run>.<what>.<verb>`. The same thing said twice has the same id.
Execution ids are `<node>:<visit>`; call ids are the execution's id, with `/t<turn>` and `/c<index>` for an agent's
turns and the tool calls in them, `/n<attempt>` for a call by the code that such an attempt ran, and `/p<attempt>` for
the question whether it may be called.
"""

from __future__ import annotations

from typing import Annotated, Any, TypeAlias, cast, get_args

from pydantic import Field, JsonValue, TypeAdapter, ValidationError

from partsong.contracts.errors import InvalidInput
from partsong.contracts.events.agent import (
    AgentTurnClaimed,
    AgentTurnCompleted,
    AgentTurnFailed,
    AgentTurnRequested,
    ConversationCompacted,
    RouteDecided,
)
from partsong.contracts.events.approval import (
    ApprovalDecided,
    ApprovalExpired,
    ApprovalRequested,
)
from partsong.contracts.events.base import (
    EventBase,
)
from partsong.contracts.events.call import (
    CallCancelled,
    CallClaimed,
    CallCompleted,
    CallFailed,
    CallLapsed,
    CallRequested,
    CallSuspended,
    ChildEnded,
)
from partsong.contracts.events.command import (
    CommandReceived,
    CommandSettled,
)
from partsong.contracts.events.hook import (
    HookDecided,
)
from partsong.contracts.events.node import (
    NodeCancelled,
    NodeCompensated,
    NodeCompleted,
    NodeFailed,
    NodeScheduled,
    ScopeClosed,
    ScopeOpened,
)
from partsong.contracts.events.run import (
    OwnerChanged,
    RunAdmitted,
    RunCancelled,
    RunCompleted,
    RunFailedEvent,
    RunForked,
    RunLimitExceeded,
    RunNotified,
    RunParked,
    RunPaused,
    RunResumed,
    RunRetried,
    RunStarted,
    RunStopping,
    SignalReceived,
)
from partsong.contracts.events.timer import (
    TimerFired,
    TimerSet,
)
from partsong.contracts.events.upcast import upcast
from partsong.contracts.services import Service

__all__ = ["EVENTS", "WRITERS", "Event", "Writer", "read", "write"]

Writer = Service

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
    | CallLapsed
    | CallCancelled
    | ApprovalExpired
    | ChildEnded
    | CommandReceived
    | CommandSettled
    | ConversationCompacted
    | NodeCancelled
    | NodeCompensated
    | RunAdmitted
    | RunForked
    | RunNotified
    | RunParked
    | RunPaused
    | RunResumed
    | RunRetried
    | ScopeClosed
    | ScopeOpened
    | SignalReceived
    | CallClaimed
    | CallCompleted
    | CallFailed
    | HookDecided
    | CallSuspended
    | AgentTurnClaimed
    | RouteDecided
    | AgentTurnCompleted
    | AgentTurnFailed
    | ApprovalDecided,
    Field(discriminator="type"),
]

EVENTS: dict[str, type[EventBase]] = {
    get_args(model.model_fields["type"].annotation)[0]: model
    for model in get_args(get_args(Event)[0])
}
"""Event models by their type."""

WRITERS: dict[type[EventBase], Writer] = {model: model.writer for model in EVENTS.values()}
"""The one writer of each event type. In one process the engine writes for all."""

_ADAPTER: TypeAdapter[Event] = TypeAdapter(Event)
_META = ("id", "type", "v", "time", "cause")


def write(event: Event) -> dict[str, JsonValue]:
    """An event as it travels, without what is default."""
    data = event.model_dump(mode="json", exclude_defaults=True)
    for key in _META:
        data.pop(key, None)
    if isinstance(event, RunStarted | RunRetried) and event.graph is not None:
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
    if not isinstance(kind, str) or kind not in EVENTS or version != 1:
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
