"""Events of calls: what workers and people report, and how calls end that nobody answers."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue

from partsong.contracts.errors import Problem
from partsong.contracts.events.run import EventBase
from partsong.contracts.graph import Effort
from partsong.contracts.talk.hooks import HookOutcome, HookPoint, HookReport
from partsong.contracts.talk.messages import AssistantMessage
from partsong.contracts.talk.model_routing import RouteDecision, Score

__all__ = [
    "AgentTurnClaimed",
    "AgentTurnCompleted",
    "AgentTurnFailed",
    "ApprovalDecided",
    "ApprovalExpired",
    "CallCancelled",
    "CallClaimed",
    "CallCompleted",
    "CallFailed",
    "CallLapsed",
    "CallSuspended",
    "ChildEnded",
    "HookDecided",
    "RouteDecided",
    "TurnPrice",
    "TurnUsage",
    "Unapproved",
]


class CallClaimed(EventBase):
    """A tool-runner is about to make a call that is guarded, or was given to another worker before."""

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


class CallFailed(EventBase):
    """A function or tool raised, timed out, could not be found, or waits for a person to agree."""

    type: Literal["call.failed"] = "call.failed"
    call_id: str
    attempt: int
    worker: str = ""
    error: Problem
    unapproved: Unapproved | None = None
    """With the error `tool.approval_required`: the tool was not called."""


class CallSuspended(EventBase):
    """Code that a tool runs has called another tool, and waits for its result: nothing of it runs meanwhile."""

    type: Literal["call.suspended"] = "call.suspended"
    call_id: str
    attempt: int
    worker: str = ""
    tool: str
    """The tool that the code called."""
    args: dict[str, JsonValue] = Field(default_factory=dict)
    snapshot: str
    """Base64 of all there is to go on from, in any process."""


class TurnPrice(BaseModel):
    """What a token of a model costs, in US dollars, so that a turn nobody finished can be charged too."""

    model_config = ConfigDict(frozen=True, extra="allow")

    input: float
    output: float


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

    @property
    def tokens(self) -> int:
        """Input and output together."""
        return self.input_total + self.output_total

    def plus(self, more: TurnUsage) -> TurnUsage:
        """Totals; a cost that is unknown once stays unknown, unless nothing was used."""
        if self == TurnUsage():
            return more
        if more == TurnUsage():
            return self
        return TurnUsage(
            input_total=self.input_total + more.input_total,
            output_total=self.output_total + more.output_total,
            cache_read=self.cache_read + more.cache_read,
            cache_write=self.cache_write + more.cache_write,
            reasoning=self.reasoning + more.reasoning,
            cost=None if self.cost is None or more.cost is None else self.cost + more.cost,
            estimated=self.estimated or more.estimated,
        )


class CallLapsed(EventBase):
    """The worker that had claimed a call fell silent; the outcome of its attempt is unknown."""

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

    type: Literal["call.cancelled"] = "call.cancelled"
    call_id: str
    attempt: int = 0
    """The attempt it closes; 0 in logs of 0.1: whichever is open."""
    reason: str | None = None
    usage: TurnUsage | None = None
    """An agent's turn that had been claimed: what it is estimated to have used."""


class ChildEnded(EventBase):
    """A detached run has ended; its parent waits for this."""

    type: Literal["child.ended"] = "child.ended"
    call_id: str
    attempt: int = 1
    child: str
    status: str
    state: dict[str, JsonValue] = Field(default_factory=dict)
    error: Problem | None = None


class AgentTurnClaimed(EventBase):
    """A gateway is about to ask the provider."""

    type: Literal["agent.turn.claimed"] = "agent.turn.claimed"
    call_id: str
    attempt: int
    worker: str
    lease: float = 5.0
    price: TurnPrice | None = None
    """None if it is not known."""


class HookDecided(EventBase):
    """Plugins were asked at a hook point; what they decided holds, also for every replay."""

    type: Literal["hook.decided"] = "hook.decided"
    call_id: str
    attempt: int
    worker: str = ""
    point: HookPoint
    outcome: HookOutcome
    outcomes: tuple[HookReport, ...] = ()
    """What each plugin said, in the order in which they were asked."""
    seen: int = 0
    """How many messages they were shown, where it was messages."""


class RouteDecided(EventBase):
    """The gateway chose the model of a turn; it stands in the log with the claim, before the model is asked."""

    type: Literal["route.decided"] = "route.decided"
    call_id: str
    attempt: int
    worker: str
    model: str
    """`provider:model`."""
    effort: Effort | None = None
    score: Score
    decision: RouteDecision


class AgentTurnCompleted(EventBase):
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


class AgentTurnFailed(EventBase):
    """The model did not answer, or its stream broke off."""

    type: Literal["agent.turn.failed"] = "agent.turn.failed"
    call_id: str
    attempt: int
    worker: str = ""
    error: Problem
    retry_after: float | None = None
    """Seconds the provider asked us to wait."""
    usage: TurnUsage = TurnUsage()


class ApprovalDecided(EventBase):
    """A person decided. The log's guard lets only the first decision in."""

    type: Literal["approval.decided"] = "approval.decided"
    call_id: str
    decision: Literal["approve", "reject"]
    by: str
    reason: str | None = None
    edited: JsonValue = None
    """What was approved in the place of the editable value; null: the value as it was."""


class ApprovalExpired(EventBase):
    """Nobody decided in time; the request's `otherwise` holds."""

    type: Literal["approval.expired"] = "approval.expired"
    call_id: str
