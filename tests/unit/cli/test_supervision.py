"""A supervisor of real processes on a real server: who does not beat is replaced, within bounds, and it is said why."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import nats
import pytest

from partsong.cli import supervision
from partsong.cli.child import Child
from partsong.cli.supervision import Supervisor
from partsong.contracts.wire.subjects import Subjects

WITHIN = 120.0
READY = """
import os, signal, sys, time
print(f"ready {sys.argv[1]} {sys.argv[1]}~{os.getpid()} -", flush=True)
"""
PAUSE = """
signal.pause()
"""
BEATS = """
import asyncio, json, nats
async def beat():
    nc = await nats.connect(sys.argv[2])
    who = {"service": sys.argv[1], "name": sys.argv[1], "incarnation": str(os.getpid()), "started": ""}
    held = [{"run_id": "r_1", "call_id": "c", "function": "shop:pay"}]
    while True:
        await nc.publish(f"{sys.argv[3]}.alive.{sys.argv[1]}.{sys.argv[1]}", json.dumps({**who, "held": held}).encode())
        await asyncio.sleep(0.1)
asyncio.run(beat())
"""
ONCE_READY = """
import os, signal, sys
from pathlib import Path
marker = Path(sys.argv[4])
if not marker.exists():
    marker.touch()
    print(f"ready {sys.argv[1]} {sys.argv[1]}~{os.getpid()} -", flush=True)
signal.pause()
"""
IGNORES = """
signal.signal(signal.SIGTERM, signal.SIG_IGN)
signal.pause()
"""


class Said:
    """What is said, and what is to be waited for."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.changes = 0

    def __call__(self, who: str, what: str) -> None:
        self.lines.append(f"{who} {what}")

    def changed(self) -> None:
        self.changes += 1

    def count(self, word: str) -> int:
        return sum(word in line for line in self.lines)

    async def until(self, true: Callable[[], object]) -> None:
        async with asyncio.timeout(WITHIN):
            while not true():  # noqa: ASYNC110  # nothing sets an event
                await asyncio.sleep(0.05)


@pytest.fixture
def said() -> Said:
    return Said()


async def beats(nats_url: str, subjects: Subjects, name: str, count: int) -> None:
    """Wait for some heartbeats."""
    nc = await nats.connect(nats_url)
    try:
        heard = await nc.subscribe(subjects.alive(name, name))
        async with asyncio.timeout(WITHIN):
            for _ in range(count):
                await heard.next_msg(timeout=None)
    finally:
        await nc.close()


@asynccontextmanager
async def supervised(
    folder: Path, said: Said, nats_url: str, subjects: Subjects, *scripts: str, silence: float = 1.0
) -> AsyncIterator[list[Child]]:
    children = [
        Child(
            f"role-{n}",
            (
                *(sys.executable, "-c", script, f"role-{n}", nats_url),
                *(subjects.prefix, str(folder / f"marker-{n}")),
            ),
            dict(os.environ),
            folder / f"{n}.log",
            say=said,
            changed=said.changed,
        )
        for n, script in enumerate(scripts)
    ]
    keepers = [asyncio.create_task(child.keep()) for child in children]
    try:
        async with asyncio.timeout(WITHIN):
            for child in children:
                await child.ready.wait()
        supervisor = Supervisor(children, subjects, silence=silence, changed=said.changed)
        keepers.append(asyncio.create_task(supervisor.keep(nats_url)))
        yield children
    finally:
        await asyncio.gather(*(child.end() for child in children))
        for keeper in keepers:
            keeper.cancel()
        await asyncio.gather(*keepers, return_exceptions=True)


async def test_one_that_is_stopped_is_replaced_and_said_why_and_the_others_go_on(
    tmp_path: Path, said: Said, nats_url: str, subjects: Subjects
) -> None:
    scripts = [READY + BEATS] * 3
    async with supervised(tmp_path, said, nats_url, subjects, *scripts, silence=5.0) as children:
        pids = [child.pid for child in children]
        await beats(nats_url, subjects, "role-1", 3)
        assert pids[1] is not None
        os.kill(pids[1], signal.SIGSTOP)
        await said.until(lambda: said.count("role-1 ready") == 2)
        assert [child.pid for child in children][::2] == pids[::2]
        (why,) = [line for line in said.lines if "no heartbeat" in line]
    for word in ("role-1", "stopped by a signal", "shop:pay of run r_1", f"process {pids[1]}"):
        assert word in why, why
    assert said.count("ended with") == 0, "one line says it"


async def test_one_that_never_beats_is_replaced_three_times_and_then_told_as_a_trouble(
    tmp_path: Path, said: Said, nats_url: str, subjects: Subjects
) -> None:
    async with supervised(tmp_path, said, nats_url, subjects, READY + PAUSE) as (child,):
        await said.until(lambda: child.trouble)
        changes = said.changes
        await said.until(lambda: said.changes >= changes)
        assert said.count("replacing process") == 4
        assert said.count("ready") == 4
        assert "replaced 3 times within 600 s" in child.trouble
        assert said.count(child.trouble) == 1
        assert not child.running


async def test_one_that_does_not_end_when_it_is_told_to_is_killed(
    tmp_path: Path, said: Said, nats_url: str, subjects: Subjects
) -> None:
    async with supervised(tmp_path, said, nats_url, subjects, READY + IGNORES) as (child,):
        first = child.pid
        await said.until(lambda: said.count("ready") == 2)
        assert child.pid != first
        child.kill()


async def test_one_that_was_started_again_and_does_nothing_is_replaced_too(
    tmp_path: Path,
    said: Said,
    nats_url: str,
    subjects: Subjects,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(supervision, "START", 3.0)
    async with supervised(tmp_path, said, nats_url, subjects, ONCE_READY, silence=60.0) as (child,):
        assert child.pid is not None
        os.kill(child.pid, signal.SIGKILL)
        await said.until(lambda: said.count("it starts, and has done nothing for 3 s"))


async def test_nobody_is_replaced_while_the_server_does_not_answer(
    tmp_path: Path, said: Said, nats_url: str, subjects: Subjects
) -> None:
    from partsong.runtime.nats.server import start_embedded

    async with start_embedded(tmp_path / "nats", fast=True) as server:
        scripts = [READY + BEATS] * 2
        async with supervised(tmp_path, said, server.url, subjects, *scripts, silence=2.0):
            await beats(server.url, subjects, "role-1", 3)
            os.kill(server.pid, signal.SIGSTOP)
            try:
                await asyncio.sleep(12.0)  # many times what is too long; nothing is to happen
            finally:
                os.kill(server.pid, signal.SIGCONT)
            await beats(server.url, subjects, "role-1", 30)
    assert said.count("no heartbeat") == 0, said.lines
