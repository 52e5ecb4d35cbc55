"""The provider port: one method that asks a model for a turn, and streams the answer as chunks."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from pydantic import JsonValue

from partsong.contracts.graph import CacheMode, Effort
from partsong.contracts.talk.chunks import Chunk
from partsong.contracts.talk.messages import Message, ToolSpec

__all__ = ["Effort", "Provider", "TurnRequest"]


@dataclass(frozen=True, slots=True)
class TurnRequest:
    """What a model is asked."""

    model: str
    """The provider's own name of the model, without `provider:`."""
    messages: tuple[Message, ...]
    instructions: str = ""
    tools: tuple[ToolSpec, ...] = ()
    max_tokens: int = 4096
    temperature: float | None = None
    """None leaves it to the provider; some models refuse any value."""
    output_schema: Mapping[str, JsonValue] | None = None
    """JSON Schema of the answer; the answer is then JSON text."""
    effort: Effort | None = None
    """How much a reasoning model should think; None also for models that cannot."""
    cache: CacheMode = "auto"
    """How long the provider keeps what it reads, where it can be told."""
    timeout: float = 600.0
    """Seconds from the request to the end of the stream."""
    idle_timeout: float = 60.0
    """Seconds without a byte from the provider."""
    options: Mapping[str, JsonValue] = field(default_factory=dict)
    """Fields of the provider's own request that the agent sets, by the names of the provider's SDK."""
    extra: Mapping[str, JsonValue] = field(default_factory=dict)
    """Fields of the provider's own request, passed on untouched."""


class Provider(Protocol):
    """Turns from one vendor, over one pool of connections, in one event loop.

    `stream` never raises for what a provider does or fails to do: it yields chunks (without call id, attempt and
    number: the caller stamps those), of which exactly one is terminal and comes last. A body that ends without the
    format's own terminal marker is `error(truncated)`. One request is made, never a second one.

    Leaving the stream early, by `aclose` or by cancelling the task that reads it, closes the provider's socket before
    it returns. Read it inside `contextlib.aclosing`.
    """

    @property
    def name(self) -> str:
        """What comes before the colon in a model's full name."""
        ...

    async def warm(self) -> None:
        """Import the SDK, which costs seconds, off the event loop. `stream` does it if nobody did."""
        ...

    def stream(self, request: TurnRequest) -> AsyncGenerator[Chunk, None]:
        """The answer. Several streams may be read at once."""
        ...

    async def aclose(self) -> None:
        """Close the pool. Streams must have ended."""
        ...
