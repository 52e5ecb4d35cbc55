"""Snapshots in JetStream, in files, in Redis and in memory keep the promises of the port."""

# ruff: noqa: ASYNC220, ASYNC240 — the files and the process are what is tested here

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Mapping
from dataclasses import replace
from pathlib import Path

import pytest
from redis.asyncio import Redis

from partsong.contracts.errors import Unavailable
from partsong.contracts.wire.subjects import Subjects
from partsong.log.snapshots.file import FileSnapshots
from partsong.log.snapshots.kv import KvSnapshots
from partsong.log.snapshots.memory import MemorySnapshots
from partsong.log.snapshots.port import Snapshot, Snapshots
from partsong.log.snapshots.redis import RedisSnapshots
from partsong.log.snapshots.retention import Retention
from partsong.runtime.connect import connect, disconnect
from partsong.runtime.nats.server import EmbeddedNats
from partsong.runtime.streams import Names, table
from partsong.testing.nats import Bus
from partsong.testing.snapshot_suite import DurableSnapshotSuite, Pieces, Reopen, SnapshotSuite

SMALL = Snapshot("r_1", 7, "v1", b'{"state":{}}', hash="h7")


class TestMemorySnapshots(SnapshotSuite):
    @pytest.fixture
    def snapshots(self, retention: Retention) -> Snapshots:
        return MemorySnapshots(retention=retention)


@pytest.fixture
async def bucket(nats_url: str, subjects: Subjects) -> AsyncIterator[Bus]:
    """A connection and the one stream of the bus that is needed here."""
    names = Names.of(subjects)
    (spec,) = (one for one in table(subjects).streams if one.name == f"KV_{names.snapshots}")
    config = {field: value for field, value in spec.config.items() if value not in ("", [])}
    nc = await connect(nats_url, name="test")
    created = await nc.request(
        f"$JS.API.STREAM.CREATE.{spec.name}", json.dumps({"name": spec.name, **config}).encode()
    )
    assert "error" not in json.loads(created.data)
    yield Bus(nc, nats_url, subjects, names)
    await nc.jetstream().delete_stream(spec.name)
    await disconnect(nc)


class KvPieces:
    def __init__(self, bucket: Bus) -> None:
        self._js, self._bucket = bucket.nc.jetstream(), bucket.names.snapshots

    async def read(self, run_id: str, seq: int) -> Mapping[str, bytes]:
        stream, filter = f"KV_{self._bucket}", f"$KV.{self._bucket}.{run_id}.{seq}.>"
        info = await self._js.stream_info(stream, subjects_filter=filter)
        names = sorted(info.state.subjects or {})
        return {name: (await self._js.get_last_msg(stream, name)).data or b"" for name in names}

    async def write(self, name: str, data: bytes | None) -> None:
        if data is None:
            await self._js.purge_stream(f"KV_{self._bucket}", subject=name)
        else:
            await self._js.publish(name, data)


class TestKvSnapshots(DurableSnapshotSuite):
    @pytest.fixture
    async def snapshots(self, bucket: Bus, retention: Retention) -> AsyncIterator[Snapshots]:
        kv = KvSnapshots(bucket.nc, bucket=bucket.names.snapshots, retention=retention)
        yield kv
        await kv.close()

    @pytest.fixture
    async def reopen(self, bucket: Bus, retention: Retention) -> AsyncIterator[Reopen]:
        nc = await connect(bucket.url, name="another process")

        async def open_elsewhere() -> Snapshots:
            return KvSnapshots(nc, bucket=bucket.names.snapshots, retention=retention)

        yield open_elsewhere
        await nc.close()

    @pytest.fixture
    def pieces(self, bucket: Bus) -> Pieces:
        return KvPieces(bucket)


class FilePieces:
    def __init__(self, files: FileSnapshots) -> None:
        self._files = files

    async def read(self, run_id: str, seq: int) -> Mapping[str, bytes]:
        path = self._files.folder(run_id) / f"{seq}.snapshot"
        return {str(path): path.read_bytes()}

    async def write(self, name: str, data: bytes | None) -> None:
        if data is None:
            Path(name).unlink()
        else:
            Path(name).write_bytes(data)


