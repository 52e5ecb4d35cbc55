"""The router: which model serves a turn. Hard filters first, then a policy's order, and every reason is written down.

A conversation stays with its model, for the sake of prompt caches and reasoning state, as long as that model passes
the filters and reaches the task's tier. Whoever replays a run reads the recorded decision and never asks again; asked
again with the same arguments, the router would decide the same.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Literal

from partsong.contracts.talk.model_routing import (
    TIERS,
    Kind,
    RoutedCandidate,
    RouteDecision,
    ShadowChoice,
    Tier,
)
from partsong.models.core.breaker import Breaker
from partsong.models.routing.policies import Outcomes, Policy, Shadow, Terms, rank

__all__ = [
    "Candidate",
    "Capability",
    "RouteRequest",
    "explain",
    "route",
]

Capability = Literal["tools", "json", "vision"]


@dataclass(frozen=True, slots=True)
class Candidate:
    """A model that might serve."""

    model: str
    """Full name: `provider:model`."""
    tier: Tier
    """The hardest tasks it is meant for."""
    context_window: int
    """Tokens of question and answer together."""
    capabilities: frozenset[Capability] = frozenset()
    input_price: float | None = None
    """US dollars per million tokens; None if it is not known, which is not the same as free."""
    output_price: float | None = None
    p95_latency: float | None = None
    """Seconds from the request to the end of the answer."""

    def cost(self, request: RouteRequest) -> float | None:
        """US dollars that the turn is expected to cost at most."""
        if self.input_price is None or self.output_price is None:
            return None
        tokens = request.input_tokens * self.input_price + request.output_tokens * self.output_price
        return tokens / 1_000_000


@dataclass(frozen=True, slots=True)
class RouteRequest:
    """What a turn needs."""

    tier: Tier
    kind: Kind = "general"
    input_tokens: int = 0
    output_tokens: int = 0
    """At most."""
    needs: frozenset[Capability] = frozenset()
    allowed: tuple[str, ...] = ()
    """Patterns of model names, `anthropic:*`; empty allows all."""
    budget_left: float | None = None
    """US dollars; None if there is no budget."""
    previous: str | None = None
    """The model that served the conversation last."""


def route(
    candidates: Sequence[Candidate],
    request: RouteRequest,
    policy: Policy,
    *,
    seed: int,
    now: float,
    outcomes: Outcomes | None = None,
    breakers: Mapping[str, Breaker] | None = None,
) -> RouteDecision:
    """Decide. `now` is in the breakers' time; `breakers` are by model's full name, a missing one is closed."""
    known, closed = outcomes or Outcomes(), breakers or {}
    seen = [_routed(c, request, known, closed.get(c.model), now) for c in candidates]
    able = [c for c, view in zip(candidates, seen, strict=True) if not view.rejected]
    terms = _terms(able, request, known)
    ranking = rank(policy, terms, seed)
    stays = _stays(able, request)
    first = () if stays is None else (stays,)
    order = (*first, *(model for model in ranking.order if model != stays))
    return RouteDecision(
        candidates=tuple(seen),
        scores=ranking.scores,
        chosen=order[0] if order else None,
        fallbacks=order[1:],
        policy=policy.name,
        policy_version=policy.version,
        seed=seed,
        reason=_reason(order, stays, len(seen), policy),
        tier=request.tier,
        kind=request.kind,
        shadow=_shadow(policy, terms, seed),
    )


def explain(decision: RouteDecision) -> str:
    """The decision for people: a line for what was decided, and one for each candidate."""
    head = f"{decision.policy}@{decision.policy_version}, {decision.tier} {decision.kind} task: {decision.reason}"
    lines = [head, *(f"  {_line(view, decision)}" for view in decision.candidates)]
    if (shadow := decision.shadow) is not None:
        lines.append(f"  {shadow.policy}@{shadow.policy_version} would take {shadow.chosen}")
    return "\n".join(lines)


def _line(view: RoutedCandidate, decision: RouteDecision) -> str:
    if view.rejected:
        return f"{view.model}: out, {'; '.join(view.rejected)}"
    place = (
        "chosen"
        if view.model == decision.chosen
        else f"fallback {decision.fallbacks.index(view.model) + 1}"
    )
    cost = "unknown" if view.cost is None else f"{view.cost:.4f} USD"
    latency = "unknown" if view.p95_latency is None else f"{view.p95_latency:.1f} s"
    return (
        f"{view.model}: {place}, score {decision.scores[view.model]:.3f}"
        f" (quality {view.quality:.2f}, cost {cost}, p95 {latency})"
    )


def _routed(
    candidate: Candidate,
    request: RouteRequest,
    outcomes: Outcomes,
    breaker: Breaker | None,
    now: float,
) -> RoutedCandidate:
    return RoutedCandidate(
        model=candidate.model,
        rejected=_rejected(candidate, request, breaker, now),
        quality=round(
            outcomes.quality(candidate.model, candidate.tier, request.tier, request.kind).mean, 4
        ),
        cost=candidate.cost(request),
        p95_latency=candidate.p95_latency,
    )


def _rejected(
    candidate: Candidate, request: RouteRequest, breaker: Breaker | None, now: float
) -> tuple[str, ...]:
    """Every reason, not only the first: who changes one thing wants to know whether it is enough."""
    found = []
    if request.allowed and not any(fnmatchcase(candidate.model, p) for p in request.allowed):
        found.append(f"not allowed, only {', '.join(request.allowed)}")
    if missing := request.needs - candidate.capabilities:
        found.append(f"cannot do {', '.join(sorted(missing))}")
    if (tokens := request.input_tokens + request.output_tokens) > candidate.context_window:
        found.append(f"context window {candidate.context_window} is less than {tokens} tokens")
    if breaker is not None and not breaker.admits(now):
        found.append(f"breaker {breaker.describe(now)}")
    if request.budget_left is not None:
        cost = candidate.cost(request)
        if cost is None:
            found.append(f"price unknown, with {request.budget_left:.4f} USD left")
        elif cost > request.budget_left:
            found.append(f"may cost {cost:.4f} USD, with {request.budget_left:.4f} USD left")
    return tuple(found)


def _terms(able: Sequence[Candidate], request: RouteRequest, outcomes: Outcomes) -> list[Terms]:
    """What is unknown counts like the worst that is known."""
    costs = {c.model: c.cost(request) for c in able}
    dearest = max((cost for cost in costs.values() if cost is not None), default=0.0)
    slowest = max((c.p95_latency for c in able if c.p95_latency is not None), default=0.0)
    return [
        Terms(
            c.model,
            max(0, TIERS.index(request.tier) - TIERS.index(c.tier)),
            outcomes.quality(c.model, c.tier, request.tier, request.kind),
            dearest if (cost := costs[c.model]) is None else cost,
            slowest if c.p95_latency is None else c.p95_latency,
        )
        for c in able
    ]


def _stays(able: Sequence[Candidate], request: RouteRequest) -> str | None:
    """The conversation's model, if it may go on."""
    needed = TIERS.index(request.tier)
    fit = (c.model for c in able if c.model == request.previous and TIERS.index(c.tier) >= needed)
    return next(fit, None)


def _reason(order: Sequence[str], stays: str | None, asked: int, policy: Policy) -> str:
    if not order:
        return f"none of {asked} candidates can serve"
    if stays is not None:
        return f"{stays} goes on with its conversation"
    by = policy.serve.name if isinstance(policy, Shadow) else policy.name
    return f"{order[0]} comes first by {by}, of {len(order)} that can serve out of {asked}"


def _shadow(policy: Policy, terms: Sequence[Terms], seed: int) -> ShadowChoice | None:
    if not isinstance(policy, Shadow) or not terms:
        return None
    watched = rank(policy.watch, terms, seed)
    return ShadowChoice(
        policy=policy.watch.name,
        policy_version=policy.watch.version,
        chosen=watched.order[0],
        scores=watched.scores,
    )
