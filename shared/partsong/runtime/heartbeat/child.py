"""The process that beats for another one: `python -m partsong.runtime.heartbeat.child PID FD`.

It says what stands in the memory behind FD, which the process PID writes; settings come as the first line on stdin, for
they may hold a password. Each beat is also a line on stdout, so that PID knows that it is spoken for; the line names what
ran while PID did not answer. It never outlives
PID: stdin ends with it, and before each beat the parent is looked at. What it sees last, it says: nobody has to wait for
the silence of a process that is known to be gone. Where it is told to, it also ends PID when that has been silent for a
while: in a container nobody else would, for a container that lives is not started again.

It imports the standard library and nats-py, and nothing that imports more.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
import traceback
from typing import Any

import nats.errors
from nats.aio.msg import Msg

from partsong.runtime import clock
from partsong.runtime.heartbeat.held import HeldCalls
from partsong.runtime.heartbeat.rule import PERIOD, Standing, beat_of, candidates, standing
from partsong.runtime.nats.client import NatsClient
from partsong.runtime.progress import state

__all__ = ["main"]

_SILENT, _LAST_CHANCE = 15.0, 5.0
"""Seconds of silence after which the parent is told to end, where it is, and further ones until it is killed."""
_LAST_WORD = 1.0
"""Seconds for the last beat, and for the kernel to notice that a process is gone whose pipe has ended."""


class _Child:
    def __init__(self, parent: int, held: HeldCalls, told: dict[str, Any]) -> None:
        self._parent, self._held, self._told = parent, held, told
        self._base: dict[str, object] = dict(told["beat"])
        self._nc = NatsClient()
        self._how: Standing = "well"
        self._silent = 0.0
        """Seconds for which the parent has been silent; what this process itself slept through does not count."""

    async def run(self, lines: asyncio.StreamReader) -> None:
        listening = asyncio.create_task(self._listen(lines))
        connecting = asyncio.create_task(self._connect())
        await asyncio.wait({listening, connecting}, return_when=asyncio.FIRST_COMPLETED)
        while not listening.done() and self._standing() != "gone":
            await self._beat()
            self._end_silent()
            await asyncio.wait({listening}, timeout=PERIOD)
        if not connecting.done():  # the parent may have begun something all the same
            await asyncio.wait({connecting}, timeout=_LAST_WORD)
        if not connecting.done():
            connecting.cancel()
            return
        if (listening.done() and listening.result()) or await self._is_gone():
            await self._say(stopped=True)
        with contextlib.suppress(nats.errors.Error, OSError, TimeoutError):
            await asyncio.wait_for(self._nc.flush(), _LAST_WORD)

    async def _connect(self) -> None:
        await self._nc.connect(
            servers=self._told["servers"],
            name=self._told["connection"],
            error_cb=_quiet,
            max_reconnect_attempts=-1,
            reconnect_time_wait=1,
            ping_interval=5,
        )
        await self._nc.subscribe(self._told["ping"], cb=self._pong)

    async def _listen(self, lines: asyncio.StreamReader) -> bool:
        """What the parent says of itself; True if it says that it stops, False if it says nothing any more."""
        while line := await lines.readline():
            said = json.loads(line)
            if said.get("stop"):
                return True
            self._base |= said
        return False

    def _standing(self) -> Standing:
        return standing(
            exists=os.getppid() == self._parent,
            stopped=state(self._parent) == "T",
            unanswered=clock.monotonic() - self._held.ticked,
            limit=self._told["limit"],
        )

    async def _is_gone(self) -> bool:
        """Whether the parent is no more; a process closes its pipes a little before that."""
        for _ in range(20):
            if os.getppid() != self._parent:
                return True
            await asyncio.sleep(_LAST_WORD / 20)
        return False

    def _end_silent(self) -> None:
        """End the parent if it is silent for too long: with SIGTERM first, which it may still be able to obey."""
        before = self._silent
        self._silent = before + PERIOD if self._standing() == "silent" else 0.0
        if not self._told.get("ends"):
            return
        for limit, number in ((_SILENT, signal.SIGTERM), (_SILENT + _LAST_CHANCE, signal.SIGKILL)):
            if before < limit <= self._silent:
                names = ", ".join(candidates(self._held.entries())) or "nothing"
                print(
                    f"{self._base['service']} (process {self._parent}) does not answer, it is sent {number.name}; "
                    f"it worked on {names}",
                    file=sys.stderr,
                    flush=True,
                )
                with contextlib.suppress(OSError):
                    os.kill(self._parent, number)

    async def _beat(self) -> None:
        how, before = self._standing(), self._how
        self._how = how
        if how == "silent":
            if before != how:  # once: what it has begun since the last heartbeat is known to nobody
                await self._say(whole=True)
            return
        if not await self._say(blocked=how == "blocked"):
            return
        names = candidates(self._held.entries()) if how == "blocked" else []
        with contextlib.suppress(BlockingIOError, BrokenPipeError):
            os.write(sys.stdout.fileno(), json.dumps(names).encode() + b"\n")

    async def _say(
        self, *, blocked: bool = False, stopped: bool = False, whole: bool = False
    ) -> bool:
        if not self._nc.is_connected:  # what would be held back until then is news no more
            return False
        beat = beat_of(self._base, self._held, blocked=blocked, whole=stopped or whole)
        body = json.dumps({**beat, "stopped": True} if stopped else beat).encode()
        try:
            await self._nc.publish(self._told["subject"], body)
        except nats.errors.Error:
            return False
        return True

    async def _pong(self, msg: Msg) -> None:
        how = self._standing()
        if msg.reply and how in {"well", "blocked"}:
            beat = beat_of(self._base, self._held, blocked=how == "blocked", whole=True)
            with contextlib.suppress(nats.errors.Error):
                await msg.respond(json.dumps(beat).encode())


async def _quiet(_error: Exception) -> None:
    """The parent says when it is not spoken for."""


async def _main(parent: int, fd: int) -> None:
    lines = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(lines), sys.stdin
    )
    try:
        if told := await lines.readline():
            await _Child(parent, HeldCalls(fd), json.loads(told)).run(lines)
    except Exception:
        traceback.print_exc()
    finally:
        # At once: a client that looks for its server may take no end, and there is nobody left to beat for.
        os._exit(0)


def main() -> None:
    """Beat until the parent stops or is gone. Signals are for the parent."""
    for ignored in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(ignored, signal.SIG_IGN)
    os.set_blocking(sys.stdout.fileno(), False)
    asyncio.run(_main(int(sys.argv[1]), int(sys.argv[2])))


if __name__ == "__main__":
    main()
