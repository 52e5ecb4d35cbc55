"""The complexity analyzer: how hard a task is, from 0 to 100, and how it should therefore be worked on.

A score is a base plus points per feature, cut off at 0 and 100. Points are never negative and features never fall when
text is added, so scores do not either. What a run shows adds to what its task shows; a stall, or answers turned down
again and again, also lift the tier itself, since a few points might not leave it.
Without such signals the next turn's score falls back to the task's own.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from pydantic import BaseModel, ConfigDict

from partsong.contracts.errors import InvalidInput
from partsong.contracts.talk.model_routing import TIERS, Kind, Score, Tier
from partsong.models.port import Effort
from partsong.models.routing.features import (
    RUN_FEATURES,
    TASK_FEATURES,
    Context,
    Reading,
    RunSignals,
    Task,
)
from partsong.models.routing.weights import BASE, LIMITS, POINTS, VERSION

__all__ = [
    "WEIGHTS",
    "Approach",
    "ComplexityAnalyzer",
    "Weights",
    "approach",
    "tier_of",
]

_RUN_POINTS: Mapping[str, float] = {
    "retries": 8.0,
    "tool_errors": 20.0,
    "stall": 30.0,
    "rejections": 25.0,
    "handoffs": 8.0,
    "depth": 6.0,
    "overrun": 15.0,
}


@dataclass(frozen=True, slots=True)
class Weights:
    """Points per feature and the limits between tiers. A version never changes its numbers.

    Raises:
        InvalidInput: `weights.invalid` if a weight is negative, a feature is missing or limits do not rise.
    """

    version: str
    base: float
    points: Mapping[str, float]
    limits: tuple[float, float, float]
    """Where medium, complex and reasoning begin."""

    def __post_init__(self) -> None:
        expected = {*TASK_FEATURES, *RUN_FEATURES}
        wrong = sorted(expected ^ self.points.keys()) + sorted(
            name for name, points in self.points.items() if not points >= 0
        )
        if wrong or not 0 < self.limits[0] < self.limits[1] < self.limits[2] <= 100:
            raise InvalidInput(
                "weights.invalid",
                f"weights {self.version!r}: features {wrong}, limits {self.limits}",
                where="weights",
                fix="give every feature points of 0 or more, and limits that rise from 0 to 100",
            )


WEIGHTS = Weights(VERSION, BASE, {**POINTS, **_RUN_POINTS}, LIMITS)
"""What `tests/unit/models/routing/complexity/fit.py` fitted, and what a run's signals add."""


class Approach(BaseModel):
    """How a task of a certain score should be worked on."""

    model_config = ConfigDict(frozen=True, extra="allow")

    tier: Tier
    """The model's, at least."""
    effort: Effort
    max_workers: int
    """Agents that may work on it at once."""
    decompose: bool
    reviewer: bool
    """Whether somebody else should look at the result before it counts."""


class ComplexityAnalyzer:
    """Scores tasks. Pure: the same task in the same place always gets the same score."""

    def __init__(self, weights: Weights = WEIGHTS) -> None:
        self._weights = weights

    def score(self, task: Task, context: Context | None = None) -> Score:
        """How hard the task is, given how its run has gone so far."""
        context = context or Context()
        weights = self._weights
        reading = Reading.of(task, context)
        # Added up in one fixed order: each sum is monotone, and the same to the last bit.
        points = {
            name: weights.points[name] * reading.values[name]
            for name in (*TASK_FEATURES, *RUN_FEATURES)
        }
        bare = weights.base + sum(points[name] for name in TASK_FEATURES)
        value = bare + sum(points[name] for name in RUN_FEATURES)
        floor, lifted = _lifted(context.run, tier_of(bare, weights.limits), weights.limits)
        value = round(min(100.0, max(0.0, value, floor)), 2)
        return Score(
            value=value,
            tier=tier_of(value, weights.limits),
            kind=_kind(points),
            features={name: round(got, 2) for name, got in points.items() if got > 0},
            reasons=(*lifted, *_reasons(points, reading.evidence)),
            version=weights.version,
        )


def tier_of(value: float, limits: tuple[float, float, float] = LIMITS) -> Tier:
    """The tier of a value."""
    return TIERS[sum(value >= limit for limit in limits)]


def approach(score: Score) -> Approach:
    """What a score means for the work."""
    steps = sum(score.features.get(name, 0.0) > 0 for name in ("steps", "actions", "design"))
    hard = score.tier in {"complex", "reasoning"}
    effort: Mapping[Tier, Effort] = {
        "simple": "minimal",
        "medium": "low",
        "complex": "medium",
        "reasoning": "max" if score.value >= 95 else "high",
    }
    # An inference is one thread of thought; only work with parts can be shared out.
    workers = {"simple": 1, "medium": 2, "complex": 6, "reasoning": 2}[score.tier]
    return Approach(
        tier=score.tier,
        effort=effort[score.tier],
        max_workers=workers if steps > 1 else 1,
        decompose=hard and steps > 1,
        reviewer=hard or bool(score.features.get("rejections")),
    )


def _lifted(
    run: RunSignals, tier: Tier, limits: tuple[float, float, float]
) -> tuple[float, tuple[str, ...]]:
    """The least value that the run's troubles ask for. Two of a kind lift by one tier, four by two, six by three."""
    trouble = max(run.repeats, run.rejections)
    lifts = min(trouble // 2, 3 - TIERS.index(tier))
    if lifts < 1:
        return 0.0, ()
    target = TIERS.index(tier) + lifts
    what = "same call repeated" if run.repeats >= run.rejections else "answer turned down"
    return limits[target - 1], (f"{what} {trouble} times: from {tier} to {TIERS[target]}",)


def _kind(points: Mapping[str, float]) -> Kind:
    kinds: tuple[Kind, ...] = ("code", "math", "reasoning", "design")
    best = max(kinds, key=lambda kind: points[kind])
    return best if points[best] > 0 else "general"


def _reasons(
    points: Mapping[str, float], evidence: Mapping[str, tuple[str, ...]]
) -> tuple[str, ...]:
    weighty = sorted((name for name in points if points[name] >= 1), key=lambda n: (-points[n], n))
    return tuple(
        f"{name.replace('_', ' ')} +{points[name]:.1f}"
        + (f" ({', '.join(evidence[name][:5])})" if name in evidence else "")
        for name in weighty[:6]
    )