class TestFileSnapshots(DurableSnapshotSuite):
    @pytest.fixture
    def snapshots(self, tmp_path: Path, retention: Retention) -> FileSnapshots:
        return FileSnapshots(tmp_path / "not" / "there", retention=retention)

    @pytest.fixture
    def reopen(self, tmp_path: Path, retention: Retention) -> Reopen:
        async def open_again() -> Snapshots:
            return FileSnapshots(tmp_path / "not" / "there", retention=retention)

        return open_again

    @pytest.fixture
    def pieces(self, snapshots: FileSnapshots) -> Pieces:
        return FilePieces(snapshots)


class RedisPieces:
    def __init__(self, client: Redis) -> None:
        self._client = client

    async def read(self, run_id: str, seq: int) -> Mapping[str, bytes]:
        key = f"partsong_snapshots:{run_id}"
        found: dict[str, bytes] = {}
        for field in (str(seq), f"{seq}:body"):
            value = await self._client.hget(key, field)
            assert isinstance(value, bytes)
            found[f"{key} {field}"] = value
        return found

    async def write(self, name: str, data: bytes | None) -> None:
        key, field = name.split(" ")
        if data is None:
            await self._client.hdel(key, field)
        else:
            await self._client.hset(key, field, data)


class TestRedisSnapshots(DurableSnapshotSuite):
    @pytest.fixture
    def snapshots(self, redis: Redis, retention: Retention) -> Snapshots:
        return RedisSnapshots(redis, retention=retention)

    @pytest.fixture
    async def reopen(self, redis_url: str, retention: Retention) -> AsyncIterator[Reopen]:
        client: Redis = Redis.from_url(redis_url)

        async def open_elsewhere() -> Snapshots:
            return RedisSnapshots(client, retention=retention)

        yield open_elsewhere
        await client.aclose()

    @pytest.fixture
    def pieces(self, redis: Redis) -> Pieces:
        return RedisPieces(redis)


async def stored_keys(bucket: Bus) -> list[str]:
    info = await bucket.nc.jetstream().stream_info(
        f"KV_{bucket.names.snapshots}", subjects_filter=">"
    )
    return sorted(info.state.subjects or {})


async def test_nothing_remains_in_the_bucket_of_what_is_deleted(bucket: Bus) -> None:
    kv = KvSnapshots(bucket.nc, bucket=bucket.names.snapshots, retention=Retention(1, 0))
    for seq in range(1, 5):
        await kv.put(Snapshot("r_1", seq, "v1", b"x" * 600_000, hash=""))
    assert len(await stored_keys(bucket)) == 3, "a head and two pieces"
    await kv.delete("r_1")
    assert await stored_keys(bucket) == []
    await kv.close()


async def test_pieces_whose_head_never_came_go_with_the_next_put(bucket: Bus) -> None:
    """A writer is killed between its pieces and its head."""
    kv, root = (
        KvSnapshots(bucket.nc, bucket=bucket.names.snapshots),
        f"$KV.{bucket.names.snapshots}.r_1",
    )
    await bucket.nc.jetstream().publish(f"{root}.5.{'a' * 64}.0", b"half")
    assert await kv.list("r_1") == []
    assert await kv.newest("r_1") is None
    await kv.put(SMALL)
    assert all(key.startswith(f"{root}.7.") for key in await stored_keys(bucket))
    assert await kv.newest("r_1") == SMALL
    await kv.close()


async def test_keys_of_others_in_the_bucket_are_passed_over(bucket: Bus) -> None:
    kv, root = (
        KvSnapshots(bucket.nc, bucket=bucket.names.snapshots),
        f"$KV.{bucket.names.snapshots}.r_1",
    )
    for key in (f"{root}.notes.head", f"{root}.notes", f"{root}.9"):
        await bucket.nc.jetstream().publish(key, b"hello")
    await kv.put(SMALL)
    assert await kv.list("r_1") == [7]
    assert await kv.newest("r_1") == SMALL
    await kv.close()


async def test_every_message_of_a_snapshot_has_the_time_it_may_live(bucket: Bus) -> None:
    kv = KvSnapshots(bucket.nc, bucket=bucket.names.snapshots, ttl=3600)
    await kv.put(replace(SMALL, body=b"x" * 300_000))
    js = bucket.nc.jetstream()
    stored = [
        await js.get_last_msg(f"KV_{bucket.names.snapshots}", key)
        for key in await stored_keys(bucket)
    ]
    assert [(message.headers or {}).get("Nats-TTL") for message in stored] == ["3600s"] * 2
    await kv.close()


