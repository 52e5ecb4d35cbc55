"""`Definition`: an agent as its calls need it, complete and checked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from pydantic import JsonValue, ValidationError

from partsong.agents.choice import Choice
from partsong.agents.limits import AgentLimits
from partsong.agents.output import Output
from partsong.agents.toolset import Approve, Toolset
from partsong.contracts.errors import InvalidInput
from partsong.contracts.graph import AgentSpec, CacheMode, Effort, NodeName, OutputMode, Retry
from partsong.contracts.graph.nodes import ANSWER
from partsong.contracts.graph.provider_options import option_findings
from partsong.contracts.graph.templates import stray_hole
from partsong.contracts.graph.validate import problem_of
from partsong.engine.calls.calls import AGENT_RETRY
from partsong.models.limiter import RateLimiter

__all__ = ["Definition"]


@dataclass(frozen=True, slots=True)
class Definition:
    """What makes an agent.

    Raises:
        InvalidInput: `agent.malformed`, `agent.bad_name`, `tool.duplicate`.
    """

    name: NodeName
    choice: Choice
    toolset: Toolset
    instructions: str = ""
    output: Output | None = None
    output_mode: OutputMode | None = None
    max_tokens: int = 4096
    """Output tokens of one turn."""
    temperature: float | None = None
    effort: Effort | None = None
    cache: CacheMode = "auto"
    timeout: float | None = None
    """Seconds one turn may take."""
    limits: AgentLimits = field(default_factory=AgentLimits)
    limiter: RateLimiter = field(default_factory=RateLimiter)
    retry: Retry = AGENT_RETRY
    patience: float = 120.0
    """Seconds a provider's hint may keep a call waiting; longer ones are not waited for."""
    repairs: int = 2
    """How often an answer that does not fit its schema is sent back."""
    approve: Approve | None = None
    provider_options: Mapping[str, Mapping[str, JsonValue]] = field(default_factory=dict)
    """Fields of a vendor's own request, by provider."""
    approval_deadline: float | None = None
    """Seconds a person has to agree to a tool's call, unless the tool says."""

    def __post_init__(self) -> None:
        if not self.name.replace("-", "_").isidentifier():
            raise InvalidInput(
                "agent.bad_name",
                f"{self.name!r} is no name for an agent",
                where="name",
                fix="give it one of letters, digits, _ and -: name=…",
            )
        if ANSWER in self.toolset.names:
            raise InvalidInput(
                "tool.duplicate",
                f"{ANSWER} is the tool by which structured output comes",
                where=ANSWER,
                fix="give your tool another name",
            )
        self.spec()
        if stray := stray_hole(self.instructions, "instructions", "agent.unknown_variable"):
            raise InvalidInput.of(stray)
        models, where = self.choice.models, "provider_options"
        for problem in option_findings(self.provider_options, models, where):
            raise InvalidInput.of(problem)

    def spec(self) -> AgentSpec:
        """The agent as data, for a graph.

        Raises:
            InvalidInput: `agent.malformed`.
        """
        return self.asked(self.choice.models[0])

    def asked(self, model: str) -> AgentSpec:
        """The agent as it asks this one of its models."""
        fields = {
            "model": model,
            "fallbacks": self.choice.models[1:],
            "patience": self.patience,
            "instructions": self.instructions,
            "tools": self.toolset.names,
            "may": self.toolset.may,
            "asks": self.toolset.asks,
            "approval_deadline": self.approval_deadline,
            "max_turns": self.limits.turns,
            "max_tool_calls": self.limits.tool_calls,
            "max_total_tokens": self.limits.tokens,
            "max_cost": self.limits.cost,
            "repeats": self.limits.repeats,
            "repairs": self.repairs,
            "max_tokens": self.max_tokens,
            "temperature": self.temperature,
            "effort": self.effort,
            "provider_options": self.provider_options,
            "cache": self.cache,
            "output_schema": self.output.schema if self.output else None,
            "output_mode": self.output_mode,
        }
        try:
            return AgentSpec.model_validate(fields)
        except ValidationError as error:
            raise InvalidInput.of(problem_of(error, "agent.malformed", "agent")) from None
