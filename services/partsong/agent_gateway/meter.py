"""The meter: counts a turn's tokens while they come, and says when its allowance is used up."""

from __future__ import annotations

from dataclasses import dataclass

from partsong.agent_gateway.pricing import cost_of
from partsong.contracts.chunks import Chunk, Reasoning, Refusal, Text, ToolArgs, Usage
from partsong.contracts.errors import Problem
from partsong.contracts.events import Allowance, TurnUsage
from partsong.contracts.work import TurnWork

__all__ = ["Meter"]

_CHARS_PER_TOKEN = 4
_MANY = 1000


@dataclass(slots=True)
class Meter:
    """Tokens are estimated from characters until the provider says how many there were."""

    allowance: Allowance
    model: str
    asked: int
    """Tokens that the model is given, estimated."""
    prices: tuple[float, float] | None
    """US dollars per token read and written."""
    _letters: int = 0
    _told: Usage | None = None

    @classmethod
    async def of(cls, work: TurnWork) -> Meter | Problem | None:
        """A meter for a turn that has an allowance; a problem if its model's price is unknown and has to be known."""
        allowance = work.allowance
        if allowance.tokens is None and allowance.cost is None:
            return None
        provider, _, model = work.agent.model.partition(":")
        prices: tuple[float, float] | None = None
        if allowance.cost is not None and provider != "scripted":
            read = await cost_of(provider, model, TurnUsage(input_total=_MANY))
            written = await cost_of(provider, model, TurnUsage(output_total=_MANY))
            if read is None or written is None:
                return Problem(
                    code="agent.cost_unknown",
                    message=f"the price of {work.agent.model} is not known, so a limit of cost cannot be kept",
                    where="model",
                    fix="limit tokens instead, or ask a model whose price is known",
                )
            prices = read / _MANY, written / _MANY
        told = (*work.messages, *work.inner)
        letters = len(work.agent.instructions) + sum(len(each.model_dump_json()) for each in told)
        return cls(allowance, work.agent.model, -(-letters // _CHARS_PER_TOKEN), prices)

    def before(self) -> Problem | None:
        """Why the model should not even be asked: what it would be given alone is more than it may use."""
        return self._over()

    def after(self, chunk: Chunk) -> Problem | None:
        """Count a chunk; why the stream must be cut off, if it must."""
        match chunk:
            case Text() | Reasoning() | Refusal() | ToolArgs():
                self._letters += len(chunk.text)
            case Usage():
                self._told = chunk
                return None  # an answer whose end is all that is missing is not thrown away
            case _:
                return None
        return self._over()

    @property
    def used(self) -> TurnUsage:
        """What the turn has used so far, as far as anybody knows."""
        told = self._told or Usage()
        return TurnUsage(
            input_total=told.input_total or self.asked,
            output_total=max(told.output_total, -(-self._letters // _CHARS_PER_TOKEN)),
            cache_read=told.cache_read,
            cache_write=told.cache_write,
            reasoning=told.reasoning,
            cost=self._cost,
            estimated=True,
        )

    @property
    def _cost(self) -> float | None:
        if self.prices is None:
            return None
        told = self._told or Usage()
        read = told.input_total or self.asked
        written = max(told.output_total, self._letters // _CHARS_PER_TOKEN)
        return read * self.prices[0] + written * self.prices[1]

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
