"""Routing: chooses the model of a turn whose agent leaves that open, and learns from how it went."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

from partsong.contracts.errors import Unavailable
from partsong.contracts.events import AgentTurnCompleted, AgentTurnFailed, RouteDecided
from partsong.contracts.talk.messages import ToolMessage, UserMessage
from partsong.contracts.talk.model_routing import Score
from partsong.contracts.wire.estimate import asked
from partsong.contracts.wire.work import TurnWork
from partsong.models.catalogue import Catalogue, policy_of
from partsong.models.core.breaker import Breaker
from partsong.models.routing.complexity import ComplexityAnalyzer, approach
from partsong.models.routing.features import Context, RunSignals, Task
from partsong.models.routing.policies import Outcomes
from partsong.models.routing.router import Capability, RouteRequest, explain, route
from partsong.runtime.event_head import event_head

__all__ = ["Routing", "routed"]

_AUTO = "auto"


@dataclass(slots=True)
class Routing:
    """The router with what it knows in this process: the catalogue, the breakers, and how models did so far.

    What it learned is not kept: a decision is in the log with all its reasons, so no replay needs it, and a new process
    begins with what the tiers lead to expect.
    """

    catalogue: Catalogue
    breakers: Mapping[str, Breaker]
    now: Callable[[], float]
    outcomes: Outcomes = field(default_factory=Outcomes)
    _analyzer: ComplexityAnalyzer = field(default_factory=ComplexityAnalyzer)

    async def decide(self, work: TurnWork, worker: str) -> RouteDecided | None:
        """Choose the turn's model; None if its agent names one.

        Raises:
            InvalidInput: `models.unknown_policy`.
            Unavailable: `route.nobody`, naming every candidate and why it cannot serve.
        """
        family, _, name = work.agent.model.partition(":")
        if family != _AUTO:
            return None
        policy = policy_of(name or self.catalogue.policy)
        score = self._score(work)
        decision = route(
            await self.catalogue.candidates(),
            _request(work, score),
            policy,
            seed=zlib.crc32(f"{work.run_id}/{work.call_id}/{work.attempt}".encode()),
            now=self.now(),
            outcomes=self.outcomes,
            breakers=self.breakers,
        )
        if decision.chosen is None:
            said = explain(decision)
            raise Unavailable(
                "route.nobody",
                f"no model can serve this turn: {said}",
                where="model",
                fix="add models to PARTSONG_MODELS, raise the limit that keeps them out, or name a model",
                retryable="breaker" in said,
                fault="platform",
            )
        return RouteDecided(
            model=decision.chosen,
            effort=work.agent.effort or approach(score).effort,
            score=score,
            decision=decision,
            **event_head(work, f"routed.{worker}", worker),
        )

    def learn(
        self, work: TurnWork, decided: RouteDecided, event: AgentTurnCompleted | AgentTurnFailed
    ) -> None:
        """Take note of how the chosen model did; an answer that was sent back speaks against the one before."""
        tier, kind = decided.decision.tier, decided.decision.kind
        quality = 1.0 if isinstance(event, AgentTurnCompleted) else 0.0
        self.outcomes = self.outcomes.observe(decided.model, tier, kind, quality)
        sent_back = len(work.messages) > 1 and isinstance(work.messages[-1], UserMessage)
        if sent_back and work.progress.rejections and work.progress.previous is not None:
            self.outcomes = self.outcomes.observe(work.progress.previous, tier, kind, 0.0)

    def _score(self, work: TurnWork) -> Score:
        agent = work.agent
        questions = [message.text for message in work.messages if isinstance(message, UserMessage)]
        results = [message for message in work.messages if isinstance(message, ToolMessage)]
        signals = RunSignals(
            retries=work.attempt - 1,
            tool_calls=len(results),
            tool_errors=sum(result.is_error for result in results),
            repeats=work.progress.repeats,
            rejections=work.progress.rejections,
            depth=work.call_id.count(":") - 1,
        )
        task = Task(
            text=questions[0] if questions else "",
            tools=(*agent.tools, *(spec.name for spec in work.inner)),
            output_schema=agent.output_schema,
        )
        return self._analyzer.score(task, Context(tokens=asked(work), run=signals))


def routed(work: TurnWork, decided: RouteDecided | None) -> TurnWork:
    """The work with the model that was chosen for it."""
    if decided is None:
        return work
    update = {"model": decided.model, "effort": decided.effort}
    return work.model_copy(update={"agent": work.agent.model_copy(update=update)})


def _request(work: TurnWork, score: Score) -> RouteRequest:
    agent, needs = work.agent, set[Capability]()
    if agent.tools or work.inner:
        needs.add("tools")
    if agent.output_schema is not None:
        needs.add("json")
    request = RouteRequest(
        tier=score.tier,
        kind=score.kind,
        input_tokens=asked(work),
        output_tokens=agent.max_tokens,
        needs=frozenset(needs),
        budget_left=work.allowance.cost,
    )
    return replace(request, previous=work.progress.previous)
