"""The guard: keeps away from providers that are down, and from their rate limits."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from partsong.contracts.errors import InvalidInput, Problem
from partsong.contracts.events import AgentTurnCompleted, AgentTurnFailed
from partsong.contracts.talk.chunks import ErrorClass
from partsong.models.core.breaker import Breaker
from partsong.models.limiter import MODELS, RateLimiter, Whom
from partsong.runtime.recent import Recent

__all__ = ["REQUESTS_SETTING", "TOKENS_SETTING", "Guard", "limiter_from"]

REQUESTS_SETTING = "PARTSONG_REQUESTS_PER_MINUTE"
TOKENS_SETTING = "PARTSONG_TOKENS_PER_MINUTE"
"""For each model and key by itself."""

_PATIENCE = 60.0
"""Seconds a claimed turn waits for its place; longer waits are left to the run's durable timer."""
_LATER = 30.0


@dataclass(slots=True)
class Guard:
    """The breakers and the limiter of one process, by full model name; a process has one key per provider.

    `now` is monotonic time.
    """

    limiter: RateLimiter
    now: Callable[[], float]
    breakers: dict[str, Breaker] = field(default_factory=lambda: Recent(MODELS))

    async def enter(self, model: str) -> int | tuple[Problem, float]:
        """A ticket for one call; or why there is none, and how many seconds to wait before asking again."""
        breaker, now = self.breakers.get(model, Breaker()), self.now()
        self.breakers[model], ticket = breaker.enter(now)
        if ticket is None:
            problem = Problem(
                code="provider.breaker_open",
                message=f"{model} is not asked: its breaker is {breaker.describe(now)}",
                where="model",
                fix="wait, or give the agent fallbacks",
                retryable=True,
                fault="provider",
            )
            return problem, max(0.0, breaker.until - now)
        try:
            async with asyncio.timeout(_PATIENCE):
                await self.limiter.admit(Whom(model))
        except TimeoutError:
            self._left(model, ticket, "cancelled", None)
            problem = Problem(
                code="provider.rate_limited",
                message=f"{model} has more requests than its limit here lets through for {_PATIENCE:.0f} s",
                where=REQUESTS_SETTING,
                fix="raise the limit, or ask less at once",
                retryable=True,
                fault="platform",
            )
            return problem, _LATER
        return ticket

    def leave(self, model: str, ticket: int, event: AgentTurnCompleted | AgentTurnFailed) -> None:
        """How the call ended."""
        self.limiter.spend(Whom(model), event.usage.tokens)
        if isinstance(event, AgentTurnCompleted):
            self._left(model, ticket, None, None)
            return
        if event.retry_after:
            self.limiter.hold(Whom(model), event.retry_after)
        self._left(model, ticket, _class(event.error.code), event.retry_after)

    def give_up(self, model: str, ticket: int) -> None:
        """Nobody needs the call any more."""
        self._left(model, ticket, "cancelled", None)

    def _left(
        self, model: str, ticket: int, error: ErrorClass | None, retry_after: float | None
    ) -> None:
        breaker = self.breakers.get(model, Breaker())
        self.breakers[model] = breaker.leave(ticket, error, self.now(), retry_after=retry_after)


_CLASSES: Mapping[str, ErrorClass] = {
    "auth": "auth",
    "connection": "connection",
    "limit": "limit",
    "overloaded": "overloaded",
    "rate_limited": "rate_limited",
    "server": "server",
    "timeout": "timeout",
    "truncated": "truncated",
}


def _class(code: str) -> ErrorClass:
    """The class in `provider.<class>`; what else can go wrong says nothing about the provider."""
    area, _, name = code.partition(".")
    return _CLASSES.get(name, "cancelled") if area == "provider" else "cancelled"


def limiter_from(env: Mapping[str, str]) -> RateLimiter:
    """The limiter that the environment asks for; without settings it only keeps the pauses that providers ask for.

    Raises:
        InvalidInput: `settings.rate_limit`.
    """
    return RateLimiter(requests=_number(env, REQUESTS_SETTING), tokens=_number(env, TOKENS_SETTING))


def _number(env: Mapping[str, str], name: str) -> int | None:
    given = env.get(name, "")
    if not given:
        return None
    if not given.isdigit() or int(given) < 1:
        raise InvalidInput(
            "settings.rate_limit",
            f"{name} is {given!r}, not a number of 1 or more",
            where=name,
            fix="set it to something like 600, or leave it out",
        )
    return int(given)
