"""A service that does what it is told by its arguments, in a process of its own."""

from __future__ import annotations

import asyncio
import ctypes
import os
import sys

from partsong.runtime.serve import Context, serve
from partsong.runtime.settings import from_env


class Told:
    """Fails at start or never ends it, hangs or fails in its drain, holds the interpreter for a while, or behaves."""

    name = "told"

    def __init__(self, what: str) -> None:
        self._what = what

    @property
    def in_flight(self) -> int:
        return 0

    async def start(self, context: Context) -> None:
        if self._what == "fail-at-start":
            raise OSError("no luck")
        if self._what == "long-start":
            await asyncio.Event().wait()
        context.heart.url = "http://127.0.0.1:1"
        if self._what == "hold":
            asyncio.get_running_loop().call_later(2.0, self._hold, context)

    @staticmethod
    def _hold(context: Context) -> None:
        """Hold the interpreter's lock for a while, as a library in C may."""
        slot = context.heart.held.hold("r_1", "n:1", 1, "told:hold")
        ctypes.PyDLL(None).sleep(5)
        context.heart.held.release(slot)

    async def drain(self) -> None:
        if self._what == "hang":
            await asyncio.Event().wait()
        if self._what == "fail-in-drain":
            raise OSError("no luck")


if __name__ == "__main__":
    sys.exit(serve(Told(sys.argv[1]), from_env(os.environ)))
