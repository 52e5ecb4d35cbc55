"""`AgentResult`: an answer, and what it took."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Generic, TypeVar

from partsong.contracts.events import TurnUsage
from partsong.contracts.talk.messages import Message

__all__ = ["AgentResult"]

T_co = TypeVar("T_co", covariant=True)


@dataclass(frozen=True, slots=True)
class AgentResult(Generic[T_co]):
    """Reads like its text: `print(result)`, `f"{result:>20}"`, `"56088" in result`."""

    text: str
    """The last turn's text; of structured output, its JSON."""
    output: T_co
    """The checked value of structured output, else the text."""
    usage: TurnUsage
    """All turns together, failed attempts too. `cost` is None if one price is unknown."""
    messages: tuple[Message, ...]
    """What this call added to the conversation, from the prompt on."""
    model: str
    """`provider:model` that gave the answer; the model by the name the provider itself calls it."""
    turns: int = 1
    tool_calls: int = 0

    def __str__(self) -> str:
        return self.text

    def __format__(self, spec: str) -> str:
        return format(self.text, spec)

    def __contains__(self, part: str) -> bool:
        """Whether the text has this part."""
        return part in self.text
