"""Coalescing: neighbouring deltas become one chunk when they come faster than people read.

The first delta after a silence leaves at once. Those that follow within `delay` of it are joined and leave when the
delay is over, when they are `size` bytes, or when anything else comes. So slow streams keep their latency, and a
burst costs the bus a hundred messages a second and not ten thousand.
"""

from __future__ import annotations

from typing import assert_never

from partsong.contracts.talk.chunks import Chunk, Reasoning, Text, ToolArgs

__all__ = ["Coalescer"]

_Delta = Text | Reasoning | ToolArgs


class Coalescer:
    """Joins the chunks of one attempt. It reads no clock: `now` is any clock that does not go back."""

    def __init__(self, *, size: int = 256, delay: float = 0.010) -> None:
        self._size = size
        self._delay = delay
        self._held: _Delta | None = None
        self._texts: list[str] = []
        self._bytes = 0
        self._open_at = float("-inf")

    @property
    def deadline(self) -> float | None:
        """When `tick` wants to be called; None while nothing is held back."""
        return self._open_at if self._held is not None else None

    def push(self, chunk: Chunk, now: float) -> tuple[Chunk, ...]:
        """One more chunk; what has to be sent now, in order."""
        if not isinstance(chunk, Text | Reasoning | ToolArgs):
            return (*self.flush(now), chunk)
        before = () if self._joins(chunk) else self.flush(now)
        if self._held is None and now >= self._open_at:
            self._open_at = now + self._delay
            return (*before, chunk)
        self._held = self._held or chunk
        self._texts.append(chunk.text)
        self._bytes += len(chunk.text.encode())
        if self._bytes >= self._size or now >= self._open_at:
            return (*before, *self.flush(now))
        return before

    def tick(self, now: float) -> tuple[Chunk, ...]:
        """What is due."""
        return self.flush(now) if self._held is not None and now >= self._open_at else ()

    def flush(self, now: float) -> tuple[Chunk, ...]:
        """What is held back, due or not."""
        held = self._held
        if held is None:
            return ()
        joined = held
        if len(self._texts) > 1:
            joined = held.model_copy(update={"text": "".join(self._texts)})
        self._held, self._texts, self._bytes = None, [], 0
        self._open_at = now + self._delay
        return (joined,)

    def _joins(self, chunk: _Delta) -> bool:
        return self._held is not None and _block(self._held) == _block(chunk)


def _block(delta: _Delta) -> tuple[str, int, str]:
    """What two deltas must share to be joined."""
    match delta:
        case Text():
            return (delta.kind, delta.i, "")
        case Reasoning():
            return (delta.kind, delta.i, delta.form)
        case ToolArgs():
            return (delta.kind, delta.i, delta.id)
        case _:
            assert_never(delta)
