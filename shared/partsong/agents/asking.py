"""Asking: one turn from the first model that answers, each asked as often as its hints and the policy allow."""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

from partsong.agents.definition import Definition
from partsong.agents.errors import AgentFailed, LimitReached
from partsong.agents.limits import Spent, cut
from partsong.contracts.errors import Problem
from partsong.contracts.events import AgentTurnCompleted, AgentTurnFailed, TurnUsage
from partsong.contracts.graph import Retry
from partsong.contracts.state.model_answers import next_model
from partsong.contracts.talk.chunks import Chunk, Refusal, Text
from partsong.contracts.talk.messages import Message
from partsong.contracts.wire.work import TurnWork
from partsong.engine.nodes.budget import CUT
from partsong.models.limiter import Whom
from partsong.models.pricing import cost_of
from partsong.models.registry import Providers, split_model
from partsong.models.turn import take_turn
from partsong.runtime.vault import Vault

__all__ = ["Asker", "Telling", "wait_before"]

Telling = Literal["once", "by_attempt"]
"""once: whoever reads cannot tell attempts apart, so none follows one that has shown text."""


@dataclass(slots=True)
class Asker:
    """Asks for the turns of one call. A model that had to stand in stays for the turns that follow."""

    definition: Definition
    providers: Providers
    run_id: str
    spent: Spent
    show: Callable[[Chunk], None]
    vault: Vault
    telling: Telling = "by_attempt"
    _models: list[str] = field(init=False)
    _text_shown: bool = field(init=False, default=False)

    def __post_init__(self) -> None:
        self._models = list(self.definition.choice.models)

    async def turn(self, call_id: str, messages: tuple[Message, ...]) -> AgentTurnCompleted:
        """The next turn. Attempts are numbered through, whichever model they ask.

        Raises:
            AgentFailed: with the last attempt's problem.
            LimitReached: `agent.cost_unknown`.
        """
        attempt, tried = 1, 1
        while True:
            event = await self._attempt(call_id, attempt, messages)
            if isinstance(event, AgentTurnCompleted):
                return event
            self.spent.failures.append(event)
            if event.error.code in CUT:
                raise cut(event.error)
            if self.telling == "once" and self._text_shown:
                raise AgentFailed.of(event.error)
            wait = self._wait(event, tried)
            if wait is not None:
                tried += 1
                await asyncio.sleep(wait)
            elif (other := self._other(event.error)) is not None:
                del self._models[: self._models.index(other, 1)]
                tried = 1
            else:
                raise AgentFailed.of(event.error)
            attempt += 1

    async def _attempt(
        self, call_id: str, attempt: int, messages: tuple[Message, ...]
    ) -> AgentTurnCompleted | AgentTurnFailed:
        agent, limiter = self.definition, self.definition.limiter
        model = self._models[0]
        whom = Whom(model, agent.choice.account(model))
        await self._affordable(model)
        await limiter.admit(whom)
        self._text_shown = False
        work = TurnWork(
            run_id=self.run_id,
            call_id=call_id,
            node=agent.name,
            attempt=attempt,
            timeout=agent.timeout,
            agent=agent.asked(model),
            messages=messages,
            allowance=self.spent.left(agent.limits),
        )
        event = await take_turn(
            work, self.providers, agent.toolset.specs, self._shown, vault=self.vault
        )
        self.spent.add(event.usage)
        limiter.spend(whom, event.usage.input_total + event.usage.output_total)
        if isinstance(event, AgentTurnFailed) and event.retry_after:
            limiter.hold(whom, min(event.retry_after, agent.patience))
        return event

    def _shown(self, chunk: Chunk) -> None:
        self._text_shown = self._text_shown or isinstance(chunk, Text | Refusal)
        self.show(chunk)

    def _other(self, problem: Problem) -> str | None:
        """The model that stands in for the one that failed."""
        if problem.code.startswith("model."):  # this one cannot even be asked
            return next(iter(self._models[1:]), None)
        return next_model(self._models, self._models[0], problem)

    def _wait(self, event: AgentTurnFailed, tried: int) -> float | None:
        """Seconds until the same model is asked again; None if it is not."""
        policy, hint = self.definition.retry, event.retry_after or 0.0
        if (
            not policy.worth(event.error)
            or tried >= policy.attempts
            or hint > self.definition.patience
        ):
            return None
        return max(wait_before(policy, tried, event.id), hint)

    async def _affordable(self, model: str) -> None:
        if self.definition.limits.cost is None:
            return
        provider, name = split_model(model)
        if await cost_of(provider, name, TurnUsage()) is None:
            raise LimitReached(
                "agent.cost_unknown",
                f"the price of {model} is not known, so limits.cost cannot be kept",
                where="limits.cost",
                fix="limit tokens instead, or ask a model whose price is known",
            )


def wait_before(policy: Retry, tried: int, seed: str) -> float:
    """Seconds before the next attempt after `tried` ones: exponential, with jitter drawn from the seed."""
    base = min(policy.max, policy.initial * policy.factor ** (tried - 1))
    share = zlib.crc32(seed.encode()) / 0xFFFFFFFF
    return base * (1 + policy.jitter * (2 * share - 1))
