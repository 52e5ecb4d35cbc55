"""Agents of one vendor each, and the agent that has tools."""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar, Unpack

from partsong.agents.agent import Agent
from partsong.agents.options import AgentOptions
from partsong.agents.output import OutputType
from partsong.agents.toolset import Toolset
from partsong.tools.registry import ToolRegistry

__all__ = ["ClaudeAgent", "GeminiAgent", "OpenAIAgent", "ToolEnabledAgent"]


class ClaudeAgent(Agent):
    """Asks Anthropic's models: `ClaudeAgent(api_key=…)`, or the key in `ANTHROPIC_API_KEY`."""

    provider: ClassVar[str] = "anthropic"


class OpenAIAgent(Agent):
    """Asks OpenAI's models, or those of any server that speaks its Chat Completions, by `base_url`.

    With `base_url` a bare model name means Chat Completions; `openai:…` means the Responses API there too.
    """

    provider: ClassVar[str] = "openai"


class GeminiAgent(Agent):
    """Asks Google's models: `GeminiAgent(api_key=…)`, or the key in `GOOGLE_API_KEY`."""

    provider: ClassVar[str] = "google"


class ToolEnabledAgent(Agent):
    """Has the tools of a registry: all, or those in `allow`."""

    scripted: ClassVar[str] = "tool"

    def __init__(
        self,
        model: str = "",
        *,
        tool_registry: ToolRegistry,
        allow: Iterable[str] | None = None,
        name: str = "agent",
        instructions: str = "",
        output: OutputType = None,
        **options: Unpack[AgentOptions],
    ) -> None:
        """Take over a registry's tools as they are now; the options are those of `Agent`.

        Raises:
            InvalidInput: one of them cannot be accepted.
            NotFound: `tool.unknown`, for a name in `allow`.
        """
        super().__init__(
            model,
            name=name,
            instructions=instructions,
            tools=Toolset(tool_registry, allow),
            output=output,
            **options,
        )
