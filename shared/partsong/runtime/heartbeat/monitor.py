"""`LivenessMonitor`: who is alive, who has fallen silent, and who holds which call, from all heartbeats."""

from __future__ import annotations

import asyncio
import contextlib
from collections import OrderedDict

import nats.errors
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription
from pydantic import ValidationError

from partsong.contracts.wire.heartbeat import Beat, Unattended
from partsong.contracts.wire.subjects import Subjects
from partsong.runtime import clock
from partsong.runtime.answers import answers
from partsong.runtime.recent import Recent

__all__ = ["SILENCE", "LivenessMonitor"]

SILENCE = 5.0
"""Seconds without a heartbeat after which a worker's claims lapse."""
_QUIET = 0.05
"""Seconds after the last answer to a ping after which all have answered."""
_FALLEN, _BEGUN = 4096, 65_536
"""Calls that are remembered: of dead workers, and with the moment at which they were first heard to be held."""
_DEAF = 2.5
"""Seconds without any heartbeat, our own among them, after which it is we who are cut off."""
_FORGOTTEN = 600.0
"""Seconds of silence after which a worker is forgotten: it is taken for dead then like one that was never heard."""
_MOST = 2000
"""Workers that are remembered. Anybody on the bus may beat; of so many that all beat, no other is taken note of."""
_LARGEST = 1024 * 1024
"""Bytes of a heartbeat: one that lists all the calls it may has half of that."""
_ASKED = 60.0
"""Seconds after which it is forgotten that somebody asked about a worker that was never heard, unless he asks again."""


