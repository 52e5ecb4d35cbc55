"""The WebSocket: what a viewer hears, and that neither side can keep the other."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from partsong.approval.core.inbox import Change
from partsong.contracts import events as e
from partsong.contracts.wire.subjects import Subjects
from partsong.log.port import Log
from tests.services.approval.support import NOON, PATIENCE, Office, Scribe, an_office, until

RUN = "r_1"


@pytest.fixture(params=["memory"])
def log(memory_log: Log) -> Log:
    return memory_log


async def hear(viewer: ClientConnection) -> dict[str, Any]:
    async with asyncio.timeout(PATIENCE):
        message: dict[str, Any] = json.loads(await viewer.recv())
        return message


async def farewell(viewer: ClientConnection) -> int | None:
    """The code with which the service closes, once all it said before is read."""
    async with asyncio.timeout(PATIENCE):
        with suppress(ConnectionClosed):
            async for _ in viewer:
                pass
    return viewer.close_code


@pytest.fixture
async def viewer(office: Office) -> AsyncIterator[ClientConnection]:
    """A client that has its snapshot of nothing."""
    async with connect(office.ws) as viewer:
        assert await hear(viewer) == {"type": "snapshot", "position": 0, "approvals": []}
        yield viewer


async def test_a_viewer_first_gets_what_is_pending_the_oldest_first(
    office: Office, scribe: Scribe
) -> None:
    await scribe.ask(RUN, "a:1")
    await scribe.ask(RUN, "b:1")
    await scribe.close(RUN, e.ApprovalExpired(id="x", time=NOON, call_id="a:1"))
    await office.shows(seq := await scribe.ask(RUN, "c:1"))
    async with connect(office.ws) as viewer:
        snapshot = await hear(viewer)
        (newest, *_) = (await office.http.get("/api/approvals")).json()["items"]
    assert (snapshot["type"], snapshot["position"]) == ("snapshot", seq)
    assert [item["call_id"] for item in snapshot["approvals"]] == ["b:1", "c:1"]
    assert snapshot["approvals"][-1] == newest


async def test_a_viewer_hears_every_change_in_order(
    viewer: ClientConnection, scribe: Scribe
) -> None:
    seqs = [
        await scribe.ask(RUN, "a:1"),
        await scribe.ask(RUN, "b:1"),
        await scribe.ask(RUN, "c:1"),
        await scribe.close(
            RUN, e.ApprovalDecided(id="d", time=NOON, call_id="b:1", decision="reject", by="ann")
        ),
        await scribe.close(RUN, e.ApprovalExpired(id="x", time=NOON, call_id="a:1")),
        await scribe.commit(RUN, e.RunCompleted(id="end", time=NOON)),
    ]
    heard = [await hear(viewer) for _ in seqs]
    assert [(m["type"], m["approval"]["call_id"], m["approval"]["status"]) for m in heard] == [
        ("created", "a:1", "pending"),
        ("created", "b:1", "pending"),
        ("created", "c:1", "pending"),
        ("decided", "b:1", "rejected"),
        ("expired", "a:1", "expired"),
        ("cancelled", "c:1", "cancelled"),
    ]
    assert heard[3]["approval"]["by"] == "ann"
    assert [m["position"] for m in heard][-1] == seqs[-1]


async def test_viewers_hear_of_a_decision_made_over_http(
    office: Office, viewer: ClientConnection, scribe: Scribe
) -> None:
    await scribe.ask(RUN, "a:1")
    assert (await hear(viewer))["type"] == "created"
    body = {"decision": "approve", "by": "ann", "reason": "fine"}
    answer = await office.http.post(f"/api/approvals/{RUN}.a:1/decision", json=body)
    heard = await hear(viewer)
    assert (heard["type"], heard["approval"]) == ("decided", answer.json())


async def test_what_a_viewer_says_is_ignored(viewer: ClientConnection, scribe: Scribe) -> None:
    await viewer.send("hello")
    await viewer.send(b"\x00")
    await scribe.ask(RUN, "a:1")
    assert (await hear(viewer))["type"] == "created"


async def test_silence_is_broken_by_a_ping(
    log: Log, subjects: Subjects, sqlite_database: str
) -> None:
    async with (
        an_office(log, subjects, sqlite_database, ping=0.02) as office,
        connect(office.ws) as viewer,
    ):
        assert (await hear(viewer))["type"] == "snapshot"
        assert [await hear(viewer) for _ in range(3)] == [{"type": "ping"}] * 3


async def test_a_viewer_that_leaves_is_let_go(office: Office, viewer: ClientConnection) -> None:
    assert len(office.hub) == 1
    await viewer.close()
    await until("the handler ends", lambda: len(office.hub) == 0)
    await until("the server forgets it", lambda: not office.server._uvicorn.server_state.tasks)


async def test_a_viewer_that_vanishes_is_let_go(office: Office, viewer: ClientConnection) -> None:
    viewer.transport.abort()
    await until("the handler ends", lambda: len(office.hub) == 0)
    await until("the server forgets it", lambda: not office.server._uvicorn.server_state.tasks)


async def test_viewers_are_sent_away_when_the_service_stops(
    log: Log, subjects: Subjects, sqlite_database: str
) -> None:
    async with an_office(log, subjects, sqlite_database) as office:
        viewers = [await connect(office.ws) for _ in range(5)]
        assert [(await hear(viewer))["type"] for viewer in viewers] == ["snapshot"] * 5
    assert [await farewell(viewer) for viewer in viewers] == [1001] * 5
    assert len(office.hub) == 0


async def test_all_viewers_have_been_told_when_the_hub_is_closed(office: Office) -> None:
    """The server that stops next would tell them something else, however busy the process is."""
    viewers = [await connect(office.ws) for _ in range(5)]
    for viewer in viewers:
        await hear(viewer)
    await office.hub.close()
    assert len(office.hub) == 0
    stopping = asyncio.create_task(office.server.stop())
    time.sleep(0.2)  # noqa: ASYNC251  # the process is busy, and nothing in it moves meanwhile
    await stopping
    assert [await farewell(viewer) for viewer in viewers] == [1001] * 5


async def test_a_viewer_that_reads_nothing_does_not_keep_the_service_from_stopping(
    log: Log, subjects: Subjects, sqlite_database: str
) -> None:
    scribe = Scribe(log, subjects)
    async with an_office(log, subjects, sqlite_database) as office:
        viewer = await connect(office.ws, max_queue=1, ping_interval=None)
        much = "x" * 1_000_000
        seqs = [await scribe.ask(RUN, f"a:{n}", detail=much) for n in range(40)]
        await office.shows(seqs[-1])
    assert len(office.hub) == 0
    viewer.transport.abort()


async def test_a_viewer_that_does_not_keep_up_is_told_to_come_again(
    log: Log, subjects: Subjects, sqlite_database: str
) -> None:
    scribe = Scribe(log, subjects)
    async with an_office(log, subjects, sqlite_database, most=3) as office:
        async with connect(office.ws) as viewer:
            assert (await hear(viewer))["type"] == "snapshot"
            await office.shows(await scribe.ask(RUN, "a:1"))
            (approval,) = office.projector.pending()
            office.hub.changed([Change("created", approval)] * 5, 1)
            assert await farewell(viewer) == 1013
        await until("it is let go", lambda: len(office.hub) == 0)
        async with connect(office.ws) as again:
            assert len((await hear(again))["approvals"]) == 1


async def test_viewers_begin_again_when_the_projection_does(
    office: Office, viewer: ClientConnection, scribe: Scribe
) -> None:
    await scribe.ask(RUN, "a:1")
    assert (await hear(viewer))["type"] == "created"
    async with office.store._engine.begin() as connection:
        await connection.exec_driver_sql("DROP TABLE approval_checkpoint_v2")
        await connection.exec_driver_sql("DROP TABLE approval_v2")
    await scribe.ask(RUN, "b:1")
    heard = await hear(viewer)
    assert heard["type"] == "snapshot"
    assert [item["call_id"] for item in heard["approvals"]] == ["a:1", "b:1"]


@pytest.mark.parametrize("origin", ["https://evil.example", "http://127.0.0.1:1", "null"])
async def test_a_foreign_page_cannot_watch(office: Office, origin: str) -> None:
    with pytest.raises(InvalidStatus) as caught:
        await connect(office.ws, additional_headers={"Origin": origin})
    assert caught.value.response.status_code == 403
    assert len(office.hub) == 0


async def test_a_page_of_the_service_itself_may_watch(office: Office) -> None:
    async with connect(office.ws, additional_headers={"Origin": office.url}) as viewer:
        assert (await hear(viewer))["type"] == "snapshot"
