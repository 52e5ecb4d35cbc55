"""Agents as a library: one object that answers, streams, calls tools, and is a node of a graph if you like."""

from partsong.agents.agent import Agent
from partsong.agents.conversation import Conversation
from partsong.agents.errors import AgentFailed, BadOutput, LimitReached, LoopDetected
from partsong.agents.library import RoleLibrary
from partsong.agents.limits import AgentLimits
from partsong.agents.result import AgentResult
from partsong.agents.role_agent import RoleBasedAgent
from partsong.agents.roles import AgentRole
from partsong.agents.stream import AgentStream
from partsong.agents.toolset import Toolset
from partsong.agents.vendors import ClaudeAgent, GeminiAgent, OpenAIAgent, ToolEnabledAgent
from partsong.contracts.graph.function_results import Approved, Edited, Rejected
from partsong.models.limiter import RateLimiter

__all__ = [
    "Agent",
    "AgentFailed",
    "AgentLimits",
    "AgentResult",
    "AgentRole",
    "AgentStream",
    "Approved",
    "BadOutput",
    "ClaudeAgent",
    "Conversation",
    "Edited",
    "GeminiAgent",
    "LimitReached",
    "LoopDetected",
    "OpenAIAgent",
    "RateLimiter",
    "Rejected",
    "RoleBasedAgent",
    "RoleLibrary",
    "ToolEnabledAgent",
    "Toolset",
]
