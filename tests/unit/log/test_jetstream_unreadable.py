"""A record whose bytes went bad on disk breaks its run: lists, walks and all other runs go on, and it is named."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing

import pytest

from partsong.client import Client
from partsong.contracts.errors import Unavailable
from partsong.contracts.wire.subjects import Subjects
from partsong.log.jetstream import JetStreamLog
from partsong.log.summaries import summaries
from partsong.runtime.nats.server import EmbeddedNats
from partsong.testing.log_suite import read_all
from partsong.testing.nats import Bus, a_bus
from tests.support.damage import damaged

RUNS = [f"r_{n}" for n in range(12)]
BAD = "r_5"


@pytest.fixture
async def hurt(nats_server: EmbeddedNats, subjects: Subjects) -> AsyncIterator[Bus]:
    """A log of twelve runs of two commits; the newest of `r_5` is unreadable, and so is a fact of `r_7`."""
    async with a_bus(nats_server.url, subjects) as bus:
        log = bus.log()
        for n in (1, 2):
            for run in RUNS:
                headers = {"Partsong-Status": "running" if n == 1 else "completed"}
                body = f"{run} commit {n} ".encode() * 9
                await log.append(subjects.engine(run), body, id=f"{run}.{n}", headers=headers)
        await log.append(subjects.fact("r_7"), b"r_7 fact ", id="fact")
        async with damaged(nats_server, bus.names.log, b"r_5 commit 2", b"r_7 fact"):
            yield bus


async def test_the_list_of_runs_is_whole_and_says_which_one_is_damaged(hurt: Bus) -> None:
    found = {
        s.subject: s async for s in summaries(hurt.nc, hurt.names.log, hurt.subjects.commits())
    }
    assert sorted(found) == sorted(hurt.subjects.engine(run) for run in RUNS)
    assert [s for s, summary in found.items() if summary.broken] == [hurt.subjects.engine(BAD)]
    async with Client(hurt.url, prefix=hurt.subjects.prefix) as client:
        listed = {run.run_id: run.status for run in await client.runs()}
        assert listed.pop(BAD) == "damaged"
        assert listed == dict.fromkeys((run for run in RUNS if run != BAD), "completed")
        assert [run.run_id for run in await client.runs(status="damaged")] == [BAD]


async def test_a_list_that_begins_with_a_bad_record_is_whole_too(
    nats_server: EmbeddedNats, subjects: Subjects
) -> None:
    async with a_bus(nats_server.url, subjects) as bus:
        log = bus.log()
        for run in RUNS:
            await log.append(subjects.engine(run), f"{run} commit;".encode() * 9, id=run)
        async with damaged(nats_server, bus.names.log, b"r_0 commit;", b"r_11 commit;"):
            found = [s async for s in summaries(bus.nc, bus.names.log, subjects.commits())]
    assert len(found) == 12
    broken = sorted(s.subject for s in found if s.broken)
    assert broken == sorted([subjects.engine("r_0"), subjects.engine("r_11")])


async def test_the_run_is_refused_by_name_and_the_others_are_read(hurt: Bus) -> None:
    async with asyncio.timeout(60), Client(hurt.url, prefix=hurt.subjects.prefix) as client:
        for ask in (client.replay, client.result):
            with pytest.raises(Unavailable, match=rf"log\.unreadable.*{BAD}"):
                await ask(BAD)
        for run in (run for run in RUNS if run not in {BAD, "r_7"}):
            assert len(await read_all(client.log, hurt.subjects.run(run))) == 2


async def test_a_guard_that_the_bad_record_has_taken_away_is_no_lost_race(hurt: Bus) -> None:
    log = hurt.log()
    with pytest.raises(Unavailable, match=r"log\.unreadable"):
        await log.append(hurt.subjects.engine(BAD), b"x", id="next", expect=6)


async def test_who_follows_all_runs_is_not_stopped_by_what_became_of_one(hurt: Bus) -> None:
    log = hurt.log()
    seqs: list[int] = []
    async with asyncio.timeout(60), aclosing(log.tail(hurt.subjects.log())) as records:
        async for record in records:
            seqs.append(record.seq)
            if len(seqs) == 23:
                break
    assert seqs == [seq for seq in range(1, 25) if seq != 18]


async def test_a_body_that_is_missing_beside_the_log_comes_with_its_problem(bus: Bus) -> None:
    log = bus.log()
    await log.append(bus.subjects.fact("r_1"), bytes(300_000), id="big")
    await log.append(bus.subjects.fact("r_2"), b"small", id="small")
    await bus.nc.jetstream().purge_stream(f"OBJ_{bus.names.blobs}")
    async with aclosing(log.tail(bus.subjects.log())) as records:
        big, small = await anext(records), await anext(records)
    assert big.problem is not None
    assert (big.problem.code, big.body) == ("log.blob_missing", b"")
    assert (small.problem, small.body) == (None, b"small")
    assert await read_all(log, bus.subjects.run("r_1")) == [big]
    assert await log.last(bus.subjects.fact("r_1"), sure=True) == big


async def test_a_stream_that_forgets_may_hold_less_at_the_end_of_a_reading(hurt: Bus) -> None:
    log = JetStreamLog(hurt.nc, stream=hurt.names.log, forgets=True)
    assert len(await read_all(log, hurt.subjects.run(BAD))) == 1


async def test_what_is_read_up_to_a_place_says_that_a_record_before_it_is_missing(
    hurt: Bus,
) -> None:
    """Else the run's owner would commit once more what it cannot read."""
    log, run = hurt.log(), hurt.subjects.run("r_7")
    newest = await log.append(hurt.subjects.fact("r_7"), b"another fact", id="another")
    later = await log.append(hurt.subjects.fact("r_7"), b"a later one", id="later")
    for upto in (newest.seq, later.seq):
        with pytest.raises(Unavailable, match=r"log\.unreadable: 1 of"):
            _ = [record async for record in log.read(run, upto=upto)]
    behind = [r.seq async for r in log.read(run, after=newest.seq - 1, upto=newest.seq)]
    assert behind == [newest.seq]


async def test_only_who_asks_to_be_sure_is_told_of_a_newest_record_that_cannot_be_read(
    hurt: Bus,
) -> None:
    log, fact = hurt.log(), hurt.subjects.fact("r_7")
    assert await log.last(fact) is None
    with pytest.raises(Unavailable, match=r"log\.unreadable"):
        await log.last(fact, sure=True)
    assert await log.last(hurt.subjects.fact("r_1"), sure=True) is None
    found = await log.last(hurt.subjects.engine("r_1"), sure=True)
    assert found is not None
    assert found.body == b"r_1 commit 2 " * 9
