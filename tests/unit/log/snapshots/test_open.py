"""Snapshots by URL: each store by its name, each mistake told without its secrets."""

from __future__ import annotations

import asyncio
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from redis.asyncio import Redis

from partsong.contracts.errors import InvalidInput, Unavailable
from partsong.log.snapshots.open import open_snapshots
from partsong.log.snapshots.port import Snapshot, Snapshots
from partsong.testing.nats import Bus

SMALL = Snapshot("r_1", 7, "v1", b'{"state":{}}', hash="h7")


async def test_without_a_redis_every_method_says_so() -> None:
    with socket.socket() as closed:  # bound, but it does not listen
        closed.bind(("127.0.0.1", 0))
        url = f"redis://:secret@127.0.0.1:{closed.getsockname()[1]}/0"
        async with open_snapshots(url) as snapshots:
            for call in (snapshots.put(SMALL), snapshots.newest("r_1"), snapshots.delete("r_1")):
                with pytest.raises(Unavailable) as refused:
                    await call
                assert refused.value.problem.code == "snapshots.redis"
                assert "secret" not in str(refused.value)


async def test_none_keeps_nothing() -> None:
    async with open_snapshots("none:") as snapshots:
        await snapshots.put(SMALL)
        assert await snapshots.newest("r_1") is None
        assert await snapshots.list("r_1") == []
        await snapshots.delete("r_1")


async def test_the_url_of_the_bus_names_its_bucket(bus: Bus) -> None:
    url = "kv:?newest=1&older=1&ttl=1m"
    async with open_snapshots(url, nc=bus.nc, name=bus.names.snapshots) as snapshots:
        await assert_two_are_kept(snapshots)
    assert not bus.nc.is_closed


async def test_the_url_of_a_directory_names_it(tmp_path: Path) -> None:
    async with open_snapshots(f"file:{tmp_path}/a%20b?newest=1&older=1") as snapshots:
        await assert_two_are_kept(snapshots)
    assert len(list((tmp_path / "a b").iterdir())) == 1


async def test_the_url_of_a_redis_may_have_options_of_redis_too(
    redis: Redis, redis_url: str
) -> None:
    url = f"{redis_url}?newest=1&older=1&ttl=60&health_check_interval=5"
    async with open_snapshots(url, name="songs") as snapshots:
        await assert_two_are_kept(snapshots)
    assert await redis.keys() == [b"songs:r_1"]


async def test_the_url_of_memory_needs_nothing() -> None:
    async with open_snapshots("memory:?newest=1&older=1") as snapshots:
        await assert_two_are_kept(snapshots)


async def assert_two_are_kept(snapshots: Snapshots) -> None:
    for seq in (1, 2, 3):
        await snapshots.put(Snapshot("r_1", seq, "v1", b"x", hash=""))
    assert len(await snapshots.list("r_1")) == 2


@pytest.mark.parametrize(
    "url",
    [
        "",
        "kv:",
        "kv",
        "kv://bucket",
        "file:",
        "file://host/path",
        "ftp://u:secret@h/x",
        "u:secret@h",
        "redis://h:secret/0",
        "redis://:secret@h/0?socket_timeout=soon",
        "memory:x",
        "none:?newest=3&colour=red",
        "memory:?newest=0",
        "memory:?older=-1",
        "memory:?newest=many",
        "memory:?ttl=5",
    ],
)
async def test_a_url_that_names_no_store_is_refused(url: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        async with open_snapshots(url):
            pytest.fail("it was opened")
    assert refused.value.problem.code == "settings.invalid"
    assert refused.value.problem.where == "PARTSONG_SNAPSHOTS"
    assert "secret" not in str(refused.value)


@pytest.mark.parametrize("ttl", ["0", "-1", "soon", "P1M", "nan"])
async def test_a_ttl_is_a_duration(ttl: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        async with open_snapshots(f"redis://h?ttl={ttl}"):
            pytest.fail("it was opened")
    problem = refused.value.problem
    assert (problem.code, problem.where) == ("duration.invalid", "PARTSONG_SNAPSHOTS: ttl")


async def test_without_the_extra_a_redis_is_refused_with_what_to_install() -> None:
    script = """
import asyncio, sys
sys.modules["redis"] = sys.modules["redis.asyncio"] = None
from partsong.contracts.errors import Unavailable
from partsong.log.snapshots.open import open_snapshots

async def main() -> None:
    try:
        async with open_snapshots("redis://127.0.0.1"):
            pass
    except Unavailable as error:
        print(error.problem.code, error.problem.fix)

asyncio.run(main())
"""
    done = await asyncio.to_thread(
        subprocess.run,
        [sys.executable, "-c", script],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert done.stdout.strip() == "snapshots.no_driver pip install 'partsong[redis]'"
