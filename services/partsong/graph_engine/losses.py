"""Losses: turns that end without a report of their gateway are charged for what their chunks tell."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import replace

from pydantic import ValidationError

from partsong.contracts import events as e
from partsong.contracts.errors import Unavailable
from partsong.contracts.state.state import RunState
from partsong.contracts.talk.chunks import CHUNK, Chunk
from partsong.contracts.wire.estimate import used
from partsong.contracts.wire.subjects import Subjects
from partsong.contracts.wire.work import TurnWork
from partsong.engine.draft import Closing
from partsong.engine.work.hints import work_of
from partsong.log.port import Log

__all__ = ["Losses"]

_log = logging.getLogger("partsong.graph_engine")


class Losses:
    """Reads the memory stream of chunks, only when a claimed turn is about to be closed for its gateway."""

    def __init__(self, chunks: Log, subjects: Subjects) -> None:
        self._chunks, self._subjects = chunks, subjects

    async def charged(self, state: RunState, closings: Sequence[Closing]) -> tuple[Closing, ...]:
        """The closings; those of claimed turns with what they are estimated to have used."""
        return tuple(await asyncio.gather(*(self._one(state, closing) for closing in closings)))

    async def _one(self, state: RunState, closing: Closing) -> Closing:
        call, event = state.calls.get(closing.call_id), closing.event
        if call is None or call.worker is None:
            return closing
        if not isinstance(event, e.CallLapsed | e.CallCancelled):
            return closing
        work = work_of(state, call)
        if not isinstance(work, TurnWork):
            return closing
        usage = used(work, await self._said(work), call.price)
        return replace(closing, event=event.model_copy(update={"usage": usage}))

    async def _said(self, work: TurnWork) -> list[Chunk]:
        """The attempt's chunks; none if they are gone already, for no call waits for them."""
        subject = self._subjects.chunk(work.run_id, work.node, work.call_id)
        said: list[Chunk] = []
        try:
            async for record in self._chunks.read(subject):
                chunk = _chunk(record.body)
                if chunk is not None and chunk.attempt == work.attempt:
                    said.append(chunk)
        except Unavailable as error:
            problem = error.problem.code
            _log.info("chunks not read", extra={"run": work.run_id, "problem": problem})
        return said


def _chunk(data: bytes) -> Chunk | None:
    try:
        return CHUNK.validate_json(data)
    except ValidationError:  # of a newer Partsong
        return None
