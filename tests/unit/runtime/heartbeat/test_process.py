"""The process that beats for a service: what becomes of it and its parent, with real signals."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
import time
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from partsong.contracts.wire.heartbeat import Beat
from partsong.contracts.wire.subjects import Subjects
from partsong.runtime.heartbeat.identity import worker_id
from partsong.runtime.heartbeat.monitor import LivenessMonitor
from partsong.runtime.heartbeat.process import ProcessHeartbeat
from partsong.runtime.heartbeat.rule import UNANSWERED
from partsong.runtime.heartbeat.task import TaskHeartbeat
from partsong.runtime.nats.server import EmbeddedNats
from partsong.testing.nats import Bus, a_bus

PATIENCE = 60.0
ROOT = Path(__file__).parents[4]

Start = Callable[..., Awaitable[Process]]


@pytest.fixture
async def start(bus: Bus) -> AsyncIterator[Start]:
    """Starts a service as a process, and waits until it is ready."""
    async with starting(bus) as begin:
        yield begin


@asynccontextmanager
async def starting(bus: Bus) -> AsyncIterator[Start]:
    processes: list[Process] = []

    async def begin(what: str = "", **env: str) -> Process:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "tests.support.serving", what),
            env={
                **os.environ,
                "PARTSONG_NATS_URL": bus.url,
                "PARTSONG_PREFIX": bus.subjects.prefix,
                "PARTSONG_WORKER": "w",
                **env,
            },
            cwd=ROOT,
            stdout=PIPE,
            stderr=PIPE,
        )
        processes.append(process)
        assert process.stdout is not None
        async with asyncio.timeout(PATIENCE):
            assert (await process.stdout.readline()).startswith(b"ready")
        return process

    yield begin
    for process in processes:
        if process.returncode is None:
            process.kill()
        await process.communicate()


@pytest.fixture
async def monitor(bus: Bus) -> AsyncIterator[LivenessMonitor]:
    made = LivenessMonitor(bus.nc, bus.subjects)
    await made.start()
    yield made
    await made.stop()


async def health(bus: Bus, name: str) -> int:
    """What a container's health check says."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "partsong.cli.main", "worker", "health", "--alive"),
        env={
            **os.environ,
            "PARTSONG_NATS_URL": bus.url,
            "PARTSONG_PREFIX": bus.subjects.prefix,
            "PARTSONG_WORKER": name,
        },
        stderr=PIPE,
    )
    await process.communicate()
    assert process.returncode is not None
    return process.returncode


async def beat(monitor: LivenessMonitor, true: Callable[[Beat], bool] = lambda _: True) -> Beat:
    """The next beat of which something is true."""
    async with asyncio.timeout(PATIENCE):
        while True:
            monitor._news.clear()
            await monitor._news.wait()
            if found := [one for one in monitor.beats.values() if true(one)]:
                return found[-1]


async def until(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE):
        while not true():  # noqa: ASYNC110  # the kernel has no event for it
            await asyncio.sleep(0.02)


