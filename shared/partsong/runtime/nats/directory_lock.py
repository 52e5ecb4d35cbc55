"""Who owns a data directory: a lock that the kernel gives back, and a note that says who has it."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import json
import os
from pathlib import Path

from partsong.contracts.errors import Conflict
from partsong.runtime.progress import Patience

__all__ = ["Claim", "alive", "claim_directory"]

_GRACE = 10.0


class Claim:
    """An exclusive hold on a directory. Pass `fd` to a child process and the hold lasts as long as either lives."""

    def __init__(self, fd: int) -> None:
        self.fd = fd

    def tell(self, *, pid: int | None = None, url: str | None = None) -> None:
        """Leave a note for whoever finds the directory taken; on a full disk the lock alone must do."""
        note = json.dumps({"owner": os.getpid(), "pid": pid, "url": url}).encode()
        with contextlib.suppress(OSError):
            os.pwrite(self.fd, note, 0)  # in its old place, which needs no room
            os.ftruncate(self.fd, len(note))

    def release(self) -> None:
        """Let go; a child that holds `fd` too keeps the directory taken until it ends."""
        os.close(self.fd)


async def claim_directory(directory: Path) -> Claim:
    """Take the directory, waiting for the child of a dead owner to end, as long as it works or for ten seconds.

    Raises:
        Conflict: `nats.already_running`, with the pid and the URL of the server that has it.
    """
    fd = os.open(directory / "nats.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    patience = Patience(_GRACE, lambda: _child_of(fd))
    try:
        while not _locked(fd):
            note = _note(fd)
            owner = note.get("owner")
            # A note without its owner's number is being written.
            if not isinstance(owner, int) or alive(owner) or patience.over:
                raise _taken(directory, note)
            await asyncio.sleep(0.02)
    except BaseException:
        os.close(fd)
        raise
    claim = Claim(fd)
    claim.tell()
    return claim


def _locked(fd: int) -> bool:
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _note(fd: int) -> dict[str, int | str | None]:
    try:
        note = json.loads(os.pread(fd, 4096, 0))
    except json.JSONDecodeError:
        return {}  # the owner is writing it
    return note if isinstance(note, dict) else {}


def _child_of(fd: int) -> tuple[int, ...]:
    """The process that a note names beside its owner."""
    pid = _note(fd).get("pid")
    return (pid,) if isinstance(pid, int) else ()


def alive(pid: int | None) -> bool:
    """Whether a process of this number runs, whoever's it is; there is none without a number."""
    if pid is None or pid <= 0:
        return False
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:  # another user's
        return True
    return True


def _taken(directory: Path, note: dict[str, int | str | None]) -> Conflict:
    pid, url = note.get("pid"), note.get("url")
    who = f"pid {pid}, url {url}" if pid else f"starting, by process {note.get('owner', 'unknown')}"
    return Conflict(
        "nats.already_running",
        f"already running ({who})",
        where=str(directory),
        fix=f"connect to {url}, or stop process {pid} first"
        if pid
        else "wait for it, or choose another data directory",
    )
