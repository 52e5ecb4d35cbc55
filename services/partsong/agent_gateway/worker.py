"""The gateway at work: a hint becomes a claimed turn, its chunks and its result."""

from __future__ import annotations

import logging
from typing import Literal

from nats.aio.client import Client

from partsong.agent_gateway.toolbox import Toolbox
from partsong.bus.chunks import ChunkPublisher
from partsong.bus.claims import Claim, claim
from partsong.bus.handling import Busy
from partsong.contracts.errors import InvalidInput, PartsongError, Problem
from partsong.contracts.events import (
    AgentTurnClaimed,
    AgentTurnCompleted,
    AgentTurnFailed,
    RouteDecided,
)
from partsong.contracts.wire.subjects import Subjects
from partsong.contracts.wire.work import TurnWork, Work
from partsong.log.port import Log
from partsong.models.pricing import price_of
from partsong.models.turn import refuse_turn
from partsong.models.turn_routing import routed
from partsong.models.turns import Turns
from partsong.plugins.shelf import Shelf
from partsong.plugins.watching import watched
from partsong.runtime.event_head import event_head
from partsong.runtime.telemetry import spans
from partsong.runtime.telemetry.telemetry import Telemetry, traceparent
from partsong.runtime.vault import Vault

__all__ = ["TurnWorker"]

_log = logging.getLogger("partsong.agent_gateway")


class TurnWorker:
    """Works off one hint at a time; call it as often at once as there are slots."""

    def __init__(
        self,
        nc: Client,
        subjects: Subjects,
        store: Log,
        turns: Turns,
        toolbox: Toolbox,
        vault: Vault,
        worker: str,
        telemetry: Telemetry,
        plugins: Shelf | None = None,
    ) -> None:
        self._subjects, self._log, self._worker = subjects, store, worker
        self._turns, self._toolbox, self._vault = turns, toolbox, vault
        self._telemetry, self._plugins = telemetry, plugins or Shelf({})
        self._chunks = ChunkPublisher(nc, subjects)

    async def work(self, work: Work) -> None:
        """Claim the turn, take it, close it.

        Raises:
            Busy: another gateway has claimed it.
            InvalidInput: the hint is for another kind of worker.
            Unavailable: the log did not answer.
        """
        if not isinstance(work, TurnWork):
            raise InvalidInput(
                "work.wrong_service",
                f"a gateway makes no {work.kind} calls",
                where="kind",
                fault="platform",
            )
        decided: RouteDecided | None = None
        refused: Problem | None = None
        try:
            decided = await self._turns.decide(work, self._worker)
        except PartsongError as error:
            refused = error.problem
        claimed = await self._claim(work, decided)
        if claimed == "busy":
            raise Busy
        if claimed == "closed":
            return
        if refused is not None:
            show = self._chunks.of(work.run_id, work.node, work.call_id)
            result: AgentTurnCompleted | AgentTurnFailed = refuse_turn(
                work, refused, show, worker=self._worker
            )
        else:
            decided = next((x for x in claimed.events if isinstance(x, RouteDecided)), None)
            result = await self._turn(work, decided)
        if not await claimed.close(result):
            _log.info("result superseded", extra={"call": work.call_id})

    async def _turn(
        self, work: TurnWork, decided: RouteDecided | None
    ) -> AgentTurnCompleted | AgentTurnFailed:
        chunks = self._chunks.of(work.run_id, work.node, work.call_id)
        show = watched(chunks, self._plugins, work.run_id, work.node)
        try:
            tools = (*await self._toolbox.specs(work.agent.tools, work.agent.sources), *work.inner)
        except PartsongError as error:
            return refuse_turn(work, error.problem, show, worker=self._worker)
        provider, _, model = routed(work, decided).agent.model.partition(":")
        what = spans.chat(
            model,
            work.run_id,
            provider=provider,
            agent=work.node,
            attempt=work.attempt,
            max_tokens=work.agent.max_tokens,
        )
        parent = traceparent(work.run_id, work.call_id.partition("/")[0])
        with self._telemetry.span(
            what, parent=parent, at=traceparent(work.run_id, work.call_id, work.attempt)
        ) as span:
            result = await self._turns.take(
                work, decided, tools, show, vault=self._vault, worker=self._worker
            )
            if isinstance(result, AgentTurnFailed):
                span.fail(result.error)
            else:
                span.set(spans.answered(model=result.model, stop=result.stop, usage=result.usage))
        return result

    async def _claim(
        self, work: TurnWork, decided: RouteDecided | None
    ) -> Claim | Literal["busy", "closed"]:
        provider, _, model = routed(work, decided).agent.model.partition(":")
        event = AgentTurnClaimed(
            price=await price_of(provider, model),
            **event_head(work, f"claimed.{self._worker}", self._worker),
        )
        before = () if decided is None else (decided,)
        return await claim(self._log, self._subjects, work.run_id, event, *before)
