"""What a function or tool shows while it runs, as the chunks of one attempt."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Mapping
from typing import TypedDict

from pydantic import JsonValue

from partsong.contracts.errors import Problem
from partsong.contracts.plain import plain
from partsong.contracts.talk.chunks import Chunk, End, ErrorClass, Failed, Raw, Text

__all__ = ["Emitter"]


class Emitter:
    """A `NodeContext`'s `emit`: text becomes a `text` chunk, an object a `raw` one; from any thread, in order.

    An attempt that shows nothing has no chunks at all; one that does has its terminal chunk at the end.
    What comes after the end (from a thread that was left behind) is dropped.
    """

    def __init__(self, call_id: str, attempt: int, send: Callable[[Chunk], None]) -> None:
        self._call_id, self._attempt, self._send = call_id, attempt, send
        self._loop = asyncio.get_running_loop()
        self._thread = threading.get_ident()
        self._seq = 0
        self._ended = False
        self.last = 0.0
        """When something was shown, in the loop's time."""

    def __call__(self, what: str | Mapping[str, JsonValue]) -> None:
        """Show it.

        Raises:
            InvalidInput: `chunk.not_json` for an object that JSON cannot hold.
        """
        data = plain(what, "chunk", "chunk.not_json", fault="tool")
        if threading.get_ident() == self._thread:
            self._show(data)
            return
        try:
            self._loop.call_soon_threadsafe(self._show, data)
        except RuntimeError:  # the loop is closed, and nobody watches
            self._ended = True

    def end(self, problem: Problem | None) -> None:
        """The attempt is over: send the terminal chunk, if anything was shown."""
        if self._seq and not self._ended:
            if problem is None:
                self._send(End(stop="stop", **self._next()))
            else:
                self._send(
                    Failed(
                        error=_error_class(problem),
                        message=problem.message,
                        retryable=problem.retryable,
                        mid_stream=True,
                        **self._next(),
                    )
                )
        self._ended = True

    def _show(self, data: JsonValue) -> None:
        if self._ended:
            return
        self.last = self._loop.time()
        if isinstance(data, str):
            self._send(Text(text=data, **self._next()))
        else:
            self._send(Raw(data=data, **self._next()))

    def _next(self) -> _Place:
        self._seq += 1
        return _Place(call_id=self._call_id, attempt=self._attempt, seq=self._seq - 1)


class _Place(TypedDict):
    """Where a chunk belongs."""

    call_id: str
    attempt: int
    seq: int


def _error_class(problem: Problem) -> ErrorClass:
    match problem.code.rpartition(".")[2]:
        case "timeout":
            return "timeout"
        case "cancelled":
            return "cancelled"
        case _:
            return "server"
