"""The services, by the names under which they write, are asked and give signs of life."""

from __future__ import annotations

from typing import Final, Literal, TypeAlias

__all__ = [
    "AGENT_GATEWAY",
    "APPROVAL",
    "GRAPH_ENGINE",
    "SERVICES",
    "TOOL_RUNNER",
    "WORKERS",
    "Service",
]

Service: TypeAlias = Literal["graph-engine", "agent-gateway", "tool-runner", "approval"]

GRAPH_ENGINE: Final = "graph-engine"
AGENT_GATEWAY: Final = "agent-gateway"
TOOL_RUNNER: Final = "tool-runner"
APPROVAL: Final = "approval"

SERVICES: Final[tuple[Service, ...]] = (GRAPH_ENGINE, AGENT_GATEWAY, TOOL_RUNNER, APPROVAL)
"""Whoever starts all of them starts them in this order."""

WORKERS: Final[tuple[Service, ...]] = (AGENT_GATEWAY, TOOL_RUNNER)
"""Who takes calls from the queue of work."""
