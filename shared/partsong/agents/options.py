"""`AgentOptions`: what every kind of agent takes by keyword besides what makes it that kind."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypedDict

from pydantic import JsonValue

from partsong.agents.limits import AgentLimits
from partsong.agents.toolset import Approve
from partsong.contracts.durations import Duration
from partsong.contracts.graph import CacheMode, Effort, OutputMode, Retry
from partsong.models.limiter import RateLimiter

__all__ = ["AgentOptions"]


class AgentOptions(TypedDict, total=False):
    """Explained at `Agent`."""

    api_key: str
    base_url: str
    mode: OutputMode | None
    max_tokens: int
    temperature: float | None
    effort: Effort | None
    cache: CacheMode
    timeout: Duration | None
    limits: AgentLimits | None
    limiter: RateLimiter | None
    fallbacks: tuple[str, ...]
    retry: Retry
    patience: Duration
    repairs: int
    approve: Approve | None
    approval_deadline: Duration | None
    provider_options: Mapping[str, Mapping[str, JsonValue]] | None
