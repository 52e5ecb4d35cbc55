"""Routing policies: how candidates that may serve a turn are put in order.

static             in the order in which they are configured
cheapest_capable   the cheapest that is expected to be good enough
complexity         the best value among models of the task's tier or above, weaker ones behind them
bandit             the same value, with a drawn quality (Thompson sampling), so that little-known models are tried
shadow             serves by one policy and notes what another one would have chosen
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, TypeAlias, assert_never

from pydantic import BaseModel, ConfigDict, Field

from partsong.contracts.talk.model_routing import TIERS, Kind, Tier
from partsong.models.routing.beta_sampling import draw_beta

__all__ = [
    "Bandit",
    "Beta",
    "CheapestCapable",
    "Complexity",
    "Outcomes",
    "Policy",
    "Ranking",
    "Shadow",
    "Static",
    "Terms",
    "Weighing",
    "rank",
]

_STRENGTH = 4.0
"""How many outcomes a prior is worth."""
_PRIOR = (0.9, 0.7, 0.45, 0.25)
"""Expected quality of a model that is as many tiers below its task."""
_ABOVE = 0.92
"""Expected quality of a model above its task's tier: hardly better, or nobody would ever ask a small one."""


@dataclass(frozen=True, slots=True)
class Beta:
    """What is known about a chance of success."""

    good: float
    bad: float

    @property
    def mean(self) -> float:
        """The expected chance."""
        return self.good / (self.good + self.bad)


class Outcomes(BaseModel):
    """Verdicts of validators, reviewers and evaluations so far, by model, tier and kind of task."""

    model_config = ConfigDict(frozen=True)

    counts: dict[str, tuple[float, float]] = Field(default_factory=dict)
    """Good and bad ones by `tier/kind/model`."""

    def observe(self, model: str, tier: Tier, kind: Kind, quality: float) -> Outcomes:
        """One more verdict; `quality` from 0 (useless) to 1 (accepted), kept within that."""
        key, quality = f"{tier}/{kind}/{model}", min(1.0, max(0.0, quality))
        good, bad = self.counts.get(key, (0.0, 0.0))
        return Outcomes(counts={**self.counts, key: (good + quality, bad + 1 - quality)})

    def quality(self, model: str, model_tier: Tier, tier: Tier, kind: Kind) -> Beta:
        """The posterior: what the tiers lead to expect, and what was seen."""
        below = TIERS.index(tier) - TIERS.index(model_tier)
        prior = _PRIOR[below] if below >= 0 else _ABOVE
        good, bad = self.counts.get(f"{tier}/{kind}/{model}", (0.0, 0.0))
        return Beta(_STRENGTH * prior + good, _STRENGTH * (1 - prior) + bad)


@dataclass(frozen=True, slots=True)
class Terms:
    """What a policy knows of a candidate."""

    model: str
    below: int
    """Tiers that the model is below the task; 0 if it reaches it."""
    quality: Beta
    cost: float
    """US dollars for the turn."""
    latency: float
    """Seconds, 95th percentile."""


@dataclass(frozen=True, slots=True)
class Weighing:
    """What a sure success, a dollar and a second are worth against each other."""

    quality: float = 1.0
    cost: float = 5.0
    latency: float = 0.002

    def value(self, terms: Terms, quality: float) -> float:
        """Of a turn with this quality."""
        return self.quality * quality - self.cost * terms.cost - self.latency * terms.latency


class _Named:
    name: ClassVar[str]
    version: ClassVar[str] = "1"


@dataclass(frozen=True)
class Static(_Named):
    """In the order given."""

    name = "static"


@dataclass(frozen=True)
class CheapestCapable(_Named):
    """The cheapest with this expected quality at least; those below it come last, the best first."""

    name = "cheapest_capable"
    quality: float = 0.8


@dataclass(frozen=True)
class Complexity(_Named):
    """The best value among models of the task's tier or above."""

    name = "complexity"
    weighing: Weighing = Weighing()


@dataclass(frozen=True)
class Bandit(_Named):
    """The best value, by a quality drawn from the posterior."""

    name = "bandit"
    weighing: Weighing = Weighing()


@dataclass(frozen=True)
class Shadow(_Named):
    """Serves by one policy, watches another."""

    name = "shadow"
    serve: Policy
    watch: Policy


Policy: TypeAlias = Static | CheapestCapable | Complexity | Bandit | Shadow


@dataclass(frozen=True, slots=True)
class Ranking:
    """Models from the first choice to the last, and their scores; higher is better."""

    order: tuple[str, ...]
    scores: dict[str, float]


def rank(policy: Policy, candidates: Sequence[Terms], seed: int) -> Ranking:
    """Put candidates in order. Ties go by the order given."""
    scores = {
        terms.model: round(_score(policy, place, terms, seed), 6)
        for place, terms in enumerate(candidates)
    }
    return Ranking(tuple(sorted(scores, key=lambda model: -scores[model])), scores)


def _score(policy: Policy, place: int, terms: Terms, seed: int) -> float:
    match policy:
        case Static():
            return float(-place)
        case CheapestCapable(quality=floor):
            mean = terms.quality.mean
            return -terms.cost if mean >= floor else mean - 1_000_000
        case Complexity(weighing=weighing):
            # No difference in price makes up for a tier.
            return weighing.value(terms, terms.quality.mean) - 1_000 * terms.below
        case Bandit(weighing=weighing):
            drawn = draw_beta(seed, terms.model, terms.quality.good, terms.quality.bad)
            return weighing.value(terms, drawn)
        case Shadow(serve=serve):
            return _score(serve, place, terms, seed)
        case _:
            assert_never(policy)
