"""A graph is data: nodes, edges and reducers, frozen, content-hashed, valid before it runs."""

from __future__ import annotations

import hashlib
import json
import re
from functools import cached_property
from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, JsonValue

__all__ = [
    "END",
    "START",
    "AgentNode",
    "AgentSpec",
    "ApprovalNode",
    "Edge",
    "FunctionNode",
    "Graph",
    "Join",
    "Node",
    "NodeName",
    "ReducerName",
    "Retry",
    "Seconds",
    "ToolNode",
    "parse_duration",
]

START = "START"
"""Source of an edge that marks the entry node."""
END = "END"
"""Target of an edge that leads nowhere: the path ends here."""

ReducerName = Literal["replace", "append", "merge", "add", "min", "max", "union"]
Join = Literal["all"]
NodeName = Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_\-]*$", max_length=64)]

_DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*(ms|s|m|h|d)")
_UNIT = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


def parse_duration(value: object) -> object:
    """Seconds from a number or from text like `30s`, `1.5h`, `2d`; anything else is left for pydantic to refuse."""
    if isinstance(value, str) and (found := _DURATION.fullmatch(value.strip())):
        return float(found[1]) * _UNIT[found[2]]
    return value


Seconds = Annotated[float, BeforeValidator(parse_duration), Field(gt=0)]


class _Spec(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)


class Retry(_Spec):
    """When and how often a failed call is made again."""

    attempts: int = Field(default=3, ge=1, le=1000)
    """How often in all, the first one included."""
    initial: float = Field(default=1.0, ge=0)
    """Seconds before the second attempt."""
    factor: float = Field(default=2.0, ge=1)
    max: float = Field(default=60.0, ge=0)
    """No wait is longer than this many seconds, unless a provider asks for more."""
    jitter: float = Field(default=0.1, ge=0, le=1)
    """Share of the wait that varies, derived from the call's id: recorded, so a replay waits the same."""
    retry_on: tuple[str, ...] = ()
    """Prefixes of error codes worth another attempt; empty: whatever says it is retryable."""


class _Node(_Spec):
    retry: Retry | None = None
    timeout: Seconds | None = None
    """Seconds from start to close of one attempt."""
    max_visits: int | None = Field(default=None, ge=1)
    """How often a run may enter the node; one more ends the run with `limit_exceeded`."""
    join: Join = "all"


class FunctionNode(_Node):
    """A user's Python function, called in a tool-runner process that has loaded its module."""

    type: Literal["function"] = "function"
    function: str
    """`package.module:qualname`."""


class AgentSpec(_Spec):
    """An agent as data."""

    model: str = Field(pattern=r"^[a-z][a-z0-9_-]*:.+$")
    """`provider:model`, for example `anthropic:claude-sonnet-5-5`, `openai:gpt-5.4`, `scripted:summary`."""
    instructions: str = ""
    tools: tuple[str, ...] = ()
    max_turns: int = Field(default=20, ge=1)
    max_tokens: int = Field(default=4096, ge=1)
    temperature: float | None = None
    output_schema: dict[str, JsonValue] | None = None
    """JSON Schema of the answer; the node then writes the parsed value instead of text."""


class AgentNode(_Node):
    """A model with instructions and tools; its loop is driven by the engine, one event per turn and tool call."""

    type: Literal["agent"] = "agent"
    agent: AgentSpec
    prompt: str = "{{input}}"
    """What the agent is asked; `{{path.to.key}}` is taken from the state."""
    output: str | None = None
    """State key of the answer; default: the node's name."""


class ToolNode(_Node):
    """One tool call with arguments from the state."""

    type: Literal["tool"] = "tool"
    tool: str
    args: dict[str, JsonValue] = Field(default_factory=dict)
    """Values may hold `{{path}}`; a value that is only `{{path}}` keeps its type."""
    output: str | None = None


class ApprovalNode(_Node):
    """A human decision. Outcomes: `approved`, `rejected`."""

    type: Literal["approval"] = "approval"
    title: str
    detail: str = ""
    show: tuple[str, ...] = ()
    """State keys the approver sees."""
    deadline: Seconds | None = None
    """Seconds until `otherwise` is taken."""
    otherwise: Literal["approve", "reject"] = "reject"


Node = Annotated[FunctionNode | AgentNode | ToolNode | ApprovalNode, Field(discriminator="type")]


class Edge(_Spec):
    """From one node to another, always or for one outcome label."""

    source: str = Field(validation_alias="from", serialization_alias="from")
    to: str
    on: str | None = None
    """Outcome label that takes this edge. `success` is a plain return, `failure` an error that no retry cured."""


class Graph(_Spec):
    """The whole workflow. Two graphs with equal content have equal hashes."""

    name: str = Field(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_\-]*$", max_length=100)
    entry: str
    nodes: dict[NodeName, Node] = Field(min_length=1)
    edges: tuple[Edge, ...] = ()
    reducers: dict[str, ReducerName] = Field(default_factory=dict)
    state_schema: dict[str, JsonValue] | None = None

    @cached_property
    def hash(self) -> str:
        """`sha256:…` of the canonical JSON: the graph's identity."""
        text = json.dumps(self.spec(), sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        return f"sha256:{hashlib.sha256(text.encode()).hexdigest()}"

    def spec(self) -> dict[str, JsonValue]:
        """The graph as plain JSON, without what is default."""
        data: dict[str, JsonValue] = self.model_dump(
            mode="json", by_alias=True, exclude_defaults=True
        )
        for name, node in self.nodes.items():
            data["nodes"][name]["type"] = node.type  # type: ignore[index,call-overload]  # exclude_defaults drops the discriminator
        return data
