"""The projector: from any log to the same rows, whatever happens in between."""

from __future__ import annotations

import random

import pytest
from nats.aio.client import Client

from partsong.approval.core.approval import Approval
from partsong.contracts import events as e
from partsong.contracts.events.envelope import encode_report
from partsong.contracts.wire.subjects import Subjects
from partsong.log.memory import MemoryLog
from partsong.log.port import Log
from partsong.runtime.connect import connect as connect_nats
from partsong.runtime.connect import disconnect
from partsong.runtime.nats.server import EmbeddedNats
from partsong.runtime.stream_table import Names
from partsong.runtime.streams import provision
from partsong.testing.nats import Bus
from tests.services.approval.support import NOON, PATIENCE, Office, Scribe, an_office, until


async def rows(office: Office) -> list[Approval]:
    return await office.store.page(limit=10_000)


async def write_much(scribe: Scribe, seed: int, count: int) -> int:
    """Requests, decisions, expiries, cancels, ends and strange records."""
    dice = random.Random(seed)
    pending: list[tuple[str, str]] = []
    last = 0
    for n in range(count):
        run = f"r_{dice.randrange(12)}"
        match dice.choice("qqqqqdxcnefg"):
            case "q":
                last = await scribe.ask(run, f"node:{n}", title=f"{n}?")
                pending.append((run, f"node:{n}"))
                continue
            case "e":
                last = await scribe.commit(run, e.RunCompleted(id=f"{n}", time=NOON))
                continue
            case "f":
                report = e.CallCompleted(call_id=f"{n}", attempt=1)
                last = await scribe.raw(scribe.subjects.fact(run), encode_report(run, report))
                continue
            case "g":
                last = await scribe.raw(scribe.subjects.engine(run), b"garbage")
                continue
            case kind if pending:
                run, call = pending.pop(dice.randrange(len(pending)))
            case _:
                continue
        closed = f"{run}.{call}.closed"
        match kind:
            case "d":
                closing: e.ApprovalDecided | e.ApprovalExpired | e.CallCancelled = (
                    e.ApprovalDecided(
                        id=closed, time=NOON, call_id=call, decision="approve", by=f"person {n}"
                    )
                )
            case "x":
                closing = e.ApprovalExpired(id=closed, time=NOON, call_id=call)
            case "c":
                closing = e.CallCancelled(id=closed, time=NOON, call_id=call, reason="enough")
            case _:
                last = await scribe.commit(run, e.NodeCompleted(id=f"{n}", time=NOON, exec=call))
                continue
        last = await scribe.close(run, closing)
    return last


async def test_a_projection_made_anew_has_the_same_rows(
    log: Log, subjects: Subjects, scribe: Scribe, database: str, sqlite_database: str
) -> None:
    async with an_office(log, subjects, database) as office:
        await office.shows(await write_much(scribe, 1, 150))
    async with an_office(log, subjects, database) as office:
        await office.shows(await write_much(scribe, 101, 150))
        grown = await rows(office)
    async with an_office(log, subjects, f"{sqlite_database}.anew") as office:
        assert await rows(office) == grown
    assert len({row.status for row in grown}) == 4


async def test_a_projection_of_another_log_is_made_anew(subjects: Subjects, database: str) -> None:
    for count in (3, 9, 1, 0):
        log = MemoryLog()
        scribe = Scribe(log, subjects)
        for n in range(count):
            await scribe.ask(f"r_{count}", f"a:{n}")
        async with an_office(log, subjects, database) as office:
            assert [row.run_id for row in await rows(office)] == [f"r_{count}"] * count
            assert (await office.http.get("/readyz")).json()["position"] == count


