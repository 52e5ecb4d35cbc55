"""How a call of an agent can fail: each error carries what was said and spent until then.

AgentFailed        the model did not answer, refused, or could not be asked; `.problem` says which
├── BadOutput      the answer did not fit its schema, also after repairs
├── LimitReached   the next turn or tool call would go over a limit
└── LoopDetected   the model makes the same tool call again and again, with the same result
"""

from __future__ import annotations

from partsong.contracts.errors import Fault, PartsongError
from partsong.contracts.events import AgentTurnFailed, TurnUsage
from partsong.contracts.talk.messages import Message

__all__ = ["AgentFailed", "BadOutput", "LimitReached", "LoopDetected"]


class AgentFailed(PartsongError):
    """There is no answer."""

    fault: Fault = "provider"
    usage: TurnUsage = TurnUsage(cost=0.0)
    """What the call cost all the same."""
    messages: tuple[Message, ...] = ()
    """What was said in the call until it failed; every tool call in it has its result."""
    failures: tuple[AgentTurnFailed, ...] = ()
    """Every attempt that failed, in order, of all models."""


class BadOutput(AgentFailed):
    """The answer does not fit its schema."""


class LimitReached(AgentFailed):
    """A limit of the agent stopped the call."""

    fault: Fault = "caller"


class LoopDetected(AgentFailed):
    """The model goes round in circles."""
