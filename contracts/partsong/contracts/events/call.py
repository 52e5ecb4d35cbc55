"""Events of calls: of functions, tools and detached runs, and how calls end that nobody answers."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue

from partsong.contracts.errors import Problem
from partsong.contracts.events.agent import TurnUsage
from partsong.contracts.events.base import EventBase
from partsong.contracts.services import GRAPH_ENGINE, TOOL_RUNNER, Service

__all__ = [
    "ArgumentsEdit",
    "CallCancelled",
    "CallClaimed",
    "CallCompleted",
    "CallFailed",
    "CallKind",
    "CallLapsed",
    "CallRequested",
    "CallSuspended",
    "ChildEnded",
    "Unapproved",
]

CallKind = Literal["function", "tool", "run", "hook"]


class ArgumentsEdit(BaseModel):
    """The arguments that a person agreed to in the place of a tool call's own."""

    model_config = ConfigDict(frozen=True, extra="allow")

    args: dict[str, JsonValue]
    """As the person gave them."""
    kept: tuple[str, ...] = ()
    """Names of those that stay as they were, which people may not be shown."""


class CallRequested(EventBase):
    """A function or tool is to be called. Its inputs follow from the state and are not copied here."""

    writer: ClassVar[Service] = GRAPH_ENGINE
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
    edit: ArgumentsEdit | None = None
    """Other arguments that this person has agreed to."""


class CallClaimed(EventBase):
    """A tool-runner is about to make a call that is guarded, or was given to another worker before."""

    writer: ClassVar[Service] = TOOL_RUNNER
    type: Literal["call.claimed"] = "call.claimed"
    call_id: str
    attempt: int
    worker: str
    lease: float = 5.0
    """Seconds of silence after which the claim lapses."""
    repeatable: bool = False
    """It may be made again although nobody knows what became of it: functions, and tools that do no harm twice."""


class CallCompleted(EventBase):
    """A function or tool returned."""

    writer: ClassVar[Service] = TOOL_RUNNER
    type: Literal["call.completed"] = "call.completed"
    call_id: str
    attempt: int
    worker: str = ""
    update: dict[str, JsonValue] | None = None
    """A function's update of the state."""
    more: tuple[dict[str, JsonValue], ...] = ()
    """Further updates of a function that returned several, in order."""
    label: str | None = None
    """A function's outcome label."""
    goto: tuple[str, ...] = ()
    """Nodes a function goes on with, beside its other edges."""
    private: dict[str, JsonValue] | None = None
    """What only the next nodes see; it never enters the state."""
    content: JsonValue = None
    """A tool's result."""


class Unapproved(BaseModel):
    """What a person is asked about: a call that was not made because nobody has agreed to it."""

    model_config = ConfigDict(frozen=True, extra="allow")

    args: dict[str, JsonValue] = Field(default_factory=dict)
    """The arguments as people may see them."""
    digest: str
    """Of the arguments as they are: whoever agrees, agrees to these and to no others."""
    doubt: str | None = None
    """Why the call may have been made already."""
    edit_schema: dict[str, JsonValue] | None = None
    """JSON Schema of other arguments that a person may agree to in their place; none if nobody may."""
    hidden: dict[str, str] = Field(default_factory=dict)
    """Digests of the arguments that people do not see, by name."""
    deadline: float | None = None
    """Seconds a person has to decide; None leaves that to the node."""


class CallFailed(EventBase):
    """A function or tool raised, timed out, could not be found, or waits for a person to agree."""

    writer: ClassVar[Service] = TOOL_RUNNER
    type: Literal["call.failed"] = "call.failed"
    call_id: str
    attempt: int
    worker: str = ""
    error: Problem
    unapproved: Unapproved | None = None
    """With the error `tool.approval_required`: the tool was not called."""


class CallSuspended(EventBase):
    """Code that a tool runs has called another tool, and waits for its result: nothing of it runs meanwhile."""

    writer: ClassVar[Service] = TOOL_RUNNER
    type: Literal["call.suspended"] = "call.suspended"
    call_id: str
    attempt: int
    worker: str = ""
    tool: str
    """The tool that the code called."""
    args: dict[str, JsonValue] = Field(default_factory=dict)
    snapshot: str
    """Base64 of all there is to go on from, in any process."""


class CallLapsed(EventBase):
    """The worker that had claimed a call fell silent; the outcome of its attempt is unknown."""

    writer: ClassVar[Service] = GRAPH_ENGINE
    type: Literal["call.lapsed"] = "call.lapsed"
    call_id: str
    attempt: int
    worker: str
    stopped: bool = False
    """The worker was stopped, as it was told to, or the log was restored; otherwise it died, perhaps of the call."""
    usage: TurnUsage | None = None
    """An agent's turn: what it is estimated to have used."""


class CallCancelled(EventBase):
    """Nobody needs the call any more."""

    writer: ClassVar[Service] = GRAPH_ENGINE
    type: Literal["call.cancelled"] = "call.cancelled"
    call_id: str
    attempt: int = 0
    """The attempt it closes; 0 in logs of 0.1: whichever is open."""
    reason: str | None = None
    usage: TurnUsage | None = None
    """An agent's turn that had been claimed: what it is estimated to have used."""


class ChildEnded(EventBase):
    """A detached run has ended; its parent waits for this."""

    writer: ClassVar[Service] = GRAPH_ENGINE
    type: Literal["child.ended"] = "child.ended"
    call_id: str
    attempt: int = 1
    child: str
    status: str
    state: dict[str, JsonValue] = Field(default_factory=dict)
    error: Problem | None = None