async def test_what_cannot_be_read_is_passed_over_and_logged(
    log: Log, subjects: Subjects, scribe: Scribe, office: Office, caplog: pytest.LogCaptureFixture
) -> None:
    strange = [
        (subjects.engine("r_1"), b'{"events":"approval."}'),
        (subjects.engine("r_1"), b'{"events":[{"type":["approval."]}]}'),
        (subjects.engine("r_1"), b'{"events":[{"type":"approval.requested","v":1,"data":{}}]}'),
        (f"{subjects.prefix}.log.x.y.z", b'"approval.'),
    ]
    seqs = [await scribe.raw(subject, body) for subject, body in strange]
    await office.shows(await scribe.ask("r_1", "a:1"))
    assert [row.call_id for row in await rows(office)] == ["a:1"]
    told = {vars(record).get("seq") for record in caplog.records}
    assert set(seqs) <= told


async def test_the_checkpoint_moves_though_nothing_changes(
    memory_log: Log, subjects: Subjects, sqlite_database: str
) -> None:
    scribe = Scribe(memory_log, subjects)
    async with an_office(memory_log, subjects, sqlite_database) as office:
        seqs = [await scribe.raw(subjects.fact("r_1"), b"%d" % n) for n in range(1500)]
        await office.shows(seqs[-1])
        checkpoint, _ = await office.store.load()
        assert checkpoint.seq >= 1000
    async with an_office(memory_log, subjects, sqlite_database) as office:
        checkpoint, _ = await office.store.load()
        assert checkpoint.seq == 1500


async def test_a_projection_whose_tables_are_dropped_under_it_heals(
    memory_log: Log, subjects: Subjects, database: str
) -> None:
    scribe = Scribe(memory_log, subjects)
    async with an_office(memory_log, subjects, database) as office:
        await office.shows(await scribe.ask("r_1", "a:1"))
        async with office.store._engine.begin() as connection:
            await connection.exec_driver_sql("DROP TABLE approval_v2")
            await connection.exec_driver_sql("DROP TABLE approval_checkpoint_v2")
        await office.shows(await scribe.ask("r_1", "b:1"))
        assert [row.call_id for row in await rows(office)] == ["b:1", "a:1"]
        assert await office.projector.catch_up(PATIENCE)
        assert (await office.http.get("/readyz")).status_code == 200


async def test_two_processes_may_share_a_database(
    memory_log: Log, subjects: Subjects, database: str
) -> None:
    scribe = Scribe(memory_log, subjects)
    async with (
        an_office(memory_log, subjects, database) as one,
        an_office(memory_log, subjects, database) as other,
    ):
        last = await write_much(scribe, 5, 100)
        await one.shows(last)
        await other.shows(last)
        assert await rows(one) == await rows(other)
        assert one.projector.pending() == other.projector.pending()
        await one.shows(await scribe.ask("r_new", "a:1"))
        path, body = "/api/approvals/r_new.a:1/decision", {"decision": "approve", "by": "ann"}
        assert (await one.http.post(path, json=body)).status_code == 200
        assert (await other.http.post(path, json=body)).status_code == 409


async def test_a_log_behind_the_inbox_is_not_ready(
    memory_log: MemoryLog, subjects: Subjects, office: Office, scribe: Scribe
) -> None:
    await office.shows(await scribe.ask("r_1", "a:1"))
    office.projector._last = type(office.projector._last)(99, "lost")
    answer = await office.http.get("/readyz")
    assert (answer.status_code, answer.json()["code"]) == (503, "approval.behind")
    assert answer.headers["retry-after"] == "1"


async def test_the_inbox_goes_on_when_nats_is_killed_and_comes_back(
    nats_server: EmbeddedNats, subjects: Subjects, sqlite_database: str
) -> None:
    nc: Client = await connect_nats(nats_server.url, name="test")
    await provision(nc, subjects)
    log = Bus(nc, nats_server.url, subjects, Names.of(subjects)).log()
    scribe = Scribe(log, subjects)
    async with an_office(log, subjects, sqlite_database) as office:
        await office.shows(await scribe.ask("r_1", "a:1"))
        nats_server.kill()
        await nats_server.restart()
        await office.shows(await scribe.ask("r_1", "b:1"))
        answer = await office.http.post(
            "/api/approvals/r_1.b:1/decision", json={"decision": "approve", "by": "ann"}
        )
        assert answer.status_code == 200
        await until("it is ready again", lambda: office.projector.problem is None)
    await log.close()
    await disconnect(nc)
