"""`ProcessHeartbeat`: a small process of its own beats for the service, whatever the service's code does.

A function that holds the interpreter's lock stops every thread, so a thread would not do. While the small process does
not beat (it is starting, was killed, has lost its connection) the service's loop beats itself.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import signal
import sys
from collections.abc import Callable

import nats.errors
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription

from partsong.contracts.wire.subjects import Subjects
from partsong.runtime import clock
from partsong.runtime.heartbeat.held import HeldCalls
from partsong.runtime.heartbeat.rule import PERIOD, UNANSWERED, blocked_limit
from partsong.runtime.heartbeat.task import TaskHeartbeat

__all__ = ["ProcessHeartbeat"]

_log = logging.getLogger("partsong.heartbeat")

_TICK = 0.5
_QUIET = 2 * PERIOD
"""Seconds without a beat of the small process after which the loop beats itself."""
_FIRST_WAIT, _LONGEST_WAIT = 0.1, 10.0
_LAST_WORD = 2.0


class ProcessHeartbeat:
    """The heartbeat of a service process, from outside it."""

    def __init__(
        self,
        nc: Client,
        subjects: Subjects,
        service: str,
        name: str,
        incarnation: str,
        *,
        in_flight: Callable[[], int],
        nats_url: str,
        limit: float | None = None,
        ends: bool = False,
    ) -> None:
        """`limit`: seconds without an answer of this process after which nobody beats for it; default: its service's.

        `ends`: the small process ends this one a while after that, for whoever started it to start it again.
        """
        self._nc, self._in_flight, self._nats_url = nc, in_flight, nats_url
        self._limit = blocked_limit(service) if limit is None else limit
        self._ends = ends
        self._fd = HeldCalls.file()
        self.held = HeldCalls(self._fd)
        self._own = TaskHeartbeat(
            nc, subjects, service, name, incarnation, in_flight=in_flight, held=self.held
        )
        self._process: asyncio.subprocess.Process | None = None
        self._beaten = 0.0
        self._blamed: list[str] = []
        """What the small process takes for the reason why this one did not answer."""
        self._stood = 0.0
        """Seconds in which nothing could run, and that have not been told yet."""
        self._stopping = False
        self._sub: Subscription | None = None
        self._tasks: tuple[asyncio.Task[None], ...] = ()

    @property
    def url(self) -> str | None:
        """Where the service answers HTTP, if it does."""
        return self._own.url

    @url.setter
    def url(self, url: str | None) -> None:
        self._own.url = url
        self._tell({"url": url})

    @property
    def ready(self) -> bool:
        """Whether the service works; it beats before that."""
        return self._own.ready

    @ready.setter
    def ready(self, ready: bool) -> None:
        self._own.ready = ready
        self._tell({"ready": ready})

    def drains(self) -> None:
        """Say from now on that the service was told to stop."""
        self._own.drains()
        self._tell({"draining": True})

    @property
    def pid(self) -> int | None:
        """The small process; None before its first start."""
        return self._process.pid if self._process else None

    async def start(self) -> None:
        """Begin to beat; the small process takes over when it is up."""
        self._sub = await self._nc.subscribe(self._own.ping, cb=self._pong)
        await self._own.say()
        loop = asyncio.get_running_loop()
        self._tasks = (
            loop.create_task(self._keep(), name="heartbeat process"),
            loop.create_task(self._tick(), name="heartbeat"),
        )

    async def stop(self) -> None:
        """Have the small process beat for the last time; if it cannot, do it here."""
        self._stopping = True
        said = await self._last_word()
        self._tell_stood()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._tasks and not said:
            await self._own.say(stopped=True)
        if self._sub is not None:
            with contextlib.suppress(nats.errors.Error):
                await self._sub.unsubscribe()
        self._close()

    async def _last_word(self) -> bool:
        """Whether the small process has said that this one stops."""
        process, could = self._process, self._spoken_for
        if process is None or process.returncode is not None:
            return False
        self._tell({"stop": True})
        try:
            async with asyncio.timeout(_LAST_WORD):
                return await process.wait() == 0 and could
        except TimeoutError:
            return False

    def _close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    @property
    def _spoken_for(self) -> bool:
        return clock.monotonic() - self._beaten < _QUIET

    def _tell(self, said: dict[str, object]) -> None:
        process = self._process
        if process is not None and process.stdin is not None and process.returncode is None:
            process.stdin.write(json.dumps(said).encode() + b"\n")

    async def _pong(self, msg: Msg) -> None:
        if not self._spoken_for:
            await self._own.answer(msg)

    async def _tick(self) -> None:
        """Answer, and beat if nobody else does; say afterwards if no answer was possible for a while."""
        self.held.tick(self._in_flight())
        due = clock.monotonic() + PERIOD
        while True:
            await asyncio.sleep(_TICK)
            self._tell_stood()  # by now the small process has been heard, too
            now = clock.monotonic()
            late = now - self.held.ticked - _TICK
            self._stood = late if late > UNANSWERED else 0.0
            self.held.tick(self._in_flight())
            if now >= due:
                due = now + PERIOD
                if not self._spoken_for:
                    await self._own.say()

    def _tell_stood(self) -> None:
        if self._stood:
            extra = {"seconds": round(self._stood, 1), "functions": self._blamed}
            _log.warning("nothing of this process could run", extra=extra)
            self._stood, self._blamed = 0.0, []

    async def _keep(self) -> None:
        """Start the small process, again and again."""
        wait = _FIRST_WAIT
        while not self._stopping:
            began = clock.monotonic()
            try:
                how = await self._live()
            except OSError as error:
                how = f"{type(error).__name__}: {error}"
            if self._stopping:
                return
            wait = _FIRST_WAIT if clock.monotonic() - began > _LONGEST_WAIT else wait
            _log.warning("heartbeat process ended", extra={"how": how, "again_in": wait})
            await asyncio.sleep(wait)
            wait = min(_LONGEST_WAIT, wait * 2)

    async def _live(self) -> str:
        """One life of the small process; how it ended."""
        self._process = process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-P",
            "-m",
            "partsong.runtime.heartbeat.child",
            str(os.getpid()),
            str(self._fd),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            pass_fds=(self._fd,),
            start_new_session=True,  # Ctrl-C is for the service, which drains and needs its beats meanwhile
        )
        try:
            self._tell(self._settings())
            assert process.stdout is not None  # noqa: S101
            while line := await process.stdout.readline():
                self._beaten = clock.monotonic()
                self._blamed = json.loads(line) or self._blamed
            return _said(await process.wait())
        finally:
            self._beaten = 0.0
            if process.stdin is not None:
                process.stdin.close()
            if process.returncode is None:
                with contextlib.suppress(ProcessLookupError):
                    process.kill()
                await asyncio.shield(process.wait())

    def _settings(self) -> dict[str, object]:
        own = self._own
        return {
            "servers": [part.strip() for part in self._nats_url.split(",")],
            "connection": f"{own.base['name']}~{own.base['incarnation']} heartbeat",
            "subject": own.subject,
            "ping": own.ping,
            "limit": self._limit,
            "ends": self._ends,
            "beat": own.said,
        }


def _said(code: int) -> str:
    return f"exit code {code}" if code >= 0 else signal.Signals(-code).name
