"""The platform of this machine: which process runs it on a data directory, and how it is told to stop.

A number is no identity: another process may have it by now. Who runs on a directory holds its lock, which the kernel gives
back whatever becomes of the process; the note beside says since when it has lived.
"""

from __future__ import annotations

import asyncio
import fcntl
import json
import os
import signal
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from partsong.client.where import find_note
from partsong.contracts.durations import format_duration
from partsong.contracts.errors import Conflict
from partsong.runtime import clock
from partsong.runtime.nats.directory_lock import alive
from partsong.runtime.progress import born

__all__ = ["LocalPlatform", "find_platform", "stop_platform"]

_LOOK = 0.05
_TIMES = 20
"""Looks at a lock whose owner is just writing its number."""


@dataclass(frozen=True, slots=True)
class LocalPlatform:
    """What runs on a data directory, or what is left of it."""

    data: Path
    how: Literal["up", "stale", "none"]
    """It runs; its note was left behind by one that was killed; or there is none."""
    pid: int = 0
    """The process, also of one that is gone."""
    ready: bool = False
    url: str = ""
    """The address of its approval service."""


async def find_platform(data: Path) -> LocalPlatform:
    """The platform that `partsong up` runs on a data directory.

    Raises:
        Conflict: `up.unclear`: the lock is held, and nobody says by whom.
    """
    note = find_note(data)
    noted = note.get("pid") if isinstance(note.get("pid"), int) else 0
    owner = 0
    for _ in range(_TIMES):
        if not _locked(data / "nats.lock"):
            how: Literal["stale", "none"] = "stale" if note else "none"
            return LocalPlatform(data, how, int(str(noted)))
        owner = _owner(data / "nats.lock")
        if alive(owner) and _same(owner, noted, str(note.get("born") or "")):
            told = owner == noted
            ready, url = (
                (bool(note.get("ready")), str(note.get("http_url", ""))) if told else (False, "")
            )
            return LocalPlatform(data, "up", owner, ready, url)
        await asyncio.sleep(_LOOK)
    raise Conflict(
        "up.unclear",
        f"something holds {data}, and its note names process {owner}, which is not it",
        where=str(data),
        fix="see with `fuser` or `lsof` who has nats.lock open there; nothing was stopped",
    )


async def stop_platform(data: Path, *, now: bool = False, within: float = 120.0) -> LocalPlatform:
    """Stop the platform of a data directory, and wait until it is gone; what there was to stop.

    Services finish what they are at unless it is to stop `now`. A note that was left behind is removed.

    Raises:
        Conflict: `up.unclear`; nothing was stopped.
        PermissionError: it is another user's.
        TimeoutError: it has not stopped `within` so many seconds; it goes on stopping.
    """
    found = await find_platform(data)
    if found.how == "stale":
        (data / "up.json").unlink(missing_ok=True)
    if found.how != "up":
        return found
    for _ in range(2 if now else 1):  # told a second time, it waits for nobody
        if not await _told(data, found.pid):
            return found
    deadline = clock.monotonic() + within
    while _locked(data / "nats.lock") and _owner(data / "nats.lock") == found.pid:
        if clock.monotonic() > deadline:
            raise TimeoutError(
                f"process {found.pid} has not stopped within {format_duration(within)}"
            )
        await asyncio.sleep(_LOOK)
    return found


async def _told(data: Path, pid: int) -> bool:
    """Send the signal to the very process that holds the directory; False if it is gone meanwhile.

    Where the kernel gives a handle of a process, it cannot become another one between the look and the signal.
    """
    try:
        handle = os.pidfd_open(pid) if hasattr(os, "pidfd_open") else None
    except ProcessLookupError:
        return False
    try:
        again = await find_platform(data)
        if again.how != "up" or again.pid != pid:
            return False
        if handle is not None:
            signal.pidfd_send_signal(handle, signal.SIGTERM)
        else:
            os.kill(pid, signal.SIGTERM)
    except ProcessLookupError:
        return False
    finally:
        if handle is not None:
            os.close(handle)
    await asyncio.sleep(_LOOK)  # two signals at once are one
    return True


def _same(owner: int, noted: object, since: str) -> bool:
    """Whether the process is the one that wrote the note, as far as that can be known."""
    return owner != noted or since in {"", born(owner)}


def _locked(lock: Path) -> bool:
    """Whether somebody holds a lock."""
    try:
        fd = os.open(lock, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(fd)
    return False


def _owner(lock: Path) -> int:
    """Who says to have it; 0 while that is being written."""
    try:
        found = json.loads(lock.read_bytes()[:4096]).get("owner")
    except (OSError, ValueError, AttributeError):
        return 0
    return found if isinstance(found, int) and found > 1 else 0
