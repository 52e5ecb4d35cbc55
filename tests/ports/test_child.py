"""A service as a child process: it lives on where its output cannot be kept."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import pytest

from partsong.cli.child import Child

PRINTS = """
print("x" * 100_000, flush=True)
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
    finally:
        await child.end()
        ready.cancel()
        await asyncio.gather(keeper, ready, return_exceptions=True)
