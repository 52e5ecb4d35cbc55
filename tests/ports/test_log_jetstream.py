"""The log in JetStream keeps the promises of the port, also while the server is killed under it."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import os
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing

import pytest
from nats.aio.msg import Msg

from partsong.contracts.errors import Unavailable
from partsong.contracts.wire.subjects import Subjects
from partsong.log.jetstream import JetStreamLog
from partsong.log.port import Append, Appended, Log, WrongSequence
from partsong.log.walk import walk
from partsong.runtime.connect import connect
from partsong.runtime.nats.server import EmbeddedNats
from partsong.testing.durable_log_suite import DurableLogSuite, Reopen
from partsong.testing.log_suite import read_all, take
from partsong.testing.nats import Bus, a_bus


class TestJetStreamLog(DurableLogSuite):
    @pytest.fixture
    def root(self, bus: Bus) -> str:
        return f"{bus.subjects.prefix}.log"

    @pytest.fixture
    async def log(self, bus: Bus) -> AsyncIterator[Log]:
        log = bus.log()
        yield log
        await log.close()

    @pytest.fixture
    async def reopen(self, bus: Bus) -> AsyncIterator[Reopen]:
        nc = await connect(bus.url, name="another process")

        async def open_elsewhere() -> Log:
            return JetStreamLog(nc, stream=bus.names.log, blobs=bus.names.blobs)

        yield open_elsewhere
        await nc.close()


@pytest.fixture
async def own(nats_server: EmbeddedNats, subjects: Subjects) -> AsyncIterator[Bus]:
    """A bus on a server that the test may kill."""
    async with a_bus(nats_server.url, subjects) as bus:
        yield bus


async def stored_raw(bus: Bus, seq: int) -> tuple[dict[str, str], bytes]:
    message = await bus.nc.jetstream().get_msg(bus.names.log, seq)
    return message.headers or {}, message.data or b""


async def test_a_big_body_is_stored_once_beside_the_stream(bus: Bus) -> None:
    log, body = bus.log(), bytes(range(256)) * 4096
    name = f"sha256:{hashlib.sha256(body).hexdigest()}"
    for n in range(2):
        await log.append(bus.subjects.fact("r_1"), body, id=f"{n}")
    headers, small = await stored_raw(bus, 1)
    assert headers["Partsong-Blob"] == name
    assert json.loads(small) == {"blob": name, "bytes": len(body)}
    objects = await (await bus.nc.jetstream().object_store(bus.names.blobs)).list()
    assert [(info.name, info.size) for info in objects] == [(name, len(body))]


async def test_any_nats_client_can_fetch_a_big_body(bus: Bus) -> None:
    body = b"0123456789" * 70_000
    await bus.log().append(bus.subjects.fact("r_1"), body, id="1")
    store = await bus.nc.jetstream().object_store(bus.names.blobs)
    found = await store.get(f"sha256:{hashlib.sha256(body).hexdigest()}")
    assert found.data == body


async def test_a_changed_big_body_comes_with_its_problem(bus: Bus) -> None:
    body = b"a" * 300_000
    name = f"sha256:{hashlib.sha256(body).hexdigest()}"
    log = bus.log()
    await log.append(bus.subjects.fact("r_1"), body, id="1")
    store = await bus.nc.jetstream().object_store(bus.names.blobs)
    await store.put(name, b"b" * 300_000)
    corrupt = await log.last(bus.subjects.fact("r_1"))
    assert corrupt is not None
    assert corrupt.problem is not None
    assert (corrupt.problem.code, corrupt.body) == ("log.blob_corrupt", b"")
    await store.delete(name)
    (missing,) = await read_all(log, bus.subjects.fact("r_1"))
    assert missing.problem is not None
    assert (missing.problem.code, missing.body) == ("log.blob_missing", b"")


@pytest.mark.parametrize(
    "told",
    [
        b"not json",
        b"[" * 5_000,
        b"[]",
        b"{}",
        b'{"nuid": 7, "size": 1, "chunks": 1}',
        b'{"nuid": "n", "size": 1, "chunks": "1e9"}',
        b'{"nuid": "n", "size": 1000000000000, "chunks": 4000000}',
    ],
)
async def test_a_body_whose_description_is_none_is_corrupt_and_can_be_stored_again(
    bus: Bus, told: bytes
) -> None:
    body = b"a" * 300_000
    name = f"sha256:{hashlib.sha256(body).hexdigest()}"
    log = bus.log()
    await log.append(bus.subjects.fact("r_1"), body, id="1")
    meta = f"$O.{bus.names.blobs}.M.{base64.urlsafe_b64encode(name.encode()).decode()}"
    await bus.nc.jetstream().publish(meta, told, headers={"Nats-Rollup": "sub"})
    last = await log.last(bus.subjects.fact("r_1"))
    assert last is not None
    assert last.problem is not None
    assert last.problem.code == "log.blob_corrupt"
    if b"1000000000000" not in told and b"nuid" not in told:
        assert await log.blobs.put(body) == name
        assert await log.blobs.get(name) == body


async def test_no_more_of_a_body_is_read_than_its_reader_takes(bus: Bus) -> None:
    log, body = bus.log(), b"a" * 2_000_000
    name = await log.blobs.put(body)
    with pytest.raises(Unavailable, match="at most 1000 are read"):
        await log.blobs.get(name, most=1000)
    store = f"$O.{bus.names.blobs}.M.{base64.urlsafe_b64encode(name.encode()).decode()}"
    told = json.loads(
        (await bus.nc.jetstream().get_last_msg(f"OBJ_{bus.names.blobs}", store)).data or b""
    )
    lie = json.dumps({**told, "size": 10}).encode()
    await bus.nc.jetstream().publish(store, lie, headers={"Nats-Rollup": "sub"})
    with pytest.raises(Unavailable, match=r"log\.blob_corrupt"):
        await log.blobs.get(name, most=1000)


@pytest.mark.parametrize("name", ["", "x", "sha256:", "sha256:" + "1" * 63, "a.b", "*", ">", "\n"])
async def test_what_cannot_be_a_bodys_name_is_missing_at_once(bus: Bus, name: str) -> None:
    async with asyncio.timeout(5):
        with pytest.raises(Unavailable, match=r"log\.blob_missing"):
            await bus.log().blobs.get(name)


async def test_an_append_without_a_stream_fails_at_once_and_says_so(bus: Bus) -> None:
    log = JetStreamLog(bus.nc, stream="NOBODY", deadline=60)
    with pytest.raises(Unavailable) as missing:
        async with asyncio.timeout(30):
            await log.append("nobody.log.1.a.fact", b"", id="1")
    assert missing.value.problem.code == "log.refused"
    assert "stream not found" in missing.value.problem.message


def freeze(pid: int) -> None:
    """Stop a child, and see it stopped: until then it may still answer."""
    os.kill(pid, signal.SIGSTOP)
    os.waitid(os.P_PID, pid, os.WSTOPPED)


@pytest.mark.parametrize("fate", ["kill", "freeze"])
async def test_without_a_server_every_method_fails_at_its_deadline(
    own: Bus, nats_server: EmbeddedNats, fate: str
) -> None:
    log = JetStreamLog(
        own.nc, stream=own.names.log, blobs=own.names.blobs, attempt=0.2, deadline=0.6
    )
    await own.log().append(own.subjects.fact("r_1"), b"", id="1")
    if fate == "kill":
        nats_server.kill()
    else:
        freeze(nats_server.pid)
    tail = log.tail(own.subjects.log())
    calls: list[Callable[[], Awaitable[object]]] = [
        lambda: log.append(own.subjects.fact("r_1"), b"", id="2"),
        lambda: log.append(own.subjects.fact("r_1"), b"x" * 300_000, id="3"),
        lambda: log.last(own.subjects.fact("r_1")),
        log.head,
        lambda: read_all(log, own.subjects.log()),
        lambda: take(tail, 1),
    ]
    try:
        for call in calls:
            with pytest.raises(Unavailable) as failed:
                async with asyncio.timeout(30):
                    await call()
            assert failed.value.problem.code == "nats.no_answer"
            assert failed.value.problem.retryable
    finally:
        if fate == "freeze":
            os.kill(nats_server.pid, signal.SIGCONT)


async def test_a_closed_connection_is_said_at_once(own: Bus) -> None:
    log = JetStreamLog(own.nc, stream=own.names.log, deadline=600)
    await own.nc.close()
    with pytest.raises(Unavailable) as closed:
        await log.append(own.subjects.fact("r_1"), b"", id="1")
    assert closed.value.problem.code == "nats.closed"


class Acknowledged(dict[str, int]):
    """Id to sequence of every append that returned; tells when there are enough."""

    def __init__(self) -> None:
        super().__init__()
        self._changed = asyncio.Event()

    def note(self, id: str, seq: int) -> None:
        self[id] = seq
        self._changed.set()

    async def grow_by(self, count: int) -> None:
        goal = len(self) + count
        while len(self) < goal:
            self._changed.clear()
            await self._changed.wait()


async def test_killing_the_server_loses_and_repeats_nothing(
    own: Bus, nats_server: EmbeddedNats
) -> None:
    """Concurrent appenders, guarded and not, and a tail, across three kills with -9."""
    log, acknowledged, enough = own.log(), Acknowledged(), asyncio.Event()

    async def write(subject: str, *, guarded: bool) -> None:
        last, n = 0, 0
        while not enough.is_set():
            id = f"{subject}.{n}"
            done = await log.append(subject, b"x", id=id, expect=last if guarded else None)
            acknowledged.note(id, done.seq)
            last, n = done.seq, n + 1

    async def watch() -> list[tuple[int, str]]:
        async with aclosing(log.tail(own.subjects.log())) as records:
            seen: list[tuple[int, str]] = []
            async for record in records:
                if record.id == "the end":
                    break
                seen.append((record.seq, record.id))
            return seen

    async with asyncio.timeout(100):
        watching = asyncio.create_task(watch())
        async with asyncio.TaskGroup() as writers:
            for n in range(5):
                writers.create_task(write(own.subjects.engine(f"g{n}"), guarded=True))
                writers.create_task(write(own.subjects.fact(f"f{n}"), guarded=False))
            for _ in range(3):
                await acknowledged.grow_by(300)
                nats_server.kill()
                await nats_server.restart()
            await acknowledged.grow_by(100)
            enough.set()
        await log.append(own.subjects.fact("last"), b"", id="the end")
        seen = await watching
    stored = [(r.seq, r.id) for r in await read_all(log, own.subjects.log())][:-1]
    assert seen == stored, "the tail saw everything once, in order"
    assert len({id for _, id in stored}) == len(stored), "nothing is stored twice"
    assert {id: seq for seq, id in stored} == acknowledged, "exactly what was acknowledged"


async def test_a_long_read_goes_on_after_the_server_was_killed(
    own: Bus, nats_server: EmbeddedNats
) -> None:
    log = own.log()
    await asyncio.gather(
        *(log.append(own.subjects.fact(f"r{n % 3}"), b"x", id=f"{n}") for n in range(3000))
    )
    seen = []
    async for record in log.read(own.subjects.log()):
        seen.append(record.seq)
        if record.seq == 1000:
            nats_server.kill()
            await nats_server.restart()
    assert seen == list(range(1, 3001))


async def test_a_tail_survives_the_loss_of_its_consumer(bus: Bus) -> None:
    """A consumer that nobody pulls from is removed by the server; whoever deletes one does no harm."""
    log, js = bus.log(), bus.nc.jetstream()
    subject = bus.subjects.fact("r_1")
    async with aclosing(log.tail(subject)) as records:
        for n in range(3):
            await log.append(subject, b"", id=f"{n}")
            assert (await take(records, 1))[0].id == f"{n}"
            for consumer in await js.consumers_info(bus.names.log):
                if not consumer.config.durable_name:
                    await js.delete_consumer(bus.names.log, consumer.name)


async def test_reading_leaves_no_consumer_behind(bus: Bus) -> None:
    log = bus.log()
    await asyncio.gather(*(log.append(bus.subjects.fact("r"), b"", id=f"{n}") for n in range(300)))
    before = (await bus.nc.jetstream().stream_info(bus.names.log)).state.consumer_count
    assert len(await read_all(log, bus.subjects.log())) == 300
    async with aclosing(log.tail(bus.subjects.log())) as records:
        await take(records, 1)
    await bus.nc.flush()
    await log.head()
    after = (await bus.nc.jetstream().stream_info(bus.names.log)).state.consumer_count
    assert after == before


async def test_a_zombies_commit_is_refused_after_a_new_owner(bus: Bus) -> None:
    subject, ours, theirs = bus.subjects.engine("r_1"), bus.log(), bus.log()
    first = await ours.append(subject, b"", id="1", expect=0)
    taken = await theirs.append(subject, b"", id="owner.changed", expect=first.seq)
    with pytest.raises(WrongSequence) as refused:
        await ours.append(subject, b"", id="2", expect=first.seq)
    assert refused.value.found == taken.seq


async def test_an_append_whose_first_answer_was_lost_is_found_in_the_log(bus: Bus) -> None:
    """One server checks the guard before it looks for duplicates, so its answer is 10071."""
    subject = bus.subjects.engine("r_1")
    ack = await bus.nc.jetstream().publish(subject, b"1", headers={"Nats-Msg-Id": "1"})
    await bus.log().append(subject, b"2", id="2", expect=ack.seq)
    assert await bus.log().append(subject, b"1", id="1", expect=0) == Appended(1, duplicate=True)


async def test_a_server_that_ends_pulls_early_cuts_no_walk_short(bus: Bus) -> None:
    """It does, to all that are under way at once, whenever it looks whether a consumer is idle: at 30 s, at 60 s."""
    log = bus.log()
    for begin in range(0, 2000, 500):
        await log.append_together(
            [
                Append(bus.subjects.fact(f"r_{n}"), b"x", id=f"x{n}")
                for n in range(begin, begin + 500)
            ]
        )
    ended: dict[str, int] = {}

    async def end_early(pull: Msg) -> None:
        ended[pull.reply] = ended.get(pull.reply, 0) + 1
        early = {"Status": "404", "Nats-Pending-Messages": "0"}
        for _ in range(2):
            await bus.nc.publish(pull.reply, headers=early)

    pulls = f"$JS.API.CONSUMER.MSG.NEXT.{bus.names.log}.>"
    await bus.nc.subscribe(pulls, cb=end_early)
    await bus.nc.flush()
    found = [record.seq async for record in log.read(bus.subjects.log())]
    assert len(found) == 2000
    walked = walk(bus.nc, bus.names.log, bus.subjects.log(), upto=await log.head())
    assert [raw.seq async for raw in walked] == found
    assert len(ended) == 2, "two walks, each by one consumer"
    assert min(ended.values()) > 2, "they pulled more than once, and were told each time"
