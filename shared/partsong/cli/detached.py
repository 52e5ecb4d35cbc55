"""`partsong up --detach`: the platform as a process of its own, waited for until it is ready."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO

import click

from partsong.cli.output import Output

__all__ = ["detached"]

_LOOK = 0.05


async def detached(words: Sequence[str], data: Path, out: Output) -> int:
    """Start `partsong up` with the options that were typed, and say how to stop it; its exit code if it ends at once."""
    log = data / "logs" / "up.log"
    with _opened(log, data) as sink:
        said = sink.tell()
        process = _spawned(words, sink)
    try:
        while not await _is_ready(data, process.pid):
            said = _forward(log, said, out)
            if process.poll() is not None:
                return _ended(process, log, said, out)
            await asyncio.sleep(_LOOK)
    except BaseException:  # who gives up waiting wants nothing to go on unseen
        process.terminate()
        process.wait()
        raise
    _forward(log, said, out)
    _tell(process.pid, data, log, out)
    return 0


def _spawned(words: Sequence[str], sink: BinaryIO) -> subprocess.Popen[bytes]:
    return subprocess.Popen(  # noqa: S603  # this very program
        [sys.executable, "-P", "-m", "partsong.cli.main", "up", *words],
        stdin=subprocess.DEVNULL,
        stdout=sink,
        stderr=sink,
        start_new_session=True,  # neither Ctrl-C nor the end of the terminal is for it
    )


def _opened(log: Path, data: Path) -> BinaryIO:
    data.mkdir(mode=0o700, parents=True, exist_ok=True)
    log.parent.mkdir(mode=0o700, exist_ok=True)
    sink = os.fdopen(os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), "ab", buffering=0)
    sink.seek(0, os.SEEK_END)
    return sink


async def _is_ready(data: Path, pid: int) -> bool:
    from partsong.client.local_platform import find_platform
    from partsong.contracts.errors import Conflict

    try:
        found = await find_platform(data)
    except Conflict:  # it is just writing down who it is
        return False
    return found.how == "up" and found.pid == pid and found.ready


def _forward(log: Path, said: int, out: Output) -> int:
    """Say what the platform has said since; its data is told at the end."""
    with log.open("rb") as file:
        file.seek(said)
        whole = file.read().rpartition(b"\n")[0]
    for line in whole.decode(errors="replace").splitlines():
        if line.partition(" ")[0] not in {"nats:", "http:"}:
            out.say(line)
    return said + len(whole) + 1 if whole else said


def _ended(process: subprocess.Popen[bytes], log: Path, said: int, out: Output) -> int:
    """It has not become ready; why is what it said last."""
    quiet, out.quiet = out.quiet, False
    _forward(log, said, out)
    out.quiet = quiet
    if not process.returncode:
        return 1
    return process.returncode if process.returncode > 0 else 128 - process.returncode


def _tell(pid: int, data: Path, log: Path, out: Output) -> None:
    from partsong.client.where import find_note
    from partsong.runtime.visible import without_password

    note = find_note(data)
    nats_url = without_password(str(note.get("nats_url", "")))
    where = {"nats": nats_url, "http": str(note.get("http_url", ""))}
    out.record({**where, "pid": pid, "log": str(log)})
    here = data == Path(".partsong").resolve()
    words = "" if here else f" --data {click.format_filename(data)}"
    out.say(f"partsong down{words} stops everything.")
