"""The meter: counts a turn's tokens while they come, and says when its allowance is used up."""

from __future__ import annotations

from dataclasses import dataclass

from partsong.contracts.errors import Problem
from partsong.contracts.events import Allowance, TurnPrice, TurnUsage
from partsong.contracts.talk.chunks import Chunk
from partsong.contracts.wire.estimate import Tally
from partsong.contracts.wire.work import TurnWork
from partsong.models.pricing import price_of

__all__ = ["Meter"]


@dataclass(frozen=True, slots=True)
class Meter:
    """Tokens are estimated until the provider says how many there were."""

    allowance: Allowance
    model: str
    price: TurnPrice | None
    _tally: Tally

    @classmethod
    async def of(cls, work: TurnWork) -> Meter | Problem | None:
        """A meter for a turn that has an allowance; a problem if its model's price is unknown and has to be known."""
        allowance = work.allowance
        if allowance.tokens is None and allowance.cost is None:
            return None
        provider, _, model = work.agent.model.partition(":")
        price: TurnPrice | None = None
        if allowance.cost is not None:
            price = await price_of(provider, model)
            if price is None:
                return Problem(
                    code="agent.cost_unknown",
                    message=f"the price of {work.agent.model} is not known, so a limit of cost cannot be kept",
                    where="model",
                    fix="limit tokens instead, or ask a model whose price is known",
                )
        return cls(allowance, work.agent.model, price, Tally(work))

    def before(self) -> Problem | None:
        """Why the model should not even be asked: what it would be given alone is more than it may use."""
        return self._over()

    def after(self, chunk: Chunk) -> Problem | None:
        """Count a chunk; why the stream must be cut off, if it must."""
        # An answer whose end is all that is missing behind its usage is not thrown away.
        return self._over() if self._tally.take(chunk) else None

    @property
    def used(self) -> TurnUsage:
        """What the turn has used so far, as far as anybody knows."""
        return self._tally.usage(self.price)

    def _over(self) -> Problem | None:
        used, allowed = self.used, self.allowance
        if allowed.tokens is not None and used.tokens > allowed.tokens:
            return self._spent("max_total_tokens", f"{used.tokens} tokens", f"{allowed.tokens}")
        if allowed.cost is not None and used.cost is not None and used.cost > allowed.cost:
            return self._spent("max_cost", f"{used.cost:.6f} $", f"{allowed.cost:.6f} $")
        return None

    def _spent(self, name: str, used: str, allowed: str) -> Problem:
        return Problem(
            code=f"agent.{name}",
            message=f"{self.model} was cut off after {used}, the turn may use {allowed}",
            where=f"agent.{name}",
            fix=f"raise {name} of the agent or of the run, or make the task smaller",
        )
