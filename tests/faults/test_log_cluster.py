"""The log on three servers: guards are exact there too, and the loss of a leader costs nothing."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from nats.aio.client import Client

from partsong.contracts.wire.marks import Mark
from partsong.contracts.wire.subjects import Subjects
from partsong.log.jetstream import JetStreamLog
from partsong.log.leader import Leader
from partsong.log.marks import BucketMarks, FileMarks
from partsong.log.port import Appended, WrongSequence
from partsong.runtime.connect import connect, disconnect
from partsong.runtime.log_monitor import LogMonitor
from partsong.runtime.nats.server import EmbeddedNats
from partsong.runtime.settings import Settings
from partsong.runtime.streams import Names, log_differences, provision
from partsong.testing.log_suite import read_all
from partsong.testing.nats import Bus
from partsong.workflow import WorkflowGraph
from tests.faults.cluster import (
    PATIENCE,
    SIZE,
    a_cluster,
    leader_of,
    provisioned_client,
    urls,
)
from tests.system.platform import a_platform

pytestmark = pytest.mark.faults


@pytest.fixture
async def servers(tmp_path: Path) -> AsyncIterator[list[EmbeddedNats]]:
    async with a_cluster(tmp_path) as made:
        yield made


@pytest.fixture
async def nc(servers: list[EmbeddedNats], subjects: Subjects) -> AsyncIterator[Client]:
    async with provisioned_client(servers, subjects) as client:
        yield client


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
            leader = await leader_of(servers, nc, names.log)
            leader.kill()
            await log.append(subjects.fact("after"), b"", id="after")
            await leader.restart()
            enough.set()
        stored: dict[str, int] = {}
        while len(stored) <= len(acknowledged):
            stored = {r.id: r.seq for r in await read_all(log, subjects.log())}
    assert stored.pop("after")
    assert stored == acknowledged


async def test_runs_go_on_when_the_leader_of_the_log_is_killed_and_nobody_is_alarmed(
    servers: list[EmbeddedNats], nc: Client, subjects: Subjects
) -> None:
    names = Names.of(subjects)
    bus = Bus(nc, urls(servers), subjects, names)
    graph = WorkflowGraph("waiting").add_wait("w", signal="go")
    runs = [f"r_{n}" for n in range(20)]
    async with (
        asyncio.timeout(2 * PATIENCE),
        a_platform(bus, Settings(replicas=SIZE)) as platform,
    ):
        for run_id in runs:
            await platform.client.start(graph, run_id=run_id)
        leader = await leader_of(servers, nc, names.log)
        leader.kill()
        for run_id in runs[:10]:
            await platform.client.signal(run_id, "go")
        await leader.restart()
        for run_id in runs[10:]:
            await platform.client.signal(run_id, "go")
        for run_id in runs:
            assert (await platform.client.result(run_id)).status == "completed"
            assert (await platform.client.replay(run_id)).ok
        for running in platform.services.values():
            assert running.context.monitor.damage is None


async def test_streams_that_more_servers_hold_than_need_be_are_as_they_must_be(
    servers: list[EmbeddedNats],
    nc: Client,
    subjects: Subjects,
) -> None:
    """Who only looks, or was told nothing of the cluster, does not call it damage."""
    await provision(nc, subjects)
    leader = Leader(nc, subjects, Names.of(subjects).log)
    info = await leader.info()
    await leader.close()
    assert info is not None
    assert info["config"]["num_replicas"] == SIZE
    assert log_differences(subjects, info["config"]) == ()


class Says:
    """A place for marks that says a mark beyond the log's end so many times, and then nothing."""

    def __init__(self, mark: Mark, times: int) -> None:
        self._mark, self._times = mark, times

    async def load(self) -> tuple[Mark, ...]:
        self._times -= 1
        return (self._mark,) if self._times >= 0 else ()

    async def save(self, mark: Mark) -> None:
        pass


@pytest.mark.parametrize("times", [1, 2])
async def test_a_replicated_log_is_called_damaged_only_if_it_is_so_twice(
    times: int, tmp_path: Path, nc: Client, subjects: Subjects
) -> None:
    """What one answer says may be of a leader that is about to be another one."""
    leader = Leader(nc, subjects, Names.of(subjects).log)
    await leader.begin()
    identity = await leader.identity()
    await leader.close()
    assert identity is not None
    beyond = Mark(log_id=identity.log_id, epoch=1, seq=900, digest="0" * 64, at="")
    monitor = LogMonitor(
        nc,
        subjects,
        Names.of(subjects).log,
        file=FileMarks(tmp_path / "marks.json", subjects.prefix),
        bucket=BucketMarks(nc, Names.of(subjects).marks, "test"),
        more=[Says(beyond, times)],
    )
    await monitor.check()
    assert (monitor.damage is not None) == (times == 2)
    await monitor.stop()
