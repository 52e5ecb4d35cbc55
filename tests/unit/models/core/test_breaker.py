"""The circuit breaker: opens in a storm, probes with one call, closes when the probe comes back well."""

from __future__ import annotations

from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from partsong.contracts.talk.chunks import ErrorClass
from partsong.models.core.breaker import Breaker, BreakerRules

RULES = BreakerRules(window=60, failures=5, share=0.5, cool_down=10, longest=300, probe_timeout=120)


def after(breaker: Breaker, error: ErrorClass | None, times: int, *, start: float = 0.0) -> Breaker:
    """The breaker after calls one second apart that all end alike."""
    for step in range(times):
        breaker, ticket = breaker.enter(start + step)
        assert ticket is not None
        breaker = breaker.leave(ticket, error, start + step)
    return breaker


def test_a_storm_of_429_opens_it_and_a_good_probe_closes_it() -> None:
    breaker = after(Breaker(RULES), "rate_limited", 5)
    assert breaker.state == "open"
    assert not breaker.admits(13.9)
    assert breaker.describe(6.0) == "open for another 8 s: 5 of 5 calls failed, last rate_limited"
    probing, ticket = breaker.enter(14.0)
    assert probing.state == "half_open"
    assert ticket is not None
    assert probing.enter(14.1)[1] is None
    healed = probing.leave(ticket, None, 15.0)
    assert healed.state == "closed"
    assert healed.recent == ()


def test_a_failed_probe_doubles_the_wait_up_to_the_longest() -> None:
    breaker, waits = after(Breaker(RULES), "overloaded", 5), []
    for _ in range(7):
        now = breaker.until
        breaker, ticket = breaker.enter(now)
        assert ticket is not None
        breaker = breaker.leave(ticket, "overloaded", now)
        waits.append(breaker.until - now)
    assert waits == [20, 40, 80, 160, 300, 300, 300]


def test_the_providers_hint_extends_the_wait() -> None:
    breaker = after(Breaker(RULES), "rate_limited", 4)
    assert breaker.leave(breaker.ticket, "rate_limited", 4.0, retry_after=90).until == 94


@pytest.mark.parametrize("error", ["invalid_request", "cancelled"])
def test_what_the_caller_did_is_not_held_against_the_provider(error: ErrorClass) -> None:
    assert after(Breaker(RULES), error, 20) == Breaker(RULES)


def test_failures_among_many_successes_do_not_open_it() -> None:
    assert after(after(Breaker(RULES), None, 10), "server", 9, start=10.0).state == "closed"
    assert after(after(Breaker(RULES), None, 10), "server", 10, start=10.0).state == "open"


def test_old_failures_are_forgotten() -> None:
    breaker = after(Breaker(RULES), "server", 4)
    assert after(breaker, "server", 4, start=100.0).state == "closed"


def test_a_late_outcome_changes_nothing() -> None:
    start = Breaker(RULES)
    _, early = start.enter(0.0)
    assert early is not None
    opened = after(start, "timeout", 5)
    assert opened.leave(early, None, 6.0) == opened
    probing, probe = opened.enter(opened.until)
    assert probe is not None
    assert probing.leave(early, "timeout", opened.until) == probing
    healed = probing.leave(probe, None, opened.until + 1)
    assert healed.leave(early, "timeout", opened.until + 2) == healed


def test_a_lost_probe_is_given_up_and_a_cancelled_one_makes_room() -> None:
    opened = after(Breaker(RULES), "timeout", 5)
    probing, ticket = opened.enter(opened.until)
    assert ticket is not None
    assert probing.enter(opened.until + 119)[1] is None
    second, other = probing.enter(opened.until + 120)
    assert other == ticket + 1
    assert second.leave(ticket, None, opened.until + 121) == second
    assert probing.leave(ticket, "cancelled", opened.until + 1).enter(opened.until + 1)[1] == other


OUTCOMES = st.lists(
    st.tuples(st.none() | st.sampled_from(get_args(ErrorClass)), st.floats(0, 100), st.booleans()),
    max_size=60,
)


@given(OUTCOMES)
def test_whatever_happens_it_lets_a_call_through_again(
    outcomes: list[tuple[ErrorClass | None, float, bool]],
) -> None:
    breaker, now = Breaker(RULES), 0.0
    for error, pause, reported in outcomes:
        now += pause
        admits = breaker.admits(now)
        breaker, ticket = breaker.enter(now)
        assert (ticket is not None) is admits
        if ticket is not None and reported:
            breaker = breaker.leave(ticket, error, now)
    assert breaker.admits(now + max(RULES.longest, RULES.probe_timeout))
    assert len(breaker.recent) <= len(outcomes)
