"""Hints: what the engine sends to workers through the work queue. A hint may be lost or come twice; the log knows."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue, TypeAdapter

from partsong.contracts.events import Allowance, Parent, RunOptions
from partsong.contracts.graph import AgentSpec
from partsong.contracts.graph.nodes import SideEffect
from partsong.contracts.talk.hooks import HookPoint, PluginRef
from partsong.contracts.talk.messages import Message, ToolSpec
from partsong.contracts.talk.model_routing import Progress

__all__ = [
    "PLATFORM",
    "WORK",
    "ChildWork",
    "FunctionWork",
    "HookWork",
    "Resume",
    "ToolWork",
    "TurnWork",
    "Work",
    "child_of",
    "child_of_v0",
]


class _Work(BaseModel):
    model_config = ConfigDict(frozen=True, extra="allow")

    run_id: str
    call_id: str
    node: str
    attempt: int = 1
    timeout: float | None = None
    """Seconds from start to close."""
    idle_timeout: float | None = None
    """Seconds the attempt may be silent."""
    deaths: int = 0
    """How many workers may have died of it: then it is claimed, whatever it is, and runs alone at first."""

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


class Resume(BaseModel):
    """What code that has waited goes on with: the result of the tool it called, or why there is none."""

    model_config = ConfigDict(frozen=True, extra="allow")

    snapshot: str
    result: JsonValue = None
    error: str | None = None


class ToolWork(_Work):
    """Call a tool."""

    kind: Literal["tool"] = "tool"
    tool: str
    args: JsonValue
    approved: str | None = None
    """Who has agreed to the call; a worker believes it if the log says so too."""
    may: SideEffect | None = None
    """The strongest side effect that the call may have."""
    asks: SideEffect | None = None
    """From this side effect on, a person must agree, whatever the tool itself says."""
    tools: tuple[str, ...] = ()
    """Tools that code may call which the tool runs."""
    sources: dict[str, str] = {}
    """Where tools stand, by name, as the graph says."""
    resume: Resume | None = None
    """Where the attempt before has stopped."""
    doubt: str | None = None
    """Why the call may have been made already; whoever works on it finds that out, no engine says it."""


class HookWork(_Work):
    """Ask plugins at a hook point."""

    kind: Literal["hook"] = "hook"
    point: HookPoint
    plugins: tuple[PluginRef, ...]
    """Those of the point, in their order."""
    payload: dict[str, JsonValue]


class TurnWork(_Work):
    """Ask a model for its next turn."""

    kind: Literal["agent.turn"] = "agent.turn"
    agent: AgentSpec
    """With the model that this attempt is for."""
    messages: tuple[Message, ...]
    inner: tuple[ToolSpec, ...] = ()
    """Tools that the engine itself answers: graphs and handoffs."""
    allowance: Allowance = Allowance()
    progress: Progress = Progress()


class ChildWork(_Work):
    """Run a detached subgraph as a run of its own."""

    kind: Literal["run"] = "run"
    graph: dict[str, JsonValue]
    input: dict[str, JsonValue]
    options: RunOptions
    child: str
    """The id of that run: the same however often it is asked for."""


PLATFORM = "partsong"
"""Source of the tools that the platform calls itself, which nobody's own takes the place of."""

_PLAIN = str.maketrans({":": "-", "/": "~", "-": "="})
"""A call's id has no other signs, and a colon always has a number behind it: no two ids become one."""


def child_of(parent: Parent) -> str:
    """The id of the run that answers a parent's call, and no other call of no other run; fit for a path or a URL."""
    return _numbered(f"{parent.run_id}--{parent.call_id.translate(_PLAIN)}", parent.attempt)


def child_of_v0(parent: Parent) -> str:
    """The id it has where the log does not say: two calls with odd names could come to the same."""
    name = parent.call_id.replace("/", "-").replace(":", "-")
    return _numbered(f"{parent.run_id}--{name}", parent.attempt)


def _numbered(child: str, attempt: int) -> str:
    return f"{child}-a{attempt}" if attempt > 1 else child


Work = Annotated[
    FunctionWork | ToolWork | HookWork | TurnWork | ChildWork, Field(discriminator="kind")
]
WORK: TypeAdapter[Work] = TypeAdapter(Work)
