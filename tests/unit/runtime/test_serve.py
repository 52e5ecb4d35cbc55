"""`serve`: ready, drained, and the exit codes, in a real process with real signals."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest
from nats.js.errors import NotFoundError

from partsong.contracts.wire.marks import Mark
from partsong.log.marks import FileMarks
from partsong.log.restore import Restoring
from partsong.runtime.heartbeat.monitor import LivenessMonitor
from partsong.runtime.serve import Context, open_context
from partsong.runtime.settings import Settings
from partsong.runtime.streams import log_config
from partsong.testing.nats import Bus
from tests.support.old_server import a_server_of
from tests.support.serving import Told
from tests.unit.runtime.other_clock import another_clock

PATIENCE = 60.0
ROOT = Path(__file__).parents[3]

Start = Callable[..., Awaitable[Process]]


@pytest.fixture
async def start(bus: Bus, tmp_path: Path) -> AsyncIterator[Start]:
    """Starts the service as a process."""
    processes: list[Process] = []

    async def begin(what: str = "", **env: str) -> Process:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "tests.support.serving",
            what,
            env={
                **os.environ,
                "PARTSONG_NATS_URL": bus.url,
                "PARTSONG_PREFIX": bus.subjects.prefix,
                "PARTSONG_WORKER": "told-1",
                "PARTSONG_DATA": str(tmp_path),
                **env,
            },
            cwd=ROOT,
            stdout=PIPE,
            stderr=PIPE,
        )
        processes.append(process)
        return process

    yield begin
    for process in processes:
        if process.returncode is None:
            process.kill()
        await process.communicate()


async def line(process: Process) -> str:
    assert process.stdout is not None
    async with asyncio.timeout(PATIENCE):
        return (await process.stdout.readline()).decode().strip()


async def end(process: Process) -> tuple[int | None, str]:
    async with asyncio.timeout(PATIENCE):
        _, said = await process.communicate()
    return process.returncode, said.decode()


async def test_it_says_ready_beats_and_ends_with_0_when_drained(bus: Bus, start: Start) -> None:
    watch = LivenessMonitor(bus.nc, bus.subjects)
    await watch.start()
    process = await start()
    ready, role, worker, url = (await line(process)).split()
    assert (ready, role, worker.partition("~")[0]) == ("ready", "told", "told-1")
    assert url == "http://127.0.0.1:1"
    assert await watch.heard("told-1", within=PATIENCE, ready=True) == worker
    process.send_signal(signal.SIGTERM)
    code, said = await end(process)
    assert (code, "draining" in said) == (0, True)
    async with asyncio.timeout(PATIENCE):
        while not watch.beats[worker].stopped:
            watch._news.clear()
            await watch._news.wait()
    await watch.stop()


async def test_a_drain_that_hangs_is_cut_short(start: Start) -> None:
    process = await start("hang", PARTSONG_DRAIN="0.1")
    await line(process)
    process.send_signal(signal.SIGINT)
    code, said = await end(process)
    assert (code, "drain cut short" in said) == (0, True)


@pytest.mark.parametrize("what", ["fail-at-start", "fail-in-drain"])
async def test_a_service_that_fails_ends_with_1_and_says_why(start: Start, what: str) -> None:
    process = await start(what)
    if what == "fail-in-drain":
        await line(process)
        process.send_signal(signal.SIGTERM)
    code, said = await end(process)
    assert (code, "no luck" in said) == (1, True)


async def test_a_bus_that_differs_ends_it_with_78(bus: Bus, start: Start) -> None:
    js = bus.nc.jetstream()
    config = (await js.stream_info(bus.names.dead)).config
    config.max_msgs = 7
    await js.update_stream(config)
    code, said = await end(await start())
    assert code == 78, "starting it again would not help"
    assert f"nats stream edit {bus.names.dead} --max-msgs=" in said


async def test_a_wrong_setting_ends_it_with_2(start: Start) -> None:
    code, said = await end(await start(PARTSONG_NATS_URL="http://x"))
    assert (code, "nats.bad_url" in said) == (2, True)


async def test_without_a_name_it_takes_one_of_its_own(start: Start) -> None:
    first, second = await start(PARTSONG_WORKER=""), await start(PARTSONG_WORKER="")
    names = {(await line(process)).split()[2].partition("~")[0] for process in (first, second)}
    assert len(names) == 2
    assert all(name.startswith("told-") for name in names)


def greeted(peer: socket.socket) -> None:
    """Speak as a NATS server does, up to the client's first PING."""
    peer.sendall(b'INFO {"server_id": "mute", "version": "2.12.0", "max_payload": 1048576}\r\n')
    said = b""
    while b"PING" not in said:
        more = peer.recv(4096)
        assert more, said
        said += more


