"""The log on three servers: guards are exact there too, and the loss of a leader costs nothing."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, ExitStack
from pathlib import Path

import pytest
from nats.aio.client import Client

from partsong.contracts.errors import Unavailable
from partsong.contracts.subjects import Subjects
from partsong.log.jetstream import JetStreamLog
from partsong.log.port import Appended, WrongSequence
from partsong.runtime.connect import connect, disconnect
from partsong.runtime.nats_server import EmbeddedNats, start_embedded
from partsong.runtime.streams import Names, provision
from partsong.testing.log_suite import read_all

pytestmark = pytest.mark.faults

SIZE = 3
PATIENCE = 90.0


def free_ports(count: int) -> list[int]:
    with ExitStack() as held:
        probes = [held.enter_context(socket.socket()) for _ in range(count)]
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [probe.getsockname()[1] for probe in probes]


@pytest.fixture
async def servers(tmp_path: Path) -> AsyncIterator[list[EmbeddedNats]]:
    """A cluster of three."""
    ports = free_ports(SIZE)
    routes = ", ".join(f'"nats://127.0.0.1:{port}"' for port in ports)
    async with AsyncExitStack() as stack:
        members = [
            start_embedded(
                tmp_path / f"n{n}",
                fast=True,
                config=f'server_name: n{n}\ncluster {{ name: c, listen: "127.0.0.1:{port}", routes: [{routes}] }}',
            )
            for n, port in enumerate(ports)
        ]
        yield list(await asyncio.gather(*map(stack.enter_async_context, members)))


@pytest.fixture
async def nc(servers: list[EmbeddedNats], subjects: Subjects) -> AsyncIterator[Client]:
    client = await connect(",".join(server.url for server in servers), name="test", within=30)
    async with asyncio.timeout(PATIENCE):
        while not await provisioned(client, subjects):  # noqa: ASYNC110 — there is no event for it
            await asyncio.sleep(0.2)
    yield client
    await disconnect(client)


async def provisioned(client: Client, subjects: Subjects) -> bool:
    """False while the cluster still elects its leader."""
    try:
        await provision(client, subjects, replicas=SIZE, within=5)
    except Unavailable as error:
        if error.problem.code != "streams.no_answer":
            raise
        return False
    return True


async def test_one_of_racing_guarded_writers_wins_on_three_servers(
    servers: list[EmbeddedNats], nc: Client, subjects: Subjects
) -> None:
    """Each writer talks to another server; an unguarded one disturbs them on a subject beside theirs."""
    names = Names.of(subjects)
    clients = [await connect(server.url, name="writer") for server in servers]
    logs = [JetStreamLog(client, stream=names.log, blobs=names.blobs) for client in clients]
    subject, last, winners = subjects.engine("r_1"), 0, []

    async def write(writer: int, turn: int) -> Appended | WrongSequence:
        try:
            return await logs[writer % SIZE].append(
                subject, b"x", id=f"{turn}.{writer}", expect=last
            )
        except WrongSequence as error:
            return error

    async with asyncio.timeout(PATIENCE):
        for turn in range(30):
            *outcomes, _ = await asyncio.gather(
                *(write(writer, turn) for writer in range(6)),
                logs[turn % SIZE].append(subjects.fact("r_1"), b"", id=f"{turn}.fact"),
            )
            won = [outcome for outcome in outcomes if isinstance(outcome, Appended)]
            assert len(won) == 1, outcomes
            last = won[0].seq
            winners.append(last)
        stored = await read_all(logs[0], subject)
        while len(stored) < len(winners):  # a follower may be behind
            stored = await read_all(logs[0], subject)
    assert [record.seq for record in stored] == winners
    for client in clients:
        await disconnect(client)


async def test_killing_the_leader_loses_and_repeats_nothing(
    servers: list[EmbeddedNats], nc: Client, subjects: Subjects
) -> None:
    names = Names.of(subjects)
    log = JetStreamLog(nc, stream=names.log, blobs=names.blobs, deadline=60)
    acknowledged: dict[str, int] = {}
    under_way, enough = asyncio.Event(), asyncio.Event()

    async def write(subject: str, *, guarded: bool) -> None:
        last, n = 0, 0
        while not enough.is_set():
            id = f"{subject}.{n}"
            done = await log.append(subject, b"x", id=id, expect=last if guarded else None)
            acknowledged[id] = last = done.seq
            n += 1
            if len(acknowledged) > 100:
                under_way.set()

    async with asyncio.timeout(PATIENCE):
        async with asyncio.TaskGroup() as writers:
            for n in range(3):
                writers.create_task(write(subjects.engine(f"g{n}"), guarded=True))
                writers.create_task(write(subjects.fact(f"f{n}"), guarded=False))
            await under_way.wait()
            info = json.loads(
                (await nc.request(f"$JS.API.STREAM.INFO.{names.log}", timeout=10)).data
            )
            leader = servers[int(info["cluster"]["leader"].removeprefix("n"))]
            leader.kill()
            await log.append(subjects.fact("after"), b"", id="after")
            await leader.restart()
            enough.set()
        stored: dict[str, int] = {}
        while len(stored) <= len(acknowledged):
            stored = {r.id: r.seq for r in await read_all(log, subjects.log())}
    assert stored.pop("after")
    assert stored == acknowledged
