"""Hints: what the engine sends to workers through the work queue. A hint may be lost or come twice; the log knows."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue, TypeAdapter

from partsong.contracts.graph import AgentSpec
from partsong.contracts.messages import Message

__all__ = ["WORK", "FunctionWork", "ToolWork", "TurnWork", "Work"]


class _Work(BaseModel):
    model_config = ConfigDict(frozen=True, extra="allow")

    run_id: str
    call_id: str
    node: str
    attempt: int = 1
    timeout: float | None = None
    """Seconds from start to close."""

    @property
    def idempotency_key(self) -> str:
        """The same for every attempt of the call, for systems that can tell a repeat by it."""
        return f"{self.run_id}/{self.call_id}"

    @property
    def id(self) -> str:
        """The hint's `Nats-Msg-Id`: one per attempt."""
        return f"{self.run_id}.{self.call_id}.{self.attempt}.hint"


class FunctionWork(_Work):
    """Call a function node's function."""

    kind: Literal["function"] = "function"
    function: str
    state: dict[str, JsonValue]


class ToolWork(_Work):
    """Call a tool."""

    kind: Literal["tool"] = "tool"
    tool: str
    args: JsonValue


class TurnWork(_Work):
    """Ask a model for its next turn."""

    kind: Literal["agent.turn"] = "agent.turn"
    agent: AgentSpec
    messages: tuple[Message, ...]


Work = Annotated[FunctionWork | ToolWork | TurnWork, Field(discriminator="kind")]
WORK: TypeAdapter[Work] = TypeAdapter(Work)