class LivenessMonitor:
    """Listens to all heartbeats.

    A worker that stops as it should says so, and so does the process that beats for one that is gone: neither is waited
    for. Of all others silence tells, after `SILENCE` seconds. Who is silent for long is forgotten.
    """

    def __init__(self, nc: Client, subjects: Subjects, *, silence: float = SILENCE) -> None:
        self._nc, self._subjects, self._silence = nc, subjects, silence
        self._since = self._any = self._began = clock.monotonic()
        self._last: dict[str, float] = {}
        self._asked: dict[str, tuple[float, float]] = {}
        """Of workers never heard, when they were asked about first and last."""
        self._swept = self._began
        self._newest: dict[str, tuple[str, float]] = {}
        self._blocked: dict[str, float] = {}
        """When workers that are blocked said so first."""
        self._held: dict[str, frozenset[tuple[str, str, int]]] = {}
        self._begun = Recent[tuple[str, str, int], tuple[str, float]](_BEGUN)
        self._fallen = Recent[tuple[str, str, int], None](_FALLEN)
        self.beats: OrderedDict[str, Beat] = OrderedDict()
        """The last heartbeat of each worker, of those first that have been silent for longest."""
        self._news = asyncio.Event()
        self._sub: Subscription | None = None

    async def start(self) -> None:
        """Begin to listen."""
        self._since = self._any = self._began = clock.monotonic()
        self._sub = await self._nc.subscribe(self._subjects.alives(), cb=self._receive)

    async def stop(self) -> None:
        """Listen no more."""
        if self._sub is not None:
            with contextlib.suppress(nats.errors.Error):
                await self._sub.unsubscribe()

    async def heard(self, name: str, *, within: float, ready: bool = False) -> str | None:
        """The next worker of this name (empty: any) to beat within some seconds, or to say that it is `ready`; its id."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(within):
                while True:
                    self._news.clear()
                    for beat in self.beats.values():
                        if name not in {"", beat.name} or beat.stopped:
                            continue
                        if beat.ready or not ready:
                            return beat.worker
                    await self._news.wait()
        return None

    async def meet(self, service: str, *, within: float = 1.0) -> None:
        """Ask the workers of a service who they are, so as not to wait for their next heartbeats.

        Returns when no more answers come, of which the asker's own is one if it beats already.
        """
        ping = self._subjects.query(service, "ping")
        # Who has not answered is met at its next heartbeat.
        with contextlib.suppress(nats.errors.Error):
            async for body in answers(self._nc, ping, within=within, quiet=_QUIET):
                self._hear(body)

    def silent(self, worker: str) -> bool:
        """Whether a worker is to be taken for dead; one never heard, only a while after the first question."""
        now = clock.monotonic()
        if (said := self.beats.get(worker)) is not None and said.stopped:
            return True
        last = self._last.get(worker)
        name, _, incarnation = worker.partition("~")
        newest, begun = self._newest.get(name, ("", 0.0))
        if newest > incarnation and (begun > last if last is not None else now - begun > _DEAF):
            return True
        heard = last
        if heard is None:
            heard, _ = self._asked.get(worker, (now, now))
            self._asked[worker] = heard, now
        return now - max(self._since, heard) > self._silence and now - self._any < _DEAF

    def told_to_stop(self, worker: str) -> bool:
        """Whether a worker has said that it was told to stop; what it held has not killed it."""
        return (said := self.beats.get(worker)) is not None and said.draining

    def holds(self, run_id: str, call_id: str, attempt: int, *, but: str = "") -> bool:
        """Whether a living worker, `but` one, says that it holds a call, or holds more than it can list.

        A heartbeat is up to a second old, and leaves out calls that are a moment old: `Holders` asks.
        """
        call = (run_id, call_id, attempt)
        return any(
            (call in held or self.beats[worker].held_more) and not self.silent(worker)
            for worker, held in self._held.items()
            if worker != but
        )

    def orphaned(self, run_id: str, call_id: str, attempt: int) -> bool:
        """Whether a worker had a call in its hands when it died, or fell silent: it may have died of it."""
        call = (run_id, call_id, attempt)
        return call in self._fallen or any(
            call in held and self.silent(worker) for worker, held in self._held.items()
        )

    def unattended(self, run_id: str, call_id: str, attempt: int) -> Unattended | None:
        """For how long nobody could end a call that was begun; None if its worker can, or none was heard of.

        A worker that is gone cannot, nor can one that the call itself keeps from everything else.
        """
        call = run_id, call_id, attempt
        begun = self._begun.get(call)
        if begun is None:
            return None
        worker, since = begun
        beat = self.beats.get(worker)
        if beat is None or beat.stopped or self.silent(worker):
            since = still = max(since, self._last.get(worker, since))
        elif _blocks(beat, call):
            still = max(since, self._blocked.get(worker, since))
        else:
            return None
        now = clock.monotonic()
        return Unattended(now - since, now - still)

    def living(self, service: str) -> set[str]:
        """The workers of a service that are not silent."""
        return {
            worker
            for worker, beat in self.beats.items()
            if beat.service == service and not beat.stopped and not self.silent(worker)
        }

    @property
    def listened(self) -> float:
        """Seconds since it began to listen."""
        return clock.monotonic() - self._began

    def _begins(self, call: tuple[str, str, int], worker: str, now: float) -> None:
        if self._begun.get(call, ("", 0.0))[0] != worker:
            self._begun[call] = worker, now

    def _fell(self, beat: Beat) -> None:
        for call in beat.held:
            self._fallen[call.run_id, call.call_id, call.attempt] = None

    async def _receive(self, msg: Msg) -> None:
        self._hear(msg.data)

    def _hear(self, body: bytes) -> None:
        if len(body) > _LARGEST:
            return
        try:
            beat = Beat.model_validate_json(body)
        except ValidationError:
            return
        now = clock.monotonic()
        if now - self._any > _DEAF:
            self._since = now  # we were cut off: their silence was ours
        self._any = now
        if (before := self.beats.get(beat.worker)) is not None and before.stopped:
            return  # on its way when the last one was sent, over another connection
        self._forget(now)
        if before is None and len(self.beats) >= _MOST:
            return
        self._last[beat.worker] = now
        self._asked.pop(beat.worker, None)
        newest, begun = self._newest.get(beat.name, ("", now))
        if beat.incarnation > newest:
            newest, begun = beat.incarnation, now
        self._newest[beat.name] = newest, begun
        self.beats[beat.worker] = beat
        self.beats.move_to_end(beat.worker)
        if beat.blocked is None:
            self._blocked.pop(beat.worker, None)
        else:
            self._blocked.setdefault(beat.worker, now)
        for call in beat.held:
            if not call.asking:
                self._begins((call.run_id, call.call_id, call.attempt), beat.worker, now)
        if not beat.stopped and (beat.held or beat.held_more):
            calls = ((call.run_id, call.call_id, call.attempt) for call in beat.held)
            self._held[beat.worker] = frozenset(calls)
        else:
            self._held.pop(beat.worker, None)
        if beat.stopped and not beat.draining:
            self._fell(beat)
        self._news.set()

    def _forget(self, now: float) -> None:
        """Drop those who have been silent for long; sooner, if there is no room for others."""
        while self.beats:
            worker, beat = next(iter(self.beats.items()))
            patience = self._silence if len(self.beats) >= _MOST else _FORGOTTEN
            if now - self._last[worker] <= patience:
                break
            del self.beats[worker], self._last[worker]
            self._held.pop(worker, None)
            self._blocked.pop(worker, None)
            if self._newest[beat.name][0] == beat.incarnation:
                del self._newest[beat.name]
        if now - self._swept > _ASKED:
            self._swept = now
            asked = self._asked.items()
            self._asked = {worker: (a, b) for worker, (a, b) in asked if now - b <= _ASKED}


def _blocks(beat: Beat, call: tuple[str, str, int]) -> bool:
    """Whether a call is what keeps its worker from everything else, as far as that can be told."""
    blocked = beat.blocked
    if blocked is None:
        return False
    begun = [held for held in beat.held if not held.asking]
    alone = blocked.process and len(begun) == 1 and not beat.held_more
    return alone or (blocked.run_id, blocked.call_id) == call[:2]
