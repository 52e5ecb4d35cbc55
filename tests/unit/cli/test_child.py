"""A service as a child process: it lives on where its output cannot be kept, and is started again whatever it leaves."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from pathlib import Path

import pytest

from partsong.cli import child as child_module
from partsong.cli.child import Child

PRINTS = """
print("x" * 100_000, flush=True)
print("ready to go now", flush=True)  # a module of a user, say
print("ready tool-runner w -", flush=True)
input_ = __import__("sys").stdin.read()
__import__("signal").pause()
"""


@pytest.mark.parametrize("log", ["full", "missing"])
async def test_a_service_whose_output_cannot_be_kept_is_ready_and_lives(
    tmp_path: Path, log: str
) -> None:
    (tmp_path / "full").symlink_to("/dev/full")
    (tmp_path / "file").touch()
    where = tmp_path / "full" if log == "full" else tmp_path / "file" / "missing"
    child = Child(
        "tool-runner",
        (sys.executable, "-c", PRINTS),
        {},
        where,
        say=lambda _who, _what: None,
        changed=lambda: None,
    )
    keeper = asyncio.create_task(child.keep())
    ready = asyncio.create_task(child.ready.wait())
    try:
        async with asyncio.timeout(30):
            await asyncio.wait({keeper, ready}, return_when=asyncio.FIRST_COMPLETED)
        assert child.ready.is_set(), keeper
        assert child.worker == "w", "what a function prints is no word of the service"
    finally:
        await child.end()
        ready.cancel()
        await asyncio.gather(keeper, ready, return_exceptions=True)


LEAVES = """
import subprocess, sys
print("ready tool-runner w -", flush=True)
subprocess.Popen([sys.executable, "-c", "import sys; sys.stdin.read()"], stdin=open(sys.argv[1]))
print("left", flush=True)
__import__("signal").pause()
"""


async def test_what_a_service_leaves_behind_does_not_keep_it_from_being_started_again(
    tmp_path: Path,
) -> None:
    """A process that a function started holds the pipe of the service's output open."""
    pipe, ready = tmp_path / "pipe", asyncio.Semaphore(0)
    os.mkfifo(pipe)
    holder = os.open(pipe, os.O_RDWR)  # what was left behind ends when this is closed
    child = Child(
        "tool-runner",
        (sys.executable, "-c", LEAVES, str(pipe)),
        {},
        tmp_path / "log",
        say=lambda _who, _what: None,
        changed=ready.release,
    )
    keeper = asyncio.create_task(child.keep())
    try:
        async with asyncio.timeout(60):
            await ready.acquire()
            assert child.pid is not None
            while b"left" not in (tmp_path / "log").read_bytes():  # noqa: ASYNC110  # a file sets no event
                await asyncio.sleep(0.02)
            os.kill(child.pid, signal.SIGKILL)
            await ready.acquire()
    finally:
        await child.end()
        os.close(holder)
        await asyncio.gather(keeper, return_exceptions=True)


FLOODS = """
import os
print("ready tool-runner w -", flush=True)
while True:
    os.write(1, b"printed " * 1000)
    os.write(2, b"logged  " * 1000)
"""


async def test_what_functions_print_does_not_fill_the_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(child_module, "_MOST_LOG", 1_000_000)
    monkeypatch.setattr(child_module, "_LOOK", 0.01)
    log, before = tmp_path / "log", tmp_path / "log.1"
    child = Child(
        "tool-runner",
        (sys.executable, "-c", FLOODS),
        {},
        log,
        say=lambda _who, _what: None,
        changed=lambda: None,
    )
    keeper = asyncio.create_task(child.keep())
    try:
        async with asyncio.timeout(60):
            emptied = 0
            size = 0
            while emptied < 3:
                now = log.stat().st_size if log.exists() else 0
                emptied, size = emptied + (now < size), now
                await asyncio.sleep(0.005)
        text = before.read_bytes()
        assert b"printed" in text
        assert b"logged" in text
        assert before.stat().st_mode & 0o077 == 0
    finally:
        await child.end()
        await asyncio.gather(keeper, return_exceptions=True)
