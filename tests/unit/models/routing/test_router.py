"""The router: filters that say why, policies that are worth their name, decisions that replay."""

from __future__ import annotations

import random
from statistics import fmean

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from partsong.contracts.talk.model_routing import TIERS, RouteDecision, Tier
from partsong.models.core.breaker import Breaker, BreakerRules
from partsong.models.routing.beta_sampling import draw_beta
from partsong.models.routing.complexity import ComplexityAnalyzer
from partsong.models.routing.features import Context, RunSignals, Task
from partsong.models.routing.policies import (
    Bandit,
    CheapestCapable,
    Complexity,
    Outcomes,
    Policy,
    Shadow,
    Static,
)
from partsong.models.routing.router import Candidate, Capability, RouteRequest, explain, route
from tests.unit.models.routing.complexity.tasks import held_out

ALL: frozenset[Capability] = frozenset({"tools", "json", "vision"})
SMALL = Candidate("a:small", "simple", 32_000, frozenset({"json"}), 0.2, 0.8, 2.0)
MIDDLE = Candidate("b:middle", "medium", 128_000, frozenset({"tools", "json"}), 1.0, 4.0, 5.0)
LARGE = Candidate("a:large", "complex", 200_000, ALL, 3.0, 15.0, 12.0)
THINKER = Candidate("c:thinker", "reasoning", 200_000, ALL, 10.0, 40.0, 60.0)
LOCAL = Candidate("d:local", "medium", 16_000, ALL)
FLEET = (SMALL, MIDDLE, LARGE, THINKER, LOCAL)
POLICIES: tuple[Policy, ...] = (
    Static(),
    CheapestCapable(),
    Complexity(),
    Bandit(),
    Shadow(Static(), Bandit()),
)


def ask(
    tier: Tier = "simple", *, previous: str | None = None, budget: float | None = None
) -> RouteRequest:
    return RouteRequest(
        tier, input_tokens=2_000, output_tokens=1_000, previous=previous, budget_left=budget
    )


def decide(request: RouteRequest, policy: Policy, seed: int = 1) -> RouteDecision:
    return route(FLEET, request, policy, seed=seed, now=0.0)


def test_the_explanation_says_why_each_candidate_fell_out() -> None:
    breaker = Breaker(BreakerRules(failures=1))
    opened = breaker.leave(breaker.ticket, "rate_limited", 0.0)
    request = RouteRequest(
        "complex",
        "code",
        input_tokens=30_000,
        output_tokens=8_000,
        needs=frozenset({"tools", "vision"}),
        allowed=("a:*", "b:*", "c:*"),
        budget_left=0.5,
    )
    decision = route(
        FLEET, request, Complexity(), seed=7, now=2.0, breakers={THINKER.model: opened}
    )
    assert explain(decision).splitlines() == [
        "complexity@1, complex code task: a:large comes first by complexity, of 1 that can serve out of 5",
        "  a:small: out, cannot do tools, vision; context window 32000 is less than 38000 tokens",
        "  b:middle: out, cannot do vision",
        "  a:large: chosen, score -0.174 (quality 0.90, cost 0.2100 USD, p95 12.0 s)",
        (
            "  c:thinker: out, breaker open for another 8 s: 1 of 1 calls failed, last rate_limited;"
            " may cost 0.6200 USD, with 0.5000 USD left"
        ),
        (
            "  d:local: out, not allowed, only a:*, b:*, c:*; context window 16000 is less than 38000 tokens;"
            " price unknown, with 0.5000 USD left"
        ),
    ]


def test_nobody_left_is_a_decision_too() -> None:
    decision = decide(ask(budget=0.0), Complexity())
    assert decision.chosen is None
    assert decision.fallbacks == ()
    assert "none of 5 candidates can serve" in explain(decision)


@pytest.mark.parametrize(
    ("tier", "chosen"),
    [
        ("simple", SMALL.model),
        ("medium", MIDDLE.model),
        ("complex", LARGE.model),
        ("reasoning", THINKER.model),
    ],
)
def test_complexity_takes_a_model_of_the_tasks_tier(tier: Tier, chosen: str) -> None:
    decision = decide(ask(tier), Complexity())
    assert decision.chosen == chosen
    assert set(decision.fallbacks) == {c.model for c in FLEET} - {chosen}


def test_static_keeps_the_order_given() -> None:
    decision = decide(ask("reasoning"), Static())
    assert (decision.chosen, *decision.fallbacks) == tuple(c.model for c in FLEET)


def test_cheapest_capable_takes_the_cheapest_that_is_good_enough() -> None:
    assert decide(ask("simple"), CheapestCapable(0.8)).chosen == SMALL.model
    assert decide(ask("complex"), CheapestCapable(0.8)).chosen == LARGE.model
    known = Outcomes()
    for _ in range(30):
        known = known.observe(MIDDLE.model, "complex", "general", 1.0)
    learned = route(FLEET, ask("complex"), CheapestCapable(0.8), seed=1, now=0.0, outcomes=known)
    assert learned.chosen == MIDDLE.model


def test_an_unknown_price_is_not_free() -> None:
    decision = decide(ask("medium"), CheapestCapable(0.8))
    assert decision.chosen == MIDDLE.model
    assert decision.scores[LOCAL.model] == decision.scores[THINKER.model]