async def test_a_snapshot_whose_time_is_over_is_gone(bucket: Bus) -> None:
    kv = KvSnapshots(bucket.nc, bucket=bucket.names.snapshots, ttl=1)
    await kv.put(SMALL)
    async with asyncio.timeout(30):
        while await stored_keys(bucket):  # noqa: ASYNC110 — there is no event for it
            await asyncio.sleep(0.05)
    assert await kv.newest("r_1") is None
    await kv.close()


async def test_without_a_bucket_or_a_server_every_method_says_so_in_time(
    nats_server: EmbeddedNats,
) -> None:
    async with asyncio.timeout(30):
        nc = await connect(nats_server.url, name="test")
        kv = KvSnapshots(nc, attempt=0.1, deadline=0.2)
        for kill in (False, True):
            if kill:
                nats_server.kill()
            for call in (kv.put(SMALL), kv.newest("r_1"), kv.list("r_1"), kv.delete("r_1")):
                with pytest.raises(Unavailable):
                    await call
        await kv.close()
        await disconnect(nc)


WRITER = """
import asyncio, sys
from pathlib import Path
from partsong.contracts.wire.subjects import Subjects
from partsong.log.snapshots.file import FileSnapshots
from partsong.log.snapshots.port import Snapshot

async def main() -> None:
    files = FileSnapshots(Path(sys.argv[1]))
    for seq in range(1, 10**9):
        await files.put(Snapshot("r_1", seq, "v1", b"%d " % seq * 100_000, hash=str(seq)))
        print(seq, flush=True)

asyncio.run(main())
"""


async def test_a_writer_that_is_killed_leaves_only_whole_files(tmp_path: Path) -> None:
    last = 0
    with subprocess.Popen(
        [sys.executable, "-c", WRITER, str(tmp_path)], stdout=subprocess.PIPE, text=True
    ) as writer:
        assert writer.stdout is not None
        for _, line in zip(range(20), writer.stdout, strict=False):
            last = int(line)
        writer.kill()
    files = FileSnapshots(tmp_path)
    newest = await files.newest("r_1")
    assert newest is not None
    assert newest.seq >= last == 20
    assert newest.body == b"%d " % newest.seq * 100_000
    assert await files.newest("r_1", up_to=last) is not None


async def test_what_a_killed_writer_left_unfinished_goes_when_it_is_old(tmp_path: Path) -> None:
    files = FileSnapshots(tmp_path)
    await files.put(SMALL)
    young, old = (files.folder("r_1") / f"5.1.{name}.part" for name in ("young", "old"))
    for path in (young, old):
        path.write_bytes(b"half")
    os.utime(old, (0, 0))
    await files.put(SMALL)
    assert (young.exists(), old.exists()) == (True, False)
    assert await files.list("r_1") == [7]
    await files.delete("r_1")
    assert list(tmp_path.iterdir()) == []


async def test_other_files_in_a_folder_are_passed_over(tmp_path: Path) -> None:
    files = FileSnapshots(tmp_path)
    await files.put(SMALL)
    for name in ("notes.txt", "notes.snapshot", "8.snapshot.bak"):
        (files.folder("r_1") / name).write_bytes(b"hello")
    assert await files.list("r_1") == [7]
    assert await files.newest("r_1") == SMALL


async def test_a_directory_that_is_none_is_an_error_that_names_it(tmp_path: Path) -> None:
    taken = tmp_path / "taken"
    taken.write_bytes(b"")
    files = FileSnapshots(taken)
    for call in (files.put(SMALL), files.newest("r_1"), files.list("r_1")):
        with pytest.raises(Unavailable) as refused:
            await call
        assert refused.value.problem.code == "snapshots.disk"
        assert refused.value.problem.where == str(taken)


async def test_a_run_is_one_key_that_expires_as_a_whole(redis: Redis) -> None:
    snapshots = RedisSnapshots(redis, retention=Retention(2, 0), ttl=3600)
    for seq in (1, 2, 3):
        await snapshots.put(Snapshot("r_1", seq, "v1", b"x", hash=""))
    assert await redis.keys() == [b"partsong_snapshots:r_1"]
    assert await redis.hlen("partsong_snapshots:r_1") == 4
    assert 3000 < await redis.ttl("partsong_snapshots:r_1") <= 3600
    await redis.expire("partsong_snapshots:r_1", 0)
    assert await snapshots.newest("r_1") is None
    assert await snapshots.list("r_1") == []