async def test_it_can_be_stopped_while_it_waits_for_nats(start: Start) -> None:
    with socket.socket() as mute:
        mute.bind(("127.0.0.1", 0))
        mute.listen()
        process = await start(PARTSONG_NATS_URL=f"nats://127.0.0.1:{mute.getsockname()[1]}")
        # It has greeted, so its signal handlers are in place, and it waits for an answer.
        peer, _ = await asyncio.to_thread(mute.accept)
        await asyncio.to_thread(greeted, peer)
        process.send_signal(signal.SIGTERM)
        code, said = await end(process)
        peer.close()
    assert (code, "draining" in said) == (0, True)


async def test_while_it_starts_it_is_alive_and_not_ready_and_drains_if_it_is_stopped(
    bus: Bus, start: Start
) -> None:
    watch = LivenessMonitor(bus.nc, bus.subjects)
    await watch.start()
    process = await start("long-start")
    worker = await watch.heard("told-1", within=PATIENCE)
    assert worker is not None
    assert not watch.beats[worker].ready
    process.send_signal(signal.SIGTERM)
    code, said = await end(process)
    assert (code, "draining" in said) == (0, True)
    await watch.stop()


async def test_on_a_server_that_is_too_old_it_refuses_to_start_and_says_why(start: Start) -> None:
    async with a_server_of("2.12.1") as url:
        process = await start(PARTSONG_NATS_URL=url)
        code, said = await end(process)
    assert code == 78, "starting it again would not help"
    assert "is nats-server 2.12.1, 2.14 or newer is needed" in said


async def test_on_a_server_whose_clock_is_wrong_it_refuses_to_start_and_says_why(
    bus: Bus, start: Start
) -> None:
    async with another_clock(bus.url, ahead=3600) as other:
        process = await start(PARTSONG_NATS_URL=other.url)
        code, said = await end(process)
    assert code == 78
    assert "ahead of this machine's" in said
    assert "run NTP on both machines" in said


async def test_a_failed_start_leaves_nothing_open(bus: Bus, tmp_path: Path) -> None:
    contexts: list[Context] = []

    class Failing(Told):
        async def start(self, context: Context) -> None:
            contexts.append(context)
            raise OSError("no luck")

    settings = Settings(nats_url=bus.url, prefix=bus.subjects.prefix, data_dir=tmp_path)
    with pytest.raises(OSError, match="no luck"):
        await open_context(settings, Failing(""))
    assert contexts[0].nc.is_closed


async def test_a_log_that_marks_know_of_and_that_is_not_there_ends_it_with_78(
    start: Start, bus: Bus, tmp_path: Path
) -> None:
    mark = Mark(log_id="log-a", epoch=1, seq=7, digest="d", at="t")
    await FileMarks(tmp_path / "marks.json", bus.subjects.prefix).save(mark)
    await bus.nc.request(f"$JS.API.STREAM.DELETE.{bus.names.log}", timeout=5)
    process = await start()
    _, said = await asyncio.wait_for(process.communicate(), PATIENCE)
    assert process.returncode == 78
    assert b"records 1 to 7" in said
    with pytest.raises(NotFoundError):
        await bus.nc.jetstream().stream_info(bus.names.log)


async def test_it_ends_when_the_log_was_restored_under_it(
    bus: Bus, start: Start, tmp_path: Path
) -> None:
    """To be started again: one that was stopped during a restore would keep its share of the work, and do nothing."""
    process = await start()
    assert (await line(process)).startswith("ready told")
    names = bus.names
    work = Restoring(bus.nc, bus.subjects, names.log, names.blobs, log_config(bus.subjects), "ann")
    await work.as_it_is()
    await work.close()
    code, said = await end(process)
    assert code == 1, "78 would be for ever"
    assert "the log was restored to epoch 2" in said