@pytest.mark.parametrize("policy", POLICIES, ids=lambda p: p.name)
def test_a_conversation_stays_with_its_model_until_the_task_outgrows_it(policy: Policy) -> None:
    stays = decide(ask("medium", previous=LARGE.model), policy)
    assert stays.chosen == LARGE.model
    assert "goes on with its conversation" in stays.reason
    assert LARGE.model not in stays.fallbacks
    outgrown = decide(ask("reasoning", previous=SMALL.model), policy)
    assert "goes on" not in outgrown.reason


def test_a_conversation_leaves_a_model_whose_breaker_is_open() -> None:
    breaker = Breaker(BreakerRules(failures=1))
    opened = breaker.leave(breaker.ticket, "overloaded", 0.0)
    breakers = {MIDDLE.model: opened}
    request = ask("medium", previous=MIDDLE.model)
    away = route(FLEET, request, Complexity(), seed=1, now=1.0, breakers=breakers)
    back = route(FLEET, request, Complexity(), seed=1, now=opened.until, breakers=breakers)
    assert away.chosen != MIDDLE.model
    assert back.chosen == MIDDLE.model


def test_a_stalled_conversation_gets_a_stronger_model_within_two_steps() -> None:
    task, analyzer = Task("What is the capital of Australia?"), ComplexityAnalyzer()
    served = SMALL.model
    for repeats in range(3):
        score = analyzer.score(task, Context(run=RunSignals(repeats=repeats)))
        served = decide(ask(score.tier, previous=served), Complexity()).chosen or ""
    assert served not in {"", SMALL.model}


def test_a_shadow_changes_nothing_but_the_record() -> None:
    shadowed = decide(ask("complex"), Shadow(Static(), Complexity()))
    assert shadowed.chosen == decide(ask("complex"), Static()).chosen
    assert shadowed.shadow is not None
    assert shadowed.shadow.chosen == LARGE.model
    assert "complexity@1 would take a:large" in explain(shadowed)


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(POLICIES), st.sampled_from(TIERS), st.integers(0, 2**64))
def test_a_decision_survives_json_and_is_made_again_the_same(
    policy: Policy, tier: Tier, seed: int
) -> None:
    decision = decide(ask(tier), policy, seed)
    assert RouteDecision.model_validate_json(decision.model_dump_json()) == decision
    assert decide(ask(tier), policy, seed) == decision
    assert len({decision.chosen, *decision.fallbacks}) == len(FLEET)


def test_a_seed_of_an_old_log_still_draws_the_same() -> None:
    drawn = [draw_beta(seed, "m", 3.0, 2.0) for seed in range(3)]
    assert drawn == pytest.approx([0.831183669097122, 0.6505467688892754, 0.9261280341921241])


@pytest.mark.parametrize(("good", "bad"), [(1.0, 1.0), (0.3, 0.7), (9.0, 3.0), (2.8, 1.2)])
def test_draws_have_the_mean_and_the_spread_of_their_distribution(good: float, bad: float) -> None:
    drawn = [draw_beta(seed, "m", good, bad) for seed in range(4_000)]
    mean, total = good / (good + bad), good + bad
    variance = good * bad / (total**2 * (total + 1))
    assert all(0 <= x <= 1 for x in drawn)
    assert fmean(drawn) == pytest.approx(mean, abs=0.02)
    assert fmean((x - mean) ** 2 for x in drawn) == pytest.approx(variance, rel=0.12)


ARMS = {"a:w": 0.35, "b:x": 0.55, "c:y": 0.6, "d:z": 0.85}


def bandit_regret(seed: int, rounds: int) -> float:
    """How much less than the best arm's the expected rewards were."""
    world, outcomes = random.Random(seed), Outcomes()
    arms = [Candidate(name, "medium", 100_000, ALL, 0.0, 0.0, 1.0) for name in ARMS]
    lost = 0.0
    for turn in range(rounds):
        decision = route(
            arms, ask("medium"), Bandit(), seed=seed * rounds + turn, now=0.0, outcomes=outcomes
        )
        assert decision.chosen is not None
        chance = ARMS[decision.chosen]
        lost += max(ARMS.values()) - chance
        good = float(world.random() < chance)
        outcomes = outcomes.observe(decision.chosen, "medium", "general", good)
    return lost


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_the_bandit_loses_less_than_chance_and_little_to_an_oracle(seed: int) -> None:
    rounds, best = 600, max(ARMS.values())
    lost = bandit_regret(seed, rounds)
    by_chance = rounds * (best - fmean(ARMS.values()))
    assert lost < by_chance / 4
    assert rounds * best - lost > 0.9 * rounds * best


def test_routing_by_complexity_recovers_most_of_the_strong_models_gain_at_part_of_its_calls() -> (
    None
):
    # A simulated pair: the weak model is as good as the strong one up to medium tasks only.
    weak = {"simple": 0.98, "medium": 0.9, "complex": 0.5, "reasoning": 0.25}
    strong = {"simple": 0.99, "medium": 0.96, "complex": 0.9, "reasoning": 0.85}
    items, analyzer = held_out(), ComplexityAnalyzer()
    hard = [analyzer.score(i.task, i.context).tier in {"complex", "reasoning"} for i in items]
    gain = [strong[i.label] - weak[i.label] for i in items]
    recovered = sum(g for g, up in zip(gain, hard, strict=True) if up) / sum(gain)
    assert recovered > 0.8
    assert fmean(hard) < 0.6
