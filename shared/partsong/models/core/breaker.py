"""The circuit breaker of one provider, model and key: closed, open, half-open. Times are given, none is read.

closed     calls pass; enough failures among the last ones open it
open       no call passes until the cool-down is over; each opening in a row doubles it, a provider's hint may extend it
half-open  one call passes as a probe; its success closes the breaker, its failure opens it again

A call takes a ticket when it is let through and shows it when it ends. A ticket from before the last change of state
says nothing about the state now, so late failures cannot reopen what has healed. A probe nobody reports on is given up
after a while, and the next call is the probe.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from partsong.contracts.talk.chunks import ErrorClass
from partsong.models.core.failure import RETRYABLE

__all__ = ["Breaker", "BreakerRules", "BreakerState"]

BreakerState = Literal["closed", "open", "half_open"]

_REFUSED: frozenset[ErrorClass] = frozenset({"auth", "limit"})
_COUNTED = RETRYABLE | _REFUSED
"""What speaks against the provider or the key. A bad request or a cancelled one does not."""


@dataclass(frozen=True, slots=True)
class BreakerRules:
    """When a breaker opens, and for how long."""

    window: float = 60.0
    """Seconds that an outcome counts."""
    failures: int = 5
    """Failures within the window, at least."""
    share: float = 0.5
    """Failures among the outcomes within the window, at least."""
    cool_down: float = 10.0
    longest: float = 300.0
    probe_timeout: float = 120.0
    """Seconds after which a probe without an outcome is given up."""


@dataclass(frozen=True, slots=True)
class Breaker:
    """A value: every change is a new breaker. Times must not go back."""

    rules: BreakerRules = BreakerRules()
    state: BreakerState = "closed"
    ticket: int = 0
    """Goes up with every change of state, and with every probe."""
    until: float = 0.0
    """When an open breaker lets a probe through; when a half-open one gives its probe up."""
    openings: int = 0
    """In a row, without a success between them."""
    recent: tuple[tuple[float, bool], ...] = ()
    """Outcomes within the window: when, and whether good."""
    cause: str = ""
    """Why it opened."""

    def admits(self, now: float) -> bool:
        """Whether a call would be let through."""
        return self.state == "closed" or now >= self.until

    def enter(self, now: float) -> tuple[Breaker, int | None]:
        """Let a call through and give it its ticket; None if it has to go elsewhere."""
        if self.state == "closed":
            return self, self.ticket
        if now < self.until:
            return self, None
        probing = replace(
            self,
            state="half_open",
            ticket=self.ticket + 1,
            until=now + self.rules.probe_timeout,
        )
        return probing, probing.ticket

    def leave(
        self,
        ticket: int,
        error: ErrorClass | None,
        now: float,
        *,
        retry_after: float | None = None,
    ) -> Breaker:
        """Take note of how a call ended; `error` is None for a success."""
        if ticket != self.ticket or self.state == "open":
            return self
        if error is not None and error not in _COUNTED:
            # It says nothing about the provider; a probe that ended so makes room for another.
            return replace(self, until=now) if self.state == "half_open" else self
        if self.state == "half_open":
            return self._close() if error is None else self._open(str(error), now, retry_after)
        seen = (
            *(o for o in self.recent if o[0] > now - self.rules.window),
            (now, error is None),
        )
        bad = sum(not good for _, good in seen)
        if error is not None and bad >= self.rules.failures and bad >= self.rules.share * len(seen):
            return self._open(f"{bad} of {len(seen)} calls failed, last {error}", now, retry_after)
        return replace(self, recent=seen)

    def describe(self, now: float) -> str:
        """For people: `open for another 8 s: 5 of 6 calls failed, last rate_limited`."""
        match self.state:
            case "closed":
                return "closed"
            case "half_open":
                return f"half-open, a probe is out: {self.cause}"
            case "open":
                return f"open for another {max(0.0, self.until - now):.0f} s: {self.cause}"

    def _open(self, cause: str, now: float, retry_after: float | None) -> Breaker:
        # The exponent is capped before the power is taken: a provider may be down for weeks.
        wait = min(self.rules.longest, self.rules.cool_down * 2 ** min(self.openings, 30))
        return Breaker(
            self.rules,
            "open",
            self.ticket + 1,
            now + max(wait, retry_after or 0.0),
            self.openings + 1,
            (),
            cause,
        )

    def _close(self) -> Breaker:
        return Breaker(self.rules, ticket=self.ticket + 1)
