"""The broker's clock: how far it is from this machine's, measured at the start and all the time afterwards.

An engine computes when a timer is due, the broker fires it: if their clocks disagree, a wait of four seconds ends at
once or after an hour. Up to half a second is corrected silently. Beyond that something is wrong with a machine, so a
service does not start; one that runs goes on by the broker's clock, and says so.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

import nats.errors
from nats.aio.client import Client

from partsong.contracts.errors import Unavailable
from partsong.contracts.wire.subjects import Subjects
from partsong.runtime import clock
from partsong.runtime.answers import Answering

__all__ = ["TOLERATED", "BrokerClock", "Measured", "measure", "said"]

_log = logging.getLogger("partsong.clock")

TOLERATED = 0.5
"""Seconds by which the two clocks may differ."""
_EVERY = 60.0
_TICK = 1.0
_JUMP = 0.1
"""Seconds by which a machine's clock must run ahead of, or behind, its own monotonic one to be measured at once."""
_SAMPLES = 3


@dataclass(frozen=True, slots=True)
class Measured:
    """One comparison of the two clocks."""

    ours: datetime
    theirs: datetime
    error: float
    """Seconds by which it may be wrong: half the time of the round trip."""

    @property
    def offset(self) -> float:
        """Seconds that the broker is ahead."""
        return (self.theirs - self.ours).total_seconds()

    @property
    def skewed(self) -> bool:
        """Whether they differ by more than is tolerated, however the answer was delayed."""
        return abs(self.offset) - self.error > TOLERATED

    def refutes(self, offset: float) -> bool:
        """Whether another offset cannot be right."""
        return abs(self.offset - offset) > self.error

    def refusal(self) -> Unavailable:
        """Why nothing that sets timers may start."""
        return Unavailable(
            "clock.skew",
            f"this machine's clock says {clock.to_text(self.ours)}, the broker's {clock.to_text(self.theirs)}: "
            f"{said(self.offset)}, and more than {TOLERATED:g} s would make timers fire at the wrong time",
            where="clock",
            fix="run NTP on both machines",
        )


def said(offset: float) -> str:
    """An offset as people say it."""
    return f"the broker's clock is {abs(offset):.3f} s {'ahead of' if offset > 0 else 'behind'} this machine's"


async def measure(
    nc: Client,
    stream: str,
    *,
    within: float = 5.0,
    ours: Callable[[], datetime] = clock.machine_now,
) -> Measured:
    """Ask the leader of a stream for its time, and keep the quickest of a few answers.

    Raises:
        Unavailable: `clock.unknown`, it did not say.
    """
    try:
        found = [await _once(nc, stream, within, ours) for _ in range(_SAMPLES)]
    except (nats.errors.Error, TimeoutError, KeyError, ValueError) as error:
        raise Unavailable(
            "clock.unknown", f"the broker did not say its time: {error!r}", retryable=True
        ) from error
    return min(found, key=lambda each: each.error)


async def _once(nc: Client, stream: str, within: float, ours: Callable[[], datetime]) -> Measured:
    asked, began = ours(), clock.monotonic()
    reply = await nc.request(f"$JS.API.STREAM.INFO.{stream}", b"", timeout=within)
    error = (clock.monotonic() - began) / 2
    answered = ours()
    answer = json.loads(reply.data)
    if refused := answer.get("error"):
        raise Unavailable(
            "clock.unknown",
            f"the broker did not say its time: {stream}: {refused.get('description')}",
            retryable=True,
        )
    theirs = clock.server_time(str(answer["ts"]))
    return Measured(asked + (answered - asked) / 2, theirs, error)


class BrokerClock:
    """Keeps `clock.now` by the broker's clock, and answers `partsong.query.<service>.clock` with the offset."""

    def __init__(
        self,
        nc: Client,
        subjects: Subjects,
        stream: str,
        service: str,
        worker: str,
        *,
        ours: Callable[[], datetime] = clock.machine_now,
    ) -> None:
        """`stream` is the one of the timers: its leader fires them."""
        self._nc, self._stream, self._worker, self._ours = nc, stream, worker, ours
        self._answering = Answering(nc, subjects.query(service, "clock"), self._says)
        self._skewed, self._measured_gap, self._due = False, self._gap(), 0.0
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Measure for the first time, and go on measuring.

        Raises:
            Unavailable: `clock.skew`, the clocks are too far apart; `clock.unknown`.
        """
        found = await measure(self._nc, self._stream, ours=self._ours)
        if found.skewed:
            raise found.refusal()
        self.take(found)
        await self._answering.start()
        self._task = asyncio.get_running_loop().create_task(self._go(), name="broker's clock")

    async def stop(self) -> None:
        """Measure no more; the last offset stays."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        await self._answering.stop()

    def take(self, found: Measured) -> None:
        """Go by a measurement, if it says anything new; say once when the clocks have drifted apart."""
        self._measured_gap, self._due = self._gap(), clock.monotonic() + _EVERY
        if found.refutes(clock.offset()):
            clock.set_offset(found.offset)
        if found.skewed != self._skewed:
            self._skewed = found.skewed
            level = logging.WARNING if found.skewed else logging.INFO
            _log.log(level, "clock.skew", extra={"says": said(found.offset)})

    async def _go(self) -> None:
        while True:
            await asyncio.sleep(_TICK)
            jumped = abs(self._gap() - self._measured_gap) > _JUMP
            if not jumped and clock.monotonic() < self._due:
                continue
            try:
                found = await measure(self._nc, self._stream, ours=self._ours)
            except Unavailable as error:
                _log.info("clock.unknown", extra={"problem": error.problem.message})
            else:
                self.take(found)

    def _gap(self) -> float:
        return self._ours().timestamp() - clock.monotonic()

    def _says(self) -> bytes:
        return json.dumps({"worker": self._worker, "offset": round(clock.offset(), 6)}).encode()