def children(pid: int | None) -> list[int]:
    return [int(one) for one in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_bytes().rpartition(b") ")[2][:1] != b"Z"
    except OSError:
        return False


linux = pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")


@linux
async def test_a_killed_service_is_known_to_be_dead_and_nothing_of_it_is_left(
    start: Start, monitor: LivenessMonitor
) -> None:
    process = await start()
    worker = (await beat(monitor)).worker
    (small,) = children(process.pid)
    process.kill()
    await beat(monitor, lambda one: one.stopped)
    assert monitor.silent(worker)
    await until(lambda: not alive(small))


@linux
async def test_nothing_is_left_of_a_service_that_is_killed_after_its_server(
    tmp_path: Path, subjects: Subjects
) -> None:
    """Its small process is looking for the server again, for ever, when there is nobody left to beat for."""
    async with (
        EmbeddedNats(tmp_path / "nats", fast=True) as server,
        a_bus(server.url, subjects) as bus,
        starting(bus) as start,
    ):
        process = await start()
        (small,) = children(process.pid)
        server.kill()
        async with asyncio.timeout(PATIENCE):
            assert process.stderr is not None
            while b"nats.error" not in await process.stderr.readline():
                pass
        process.kill()
        await until(lambda: not alive(small))
        await server.restart()


@linux
async def test_a_service_killed_together_with_its_small_process_falls_silent(
    start: Start, bus: Bus, monitor: LivenessMonitor
) -> None:
    process = await start()
    worker = (await beat(monitor)).worker
    (small,) = children(process.pid)
    os.kill(small, signal.SIGSTOP)
    process.kill()
    os.kill(small, signal.SIGKILL)
    me = TaskHeartbeat(bus.nc, bus.subjects, "told", "me", "1", in_flight=int)
    await me.start()  # somebody must beat, or it is we who are cut off
    await until(lambda: monitor.silent(worker))
    assert not monitor.beats[worker].stopped
    await me.stop()


@linux
async def test_a_stopped_service_falls_silent_and_comes_back(
    start: Start, bus: Bus, monitor: LivenessMonitor
) -> None:
    process = await start()
    worker = (await beat(monitor)).worker
    me = TaskHeartbeat(bus.nc, bus.subjects, "told", "me", "1", in_flight=int)
    await me.start()
    process.send_signal(signal.SIGSTOP)
    await until(lambda: monitor.silent(worker))
    assert await health(bus, "w") == 1, "its container is unhealthy"
    process.send_signal(signal.SIGCONT)
    await until(lambda: not monitor.silent(worker))
    assert await health(bus, "w") == 0
    await me.stop()


@linux
async def test_a_stopped_service_is_ended_where_that_is_wanted_and_it_is_said(
    start: Start, monitor: LivenessMonitor
) -> None:
    process = await start(PARTSONG_WHEN_SILENT="end")
    worker = (await beat(monitor)).worker
    process.send_signal(signal.SIGSTOP)
    async with asyncio.timeout(PATIENCE):
        assert await process.wait() == -signal.SIGKILL
        assert process.stderr is not None
        said = (await process.stderr.read()).decode()
    assert (
        f"told (process {process.pid}) does not answer, it is sent SIGTERM; it worked on " in said
    )
    assert "it is sent SIGKILL" in said
    await until(lambda: monitor.beats[worker].stopped)


async def test_a_service_whose_interpreter_is_held_beats_and_says_since_when(
    start: Start, monitor: LivenessMonitor
) -> None:
    process = await start("hold")
    found = (await beat(monitor, lambda one: one.blocked is not None)).blocked
    assert found is not None
    assert found.process
    assert found.functions == ("told:hold",)
    await beat(monitor, lambda one: one.blocked is None)
    assert process.stderr is not None
    said = b""
    async with asyncio.timeout(PATIENCE):
        while b"nothing of this process could run" not in said:
            said = await process.stderr.readline()
    assert b"told:hold" in said


async def test_a_service_that_stops_right_after_nothing_could_run_says_so(
    bus: Bus, caplog: pytest.LogCaptureFixture
) -> None:
    heartbeat = ProcessHeartbeat(
        bus.nc, bus.subjects, "told", "w", "1", in_flight=int, nats_url=bus.url
    )
    await heartbeat.start()
    await until(lambda: heartbeat._spoken_for)
    time.sleep(UNANSWERED + 1)  # noqa: ASYNC251  # this is the point
    for _ in range(3):
        await asyncio.sleep(0)
    with caplog.at_level(logging.WARNING, "partsong.heartbeat"):
        await heartbeat.stop()
    assert [record.message for record in caplog.records] == ["nothing of this process could run"]


async def test_a_small_process_that_was_killed_is_started_again_and_that_is_said(
    bus: Bus, monitor: LivenessMonitor, caplog: pytest.LogCaptureFixture
) -> None:
    incarnation, worker = worker_id("w")
    heartbeat = ProcessHeartbeat(
        bus.nc, bus.subjects, "told", "w", incarnation, in_flight=int, nats_url=bus.url
    )
    with caplog.at_level(logging.WARNING, "partsong.heartbeat"):
        await heartbeat.start()
        await until(lambda: heartbeat._spoken_for)
        first = heartbeat.pid
        assert first is not None
        os.kill(first, signal.SIGKILL)
        await until(lambda: heartbeat._spoken_for and heartbeat.pid != first)
    (record,) = caplog.records
    assert record.message == "heartbeat process ended"
    assert vars(record)["how"] == "SIGKILL"
    assert not monitor.silent(worker)
    await heartbeat.stop()
    await until(lambda: monitor.beats[worker].stopped)


async def test_while_the_small_process_does_not_beat_the_loop_does(
    bus: Bus, monitor: LivenessMonitor
) -> None:
    incarnation, worker = worker_id("w")
    heartbeat = ProcessHeartbeat(
        bus.nc, bus.subjects, "told", "w", incarnation, in_flight=int, nats_url=bus.url
    )
    await heartbeat.start()
    await until(lambda: heartbeat._spoken_for)
    assert heartbeat.pid is not None
    os.kill(heartbeat.pid, signal.SIGSTOP)
    await until(lambda: not heartbeat._spoken_for)
    for _ in range(3):
        assert (await beat(monitor)).worker == worker
    await heartbeat.stop()
    await until(lambda: monitor.beats[worker].stopped)


async def test_nobody_beats_for_a_service_that_has_not_answered_for_too_long(bus: Bus) -> None:
    heartbeat = ProcessHeartbeat(
        bus.nc, bus.subjects, "told", "w", "1", in_flight=int, nats_url=bus.url, limit=0.0
    )
    await heartbeat.start()
    await until(lambda: heartbeat.pid is not None)
    sub = await bus.nc.subscribe(bus.subjects.alives())
    for _ in range(4):  # of the loop: the small process finds that nobody answers within no time
        await sub.next_msg(timeout=PATIENCE)
    assert not heartbeat._spoken_for
    await heartbeat.stop()
