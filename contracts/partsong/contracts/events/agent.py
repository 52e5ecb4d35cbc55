"""Events of an agent's turns: what a model is asked for, which one, what it said, and what that took."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue

from partsong.contracts.errors import Problem
from partsong.contracts.events.base import EventBase
from partsong.contracts.graph import CacheMode, Effort
from partsong.contracts.services import AGENT_GATEWAY, GRAPH_ENGINE, Service
from partsong.contracts.talk.messages import AssistantMessage
from partsong.contracts.talk.model_routing import RouteDecision, Score

__all__ = [
    "AgentTurnClaimed",
    "AgentTurnCompleted",
    "AgentTurnFailed",
    "AgentTurnRequested",
    "Allowance",
    "ConversationCompacted",
    "PromptDigest",
    "RouteDecided",
    "TurnPrice",
    "TurnUsage",
]


class Allowance(BaseModel):
    """What one turn may use, set aside for it until it has ended; None is no bound."""

    model_config = ConfigDict(frozen=True, extra="allow")

    tokens: int | None = None
    """Input and output tokens together."""
    cost: float | None = None
    """US dollars."""


class TurnPrice(BaseModel):
    """What a token of a model costs, in US dollars, so that a turn nobody finished can be charged too."""

    model_config = ConfigDict(frozen=True, extra="allow")

    input: float
    output: float
    cache_read: float | None = None
    """None if it is that of any input."""
    cache_write: float | None = None


class TurnUsage(BaseModel):
    """Tokens and cost of one attempt. `cost` is in US dollars, null if the price is unknown, never 0 for that."""

    model_config = ConfigDict(frozen=True, extra="allow")

    input_total: int = 0
    output_total: int = 0
    cache_read: int = 0
    cache_write: int = 0
    cache_write_1h: int = 0
    """Those of `cache_write` that are kept for an hour."""
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
            cache_write_1h=self.cache_write_1h + more.cache_write_1h,
            reasoning=self.reasoning + more.reasoning,
            cost=None if self.cost is None or more.cost is None else self.cost + more.cost,
            estimated=self.estimated or more.estimated,
        )


class PromptDigest(BaseModel):
    """Digests the parts of a turn's prompt, so that two turns can be compared of which nobody kept the prompts."""

    model_config = ConfigDict(frozen=True, extra="allow")

    cache: CacheMode = "auto"
    tools: str = ""
    system: str = ""
    """Of the instructions, and of how the answer is asked for."""
    said: str = ""
    """Of all messages."""
    before: str | None = None
    """Of the messages before the last answer, which the turn before was given; None if there is no answer among them."""


class AgentTurnRequested(EventBase):
    """A model is to be asked for the next turn of the conversation that the log already holds."""

    writer: ClassVar[Service] = GRAPH_ENGINE
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
    options: dict[str, JsonValue] = Field(default_factory=dict)
    """What the agent sets of the vendor's own request."""
    warning: str | None = None
    """What the model is told about how it goes on, before it is stopped for it."""


class AgentTurnClaimed(EventBase):
    """A gateway is about to ask the provider."""

    writer: ClassVar[Service] = AGENT_GATEWAY
    type: Literal["agent.turn.claimed"] = "agent.turn.claimed"
    call_id: str
    attempt: int
    worker: str
    lease: float = 5.0
    price: TurnPrice | None = None
    """None if it is not known."""


class RouteDecided(EventBase):
    """The gateway chose the model of a turn; it stands in the log with the claim, before the model is asked."""

    writer: ClassVar[Service] = AGENT_GATEWAY
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

    writer: ClassVar[Service] = AGENT_GATEWAY
    type: Literal["agent.turn.completed"] = "agent.turn.completed"
    call_id: str
    attempt: int
    worker: str = ""
    message: AssistantMessage
    stop: str
    provider: str
    model: str
    usage: TurnUsage = TurnUsage()
    prompt: PromptDigest | None = None
    """None in logs of before, and of whoever does not say."""


class AgentTurnFailed(EventBase):
    """The model did not answer, or its stream broke off."""

    writer: ClassVar[Service] = AGENT_GATEWAY
    type: Literal["agent.turn.failed"] = "agent.turn.failed"
    call_id: str
    attempt: int
    worker: str = ""
    error: Problem
    retry_after: float | None = None
    """Seconds the provider asked us to wait."""
    usage: TurnUsage = TurnUsage()


class ConversationCompacted(EventBase):
    """An agent's conversation goes on with a summary of what was said; without one, as it was: nobody could sum it up."""

    writer: ClassVar[Service] = GRAPH_ENGINE
    type: Literal["agent.conversation.compacted"] = "agent.conversation.compacted"
    exec: str
    summary: str | None = None
