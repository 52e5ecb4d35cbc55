"""`RateLimiter`: how fast models may be asked, per provider, model and key."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from partsong.contracts.errors import InvalidInput
from partsong.runtime.recent import Recent

__all__ = ["MODELS", "RateLimiter", "Whom"]

MODELS = 1000
"""Models that are remembered: whoever writes an agent may name any."""


@dataclass(frozen=True, slots=True)
class Whom:
    """Whose quota a request counts against."""

    model: str
    """`provider:model`."""
    account: str = ""
    """Tells keys apart without being one."""


@dataclass(slots=True)
class _Quota:
    """Virtual scheduling: instead of a bucket that fills, the time at which it will have filled again."""

    requests_due: float = 0.0
    tokens_due: float = 0.0
    held_until: float = 0.0


class RateLimiter:
    """So many requests and tokens per `per` seconds, for each of `Whom` by itself; share one among agents.

    A full quota may be used at once. Who has to wait waits in the order of asking. Tokens are known only afterwards, so
    they hold back the requests that follow. Without numbers it only keeps the pauses that providers ask for.
    """

    def __init__(
        self, *, requests: int | None = None, tokens: int | None = None, per: float = 60.0
    ) -> None:
        for name, value in (("requests", requests), ("tokens", tokens), ("per", per)):
            if value is not None and value <= 0:
                raise InvalidInput("limiter.bad_value", f"{name} is {value}", where=name)
        self._requests, self._tokens, self._per = requests, tokens, per
        self._quotas: Recent[Whom, _Quota] = Recent(MODELS)

    async def admit(self, whom: Whom) -> None:
        """Wait until a request may go out. Cancelled while it waits, its place is lost, not given on."""
        now = asyncio.get_running_loop().time
        quota = self._quota(whom)
        due = self._claim(quota, now())
        while (wait := max(due, self._open(quota)) - now()) > 0:  # noqa: ASYNC110  # others may put it off
            await asyncio.sleep(wait)

    def spend(self, whom: Whom, tokens: int) -> None:
        """Note what an answer cost."""
        if self._tokens is not None:
            quota = self._quota(whom)
            now = asyncio.get_running_loop().time()
            quota.tokens_due = max(now, quota.tokens_due) + tokens * self._per / self._tokens

    def hold(self, whom: Whom, seconds: float) -> None:
        """The provider wants to be left alone for a while: nobody asks until then."""
        quota = self._quota(whom)
        until = asyncio.get_running_loop().time() + seconds
        quota.held_until = max(quota.held_until, until)

    def _quota(self, whom: Whom) -> _Quota:
        quota = self._quotas[whom] = self._quotas.get(whom) or _Quota()
        return quota

    def _claim(self, quota: _Quota, now: float) -> float:
        """Take the next place; when its turn comes."""
        if self._requests is None:
            return now
        quota.requests_due = max(now, quota.requests_due) + self._per / self._requests
        return quota.requests_due - self._per

    def _open(self, quota: _Quota) -> float:
        """When tokens and the provider's own wish allow a request."""
        return max(quota.tokens_due - self._per, quota.held_until)
