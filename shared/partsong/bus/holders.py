"""Holders: who works on a call, asked before it is made by somebody else.

A hint that is delivered for the first time is worked on at once. One that comes again says nothing about the first
worker: the queue delivers again what was not acknowledged within two seconds, and an interpreter that is held by a
function acknowledges nothing. So the other workers of the service are asked, and the process that beats for each of them
answers, also while its worker cannot. A worker that does not answer counts as working on anything, until its silence is
known to be its death. What nobody holds may be done already: a result that stands in the log is not produced again.
"""

from __future__ import annotations

import contextlib
import itertools
import zlib
from collections.abc import Iterable, Iterator
from contextlib import aclosing
from typing import Literal, TypeAlias

import nats.errors
from nats.aio.client import Client
from pydantic import ValidationError

from partsong.bus.run_reader import RunReader
from partsong.contracts import events as e
from partsong.contracts.wire.heartbeat import Beat
from partsong.contracts.wire.subjects import Subjects
from partsong.contracts.wire.work import FunctionWork, HookWork, Work
from partsong.log.port import Log, Record
from partsong.log.reading import Unreadable, message_of
from partsong.runtime.answers import answers
from partsong.runtime.heartbeat.monitor import LivenessMonitor

__all__ = ["Holders", "Standing", "standing_of"]

_WITHIN = 1.0
"""Seconds that workers have to answer in."""
_YOUNG = 2.5
"""Seconds after which a monitor has heard every worker that beats."""

Standing: TypeAlias = Literal["free", "held", "unknown", "done"]
"""`unknown`: somebody may hold it, or wants to and asks as well."""


class Holders:
    """Asks the other workers of one service."""

    def __init__(
        self,
        nc: Client,
        subjects: Subjects,
        monitor: LivenessMonitor,
        store: Log,
        service: str,
        worker: str,
    ) -> None:
        self._nc, self._subjects, self._monitor, self._log = nc, subjects, monitor, store
        self._service, self._worker = service, worker
        self._times = itertools.count()
        self._results = RunReader(store, subjects.fact, self._result)

    def seen(self, work: Work) -> bool:
        """Whether the last heartbeats say that another worker holds the call; no question is sent."""
        call = work.run_id, work.call_id, work.attempt
        return self._monitor.holds(*call, but=self._worker)

    def orphaned(self, work: Work) -> bool:
        """Whether a worker is known to be gone that had the call in its hands."""
        return self._monitor.orphaned(work.run_id, work.call_id, work.attempt)

    async def standing(self, work: Work, seen: int = 0) -> Standing:
        """How a call stands with all others. Enter it in one's own list first: of two that ask, one must see the other.

        `seen` is the newest record that whoever sent the hint knew; the call was open there.

        Raises:
            Unavailable: the log did not answer.
        """
        others = self._monitor.living(self._service) - {self._worker}
        beats = await self._ask(others)
        missing = bool(others - {beat.worker for beat in beats})
        standing = standing_of(work, beats, missing=missing)
        if standing != "free":
            return standing
        return "done" if await self.done(work, seen) else "free"

    async def done(self, work: Work, seen: int = 0) -> bool:
        """Whether the log has the result of the attempt behind `seen`, of those that need no claim.

        A claim is seen to be readable.

        Raises:
            Unavailable: `log.unreadable`: a guard takes a claim that cannot be read for none. Or the log did not answer.
        """
        if not isinstance(work, FunctionWork | HookWork):  # those are not claimed
            await self._log.last(self._subjects.call(work.run_id, work.call_id), sure=True)
        attempts = await self._results.behind(work.run_id, seen, work.call_id)
        return any(attempt >= work.attempt for attempt in attempts)

    def delay(self) -> float:
        """Seconds until it is asked again; never the same for two workers that stand in each other's way."""
        return 0.2 + zlib.crc32(f"{self._worker}{next(self._times)}".encode()) % 1000 / 1250

    async def _ask(self, others: set[str]) -> list[Beat]:
        young = self._monitor.listened < _YOUNG
        if not others and not young:
            return []
        found: dict[str, Beat] = {}
        ping = self._subjects.query(self._service, "ping")
        with contextlib.suppress(nats.errors.Error):
            async with aclosing(answers(self._nc, ping, within=_WITHIN)) as said:
                async for body in said:
                    with contextlib.suppress(ValidationError):
                        beat = Beat.model_validate_json(body)
                        if beat.worker != self._worker:
                            found[beat.worker] = beat
                    if not young and others <= found.keys():
                        break
        return list(found.values())

    def _result(self, record: Record) -> Iterator[tuple[str, int]]:
        """The calls whose results a record has, and of which attempts they are."""
        message = message_of(self._subjects, record)
        if isinstance(message, Unreadable):
            return  # its engine sets the run aside
        for event in message.events:
            if isinstance(event, e.CallCompleted | e.CallFailed | e.CallSuspended | e.HookDecided):
                yield event.call_id, event.attempt


def standing_of(work: Work, beats: Iterable[Beat], *, missing: bool) -> Standing:
    """How a call stands by the answers of the others; `missing`: not all have answered."""
    call = work.run_id, work.call_id, work.attempt
    standing: Standing = "unknown" if missing else "free"
    for beat in beats:
        for held in beat.held:
            if (held.run_id, held.call_id, held.attempt) == call:
                if not held.asking:
                    return "held"
                standing = "unknown"
        if beat.held_more:
            standing = "unknown"
    return standing
