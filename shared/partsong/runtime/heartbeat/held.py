"""`HeldCalls`: what a worker does right now, in memory that another process can read.

Shared memory, not messages: a call is entered before it is made, so the list is right also when the call's first act is
to stop the interpreter; and entering one costs microseconds and wakes nobody. One process writes, at most one other
reads. An entry that is read while it is written may come out garbled; it then names a call that nobody asks about.

Only the standard library is used here: the process that beats for a worker reads this and must start fast.
"""

from __future__ import annotations

import mmap
import os
import struct
import tempfile
from collections import deque
from typing import NamedTuple

from partsong.runtime import clock

__all__ = ["MOST", "Entry", "HeldCalls"]

MOST = 256
"""Calls that are listed; further ones are only counted."""
_STALL = 1.5
"""Seconds without an answer after which what it has received may have been given to others."""
_SLOT, _HEAD, _TEXT = 2048, 4096, 64
_SIZE = _HEAD + MOST * _SLOT
_STATE = struct.Struct("dII")
"""When its loop last answered, calls in flight, calls that are held but not listed."""
_ENTRY = struct.Struct("HBxId")
"""Length of the text, whether it is still asking, attempt, since when."""
_LENGTH = struct.Struct("H")


class Entry(NamedTuple):
    """One call as it is listed."""

    since: float
    run_id: str
    call_id: str
    attempt: int
    function: str
    asking: bool


class HeldCalls:
    """The calls of one worker. Not thread-safe: its event loop writes."""

    def __init__(self, fd: int | None = None) -> None:
        """Memory of this process only, or what the file descriptor stands for."""
        self._memory = mmap.mmap(-1 if fd is None else fd, _SIZE)
        self._free = deque(range(MOST))
        self._unlisted = self._in_flight = 0
        self.stalled = float("-inf")
        """When the event loop last answered after it had not for a while."""

    @staticmethod
    def file() -> int:
        """A file descriptor for memory that is shared; it has no name and goes with its last holder."""
        if hasattr(os, "memfd_create"):
            fd = os.memfd_create("partsong-held")
        else:
            with tempfile.TemporaryFile() as file:
                fd = os.dup(file.fileno())
        HeldCalls.make_room(fd)
        return fd

    @staticmethod
    def make_room(fd: int) -> None:
        """Let a file be as long as the memory is that stands for it."""
        os.ftruncate(fd, _SIZE)

    def clear(self) -> None:
        """Take everything off the list that another process has left there."""
        for at in range(_HEAD, _SIZE, _SLOT):
            _LENGTH.pack_into(self._memory, at, 0)

    def hold(
        self, run_id: str, call_id: str, attempt: int, function: str, *, asking: bool = False
    ) -> int:
        """List a call; the number that `begin` and `release` want."""
        text = f"{run_id}\n{call_id}\n{function}".encode()
        if not self._free or len(text) > _SLOT - _ENTRY.size:
            self._unlisted += 1
            self._state()
            return -1
        slot = self._free.popleft()
        at = _HEAD + slot * _SLOT
        self._memory[at + _ENTRY.size : at + _ENTRY.size + len(text)] = text
        _ENTRY.pack_into(self._memory, at, len(text), asking, attempt, clock.monotonic())
        return slot

    def begin(self, slot: int) -> None:
        """Say that a call which was `asking` is made now."""
        if slot >= 0:
            self._memory[_HEAD + slot * _SLOT + _LENGTH.size] = 0

    def release(self, slot: int) -> None:
        """Take a call off the list."""
        if slot < 0:
            self._unlisted -= 1
            self._state()
            return
        _LENGTH.pack_into(self._memory, _HEAD + slot * _SLOT, 0)
        self._free.append(slot)

    def tick(self, in_flight: int) -> None:
        """Say that the event loop answers."""
        now, self._in_flight = clock.monotonic(), in_flight
        if 0 < self.ticked < now - _STALL:
            self.stalled = now
        _STATE.pack_into(self._memory, 0, now, in_flight, self._unlisted)

    def _state(self) -> None:
        _STATE.pack_into(self._memory, 0, self.ticked, self._in_flight, self._unlisted)

    @property
    def ticked(self) -> float:
        """When the event loop last answered, in monotonic time, which is the machine's."""
        ticked: float = _STATE.unpack_from(self._memory)[0]
        return ticked

    @property
    def in_flight(self) -> int:
        """Calls in flight at that time."""
        in_flight: int = _STATE.unpack_from(self._memory)[1]
        return in_flight

    @property
    def unlisted(self) -> int:
        """Calls that are held but do not stand in the list."""
        unlisted: int = _STATE.unpack_from(self._memory)[2]
        return unlisted

    def entries(self) -> list[Entry]:
        """The calls that are listed, the latest first."""
        found: list[Entry] = []
        for at in range(_HEAD, _SIZE, _SLOT):
            length, asking, attempt, since = _ENTRY.unpack_from(self._memory, at)
            if length:
                start = at + _ENTRY.size
                text = self._memory[start : start + length].decode("utf-8", "replace")
                run_id, _, rest = text.partition("\n")
                call_id, _, function = rest.partition("\n")
                found.append(Entry(since, run_id, call_id, attempt, function, bool(asking)))
        return sorted(found, reverse=True)

    def block(self, function: str = "", run_id: str = "", call_id: str = "") -> None:
        """Say which function blocks the loop of user code; without one, that none does any more."""
        text = f"{clock.now_text()}\n{function}\n{run_id}\n{call_id}".encode() if function else b""
        text = text[: _HEAD - _TEXT - _LENGTH.size]
        self._memory[_TEXT + _LENGTH.size : _TEXT + _LENGTH.size + len(text)] = text
        _LENGTH.pack_into(self._memory, _TEXT, len(text))

    @property
    def blocking(self) -> tuple[str, ...]:
        """Since when, and which function, run and call, block the loop of user code; empty if none does."""
        (length,) = _LENGTH.unpack_from(self._memory, _TEXT)
        start = _TEXT + _LENGTH.size
        text = self._memory[start : start + length].decode("utf-8", "replace")
        return tuple(text.split("\n")) if length else ()

    def close(self) -> None:
        """Let go of the memory."""
        self._memory.close()
