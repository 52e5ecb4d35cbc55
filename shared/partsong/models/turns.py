"""Turns: which model serves one, whether it may be asked now, and what is learned from how it went."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping

from partsong.contracts.events import AgentTurnCompleted, AgentTurnFailed, RouteDecided
from partsong.contracts.talk.chunks import Chunk
from partsong.contracts.talk.messages import ToolSpec
from partsong.contracts.wire.work import TurnWork
from partsong.models.catalogue import Catalogue
from partsong.models.guard import Guard, limiter_from
from partsong.models.limiter import RateLimiter
from partsong.models.registry import Providers, Settings, settings_from
from partsong.models.turn import refuse_turn, take_turn
from partsong.models.turn_routing import Routing, routed
from partsong.runtime import clock
from partsong.runtime.vault import Vault

__all__ = ["Turns"]


class Turns:
    """Providers behind a router, breakers and a rate limiter: all that one process knows of models."""

    def __init__(
        self,
        providers: Providers,
        catalogue: Catalogue | None = None,
        limiter: RateLimiter | None = None,
    ) -> None:
        self.providers = providers
        self._guard = Guard(limiter or RateLimiter(), clock.monotonic)
        self._routing = Routing(
            catalogue or Catalogue.read({}, Settings()), self._guard.breakers, clock.monotonic
        )

    @classmethod
    def from_env(cls, env: Mapping[str, str]) -> Turns:
        """With the keys, addresses, models and limits of an environment.

        Raises:
            InvalidInput: naming the setting that is wrong.
        """
        settings = settings_from(env)
        return cls(Providers(settings), Catalogue.read(env, settings), limiter_from(env))

    async def decide(self, work: TurnWork, worker: str = "") -> RouteDecided | None:
        """See `Routing.decide`."""
        return await self._routing.decide(work, worker)

    async def take(
        self,
        work: TurnWork,
        decided: RouteDecided | None,
        tools: tuple[ToolSpec, ...],
        show: Callable[[Chunk], None],
        *,
        vault: Vault | None = None,
        worker: str = "",
    ) -> AgentTurnCompleted | AgentTurnFailed:
        """The turn, by the model that was decided on. Raises nothing but `CancelledError`."""
        work = routed(work, decided)
        model = work.agent.model
        ticket = await self._guard.enter(model)
        if not isinstance(ticket, int):
            problem, wait = ticket
            return refuse_turn(work, problem, show, worker=worker, retry_after=wait)
        try:
            event = await take_turn(work, self.providers, tools, show, vault=vault, worker=worker)
        except asyncio.CancelledError:
            self._guard.give_up(model, ticket)
            raise
        self._guard.leave(model, ticket, event)
        if decided is not None:
            self._routing.learn(work, decided, event)
        return event

    async def aclose(self) -> None:
        """Close the providers' connections."""
        await self.providers.aclose()
