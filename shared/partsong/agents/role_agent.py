"""`RoleBasedAgent`: an agent that plays a role."""

from __future__ import annotations

from typing import Unpack

from partsong.agents.agent import Agent
from partsong.agents.options import AgentOptions
from partsong.agents.roles import ROOM, AgentRole
from partsong.tools.registry import ToolRegistry

__all__ = ["RoleBasedAgent"]


class RoleBasedAgent(Agent):
    """Its instructions, tools, permissions and output come from the role; model and key as for every agent."""

    def __init__(
        self,
        role: AgentRole,
        model: str = "",
        *,
        tool_registry: ToolRegistry | None = None,
        instructions: str = "",
        name: str = "",
        **options: Unpack[AgentOptions],
    ) -> None:
        """Take the role; `instructions` are added to its prompt. The options are those of `Agent`.

        Without a registry, the role has the built-in tools to choose from.

        Raises:
            InvalidInput: one of them cannot be accepted.
            NotFound: `tool.unknown`, the registry lacks a tool that the role needs.
        """
        options.setdefault("max_tokens", ROOM)
        options.setdefault("cache", role.cache)
        told = "\n\n".join(part for part in (role.prompt(), instructions) if part)
        super().__init__(
            model,
            name=name or "".join(c if c.isalnum() else "_" for c in role.name.lower()),
            instructions=told,
            tools=role.allows(tool_registry or ToolRegistry()),
            output=role.output_type,
            **options,
        )
        self.role = role
        """What it plays."""
