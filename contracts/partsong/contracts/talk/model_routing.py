"""Routes: how hard a turn's task is taken to be, which model serves it, which ones would have, and why."""

from __future__ import annotations

from typing import Literal, get_args

from pydantic import BaseModel, ConfigDict

__all__ = [
    "TIERS",
    "Kind",
    "Progress",
    "RouteDecision",
    "RoutedCandidate",
    "Score",
    "ShadowChoice",
    "Tier",
]

Tier = Literal["simple", "medium", "complex", "reasoning"]
"""From the easiest to the hardest."""
Kind = Literal["code", "math", "reasoning", "design", "general"]
"""What sort of work; quality is learned per kind."""

TIERS: tuple[Tier, ...] = get_args(Tier)


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="allow")


class RoutedCandidate(_Record):
    """One candidate as it stood."""

    model: str
    rejected: tuple[str, ...] = ()
    """Why it could not serve; empty if it could."""
    quality: float
    """Expected, before any draw."""
    cost: float | None
    p95_latency: float | None


class ShadowChoice(_Record):
    """What another policy would have done."""

    policy: str
    policy_version: str
    chosen: str
    scores: dict[str, float]


class RouteDecision(_Record):
    """Who serves, who would have, and why."""

    candidates: tuple[RoutedCandidate, ...]
    """All of them, in the order given."""
    scores: dict[str, float]
    """Of those that could serve."""
    chosen: str | None
    """None if nobody could serve."""
    fallbacks: tuple[str, ...]
    """Whom to ask next, in order."""
    policy: str
    policy_version: str
    seed: int
    reason: str
    tier: Tier
    kind: Kind
    shadow: ShadowChoice | None = None


class Score(_Record):
    """How hard a task is, and why."""

    value: float
    """0 to 100."""
    tier: Tier
    kind: Kind
    features: dict[str, float]
    """Points by feature, without those that gave none."""
    reasons: tuple[str, ...]
    """For people, the weightiest first."""
    version: str
    """Of the weights."""


class Progress(_Record):
    """How an agent's visit has gone up to a turn."""

    previous: str | None = None
    """The model that the router chose last."""
    repeats: int = 0
    """How often some tool call has given the same result, beyond the first time."""
    rejections: int = 0
    """Answers that did not fit their schema."""
