"""Supervision: notices services whose processes live and do not answer, and has them replaced.

A process that has died is noticed by whoever started it. One that was stopped, whose loop stands, or whose interpreter is
held for good is still there; only its heartbeats are missing. So they are listened to, as everybody does who works on
the bus, and what a listener may take for silence is `Silences`'s rule.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from partsong.cli.child import Child
from partsong.contracts.wire.subjects import Subjects
from partsong.runtime import clock
from partsong.runtime.heartbeat.silence import LOOK, Silences, doing
from partsong.runtime.progress import Patience, stopped

if TYPE_CHECKING:
    from nats.aio.client import Client
    from nats.aio.msg import Msg

    from partsong.contracts.wire.heartbeat import Beat

__all__ = ["SILENCE", "START", "Supervisor"]

SILENCE = 15.0
"""Seconds without a heartbeat after which a service is replaced; all others take it for dead after five."""
START = 120.0
"""Seconds in which a service that starts has done nothing at all, after which it is not waited for any more."""
_FRESH = 5.0
"""Seconds for which a heartbeat shows that something is alive."""


class Supervisor:
    """Looks after services that were ready once. `changed` is called when there is news of troubles."""

    def __init__(
        self,
        children: Sequence[Child],
        subjects: Subjects,
        *,
        silence: float,
        changed: Callable[[], None],
    ) -> None:
        self._children, self._subjects, self._changed = tuple(children), subjects, changed
        self._silences = Silences(clock.monotonic(), limit=silence)
        self._heard: dict[str, tuple[float, Beat]] = {}
        """The last heartbeat of each worker with the name of one of ours."""
        self.answered = clock.monotonic()
        """When the server last answered."""
        self._starts: dict[int, Patience] = {}
        self._troubles = [child.trouble for child in self._children]
        self._replacing: asyncio.Task[None] | None = None

    async def keep(self, url: str) -> None:
        """Connect to the server and look, until cancelled."""
        from nats.aio.client import Client

        from partsong.runtime.connect import disconnect

        nc = Client()
        try:
            await nc.connect(
                servers=[part.strip() for part in url.split(",")],
                name="supervisor",
                error_cb=_quiet,  # the services say it, too
                max_reconnect_attempts=-1,
                reconnect_time_wait=1,
                ping_interval=5,
            )
            await self._watch(nc)
        finally:
            await self._end_replacing()
            await disconnect(nc)

    async def _end_replacing(self) -> None:
        if self._replacing is not None:
            self._replacing.cancel()
            await asyncio.gather(self._replacing, return_exceptions=True)

    async def _watch(self, nc: Client) -> None:
        """Look twice a second; an answer of the server to oneself shows that what is sent is heard."""
        import nats.errors

        echo = nc.new_inbox()
        await nc.subscribe(self._subjects.alives(), cb=self._hear)
        await nc.subscribe(echo, cb=self._answer)
        while True:
            if nc.is_connected:
                with contextlib.suppress(nats.errors.Error):
                    await nc.publish(echo)
            await asyncio.sleep(LOOK)
            self._look()

    def _look(self) -> None:
        """Replace the service that has been silent, or has not got on with its start, for too long; one at a time."""
        now = clock.monotonic()
        ready = {child.worker: child for child in self._children if child.running and child.worker}
        heard = {
            worker: self._heard[worker][0] if worker in self._heard else child.since
            for worker, child in ready.items()
        }
        found = self._silences.look(now, heard, answered=self.answered)
        if self._replacing is None or self._replacing.done():
            if found is not None:
                beat = self._heard.get(found[0])
                self._replace(ready[found[0]], found[1], beat[1] if beat is not None else None)
            elif stuck := self._stuck():
                self._begin(stuck[0], f"it starts, and has done nothing for {START:g} s")
        if (troubles := [child.trouble for child in self._children]) != self._troubles:
            self._troubles = troubles
            self._changed()

    def _replace(self, child: Child, silence: float, beat: Beat | None) -> None:
        how = " (its process was stopped by a signal)" if stopped(child.pid or 0) else ""
        self._begin(child, f"no heartbeat for {silence:.0f} s{how}; {doing(beat)}")

    def _begin(self, child: Child, why: str) -> None:
        self._replacing = asyncio.get_running_loop().create_task(
            child.replace(why), name=f"replacing {child.role}"
        )

    def _stuck(self) -> list[Child]:
        """Services that were started again, do not beat yet, and do nothing."""
        starting = {
            child.pid: child
            for child in self._children
            if child.pid is not None and child.running and not child.worker and child.ready.is_set()
        }
        self._starts = {
            pid: self._starts.get(pid) or Patience(START, lambda pid=pid: (pid,))  # type: ignore[misc]
            for pid in starting
        }
        over = [starting[pid] for pid, patience in self._starts.items() if patience.over]
        names = {beat.name for at, beat in self._heard.values() if at > clock.monotonic() - _FRESH}
        return [child for child in over if child.role not in names]

    async def _answer(self, _msg: Msg) -> None:
        self.answered = clock.monotonic()

    async def _hear(self, msg: Msg) -> None:
        from pydantic import ValidationError

        from partsong.contracts.wire.heartbeat import Beat

        try:
            beat = Beat.model_validate_json(msg.data)
        except ValidationError:
            return
        if beat.name not in {child.role for child in self._children}:
            return
        for worker in [one for one, (_, old) in self._heard.items() if old.name == beat.name]:
            if worker != beat.worker and worker not in {child.worker for child in self._children}:
                del self._heard[worker]
        self._heard[beat.worker] = clock.monotonic(), beat


async def _quiet(_error: Exception) -> None:
    """Whoever is cut off says nothing of silence."""
