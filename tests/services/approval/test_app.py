"""The service as it is deployed: on a real bus, from its first word to its last."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from httpx2 import AsyncClient
from websockets.asyncio.client import connect as connect_viewer

from partsong.approval.app import ApprovalService, service
from partsong.approval.database import connect
from partsong.approval.store import Store
from partsong.contracts.errors import Problem, Unavailable
from partsong.contracts.wire.damage import Damaged
from partsong.contracts.wire.marks import Restored
from partsong.log.jetstream import JetStreamLog
from partsong.runtime.log_answers import log_answers
from partsong.runtime.serve import Running, open_context
from partsong.runtime.settings import Settings
from partsong.testing.nats import Bus
from tests.services.approval.support import PATIENCE, Scribe
from tests.support.damage import until

RUN = "r_1"
YES = {"decision": "approve", "by": "ann"}
MAIN = """
import os, sys
from partsong.approval.app import service
from partsong.runtime.serve import serve
from partsong.runtime.settings import from_env
settings = from_env(os.environ)
sys.exit(serve(service(settings), settings))
"""


@pytest.fixture
def settings(bus: Bus, tmp_path: Path) -> Settings:
    return Settings(
        nats_url=bus.url, prefix=bus.subjects.prefix, data_dir=tmp_path / "data", http_port=0
    )


@pytest.fixture
async def scribe(bus: Bus) -> AsyncIterator[Scribe]:
    log: JetStreamLog = bus.log()
    yield Scribe(log, bus.subjects)
    await log.close()


@asynccontextmanager
async def running(settings: Settings) -> AsyncIterator[Running]:
    approvals = await open_context(settings, service(settings))
    try:
        yield approvals
    finally:
        await approvals.stop()


async def ask(bus: Bus, body: bytes) -> dict[str, Any]:
    reply = await bus.nc.request(bus.subjects.query("approval", "list"), body, timeout=PATIENCE)
    answer: dict[str, Any] = json.loads(reply.data)
    return answer


async def test_it_is_ready_when_started_and_shows_what_the_log_held(
    settings: Settings, scribe: Scribe
) -> None:
    await scribe.ask(RUN, "a:1")
    async with running(settings) as approvals:
        url = approvals.context.heart.url
        assert url is not None
        assert url.startswith("http://127.0.0.1:")
        async with AsyncClient(base_url=url, timeout=PATIENCE) as http:
            assert (await http.get("/readyz")).status_code == 200
            assert len((await http.get("/api/approvals")).json()["items"]) == 1
            answer = await http.post(f"/api/approvals/{RUN}.a:1/decision", json=YES)
            assert answer.json()["status"] == "approved"
    assert (settings.data_dir / "approval.db").exists()


async def test_programs_on_the_bus_can_list_what_http_lists(
    settings: Settings, scribe: Scribe, bus: Bus
) -> None:
    await scribe.ask(RUN, "a:1")
    await scribe.ask(RUN, "b:1")
    async with running(settings) as approvals:
        async with AsyncClient(base_url=approvals.context.heart.url or "") as http:
            page = (await http.get("/api/approvals")).json()
        assert await ask(bus, b"") == page
        first = await ask(bus, b'{"status":"pending","limit":1,"from":"the future"}')
        assert first["items"] == page["items"][:1]
        rest = await ask(bus, json.dumps({"cursor": first["next"]}).encode())
        assert rest["items"] == page["items"][1:]


@pytest.mark.parametrize(
    ("body", "where"),
    [(b'{"status":"open"}', "status"), (b'{"cursor":"x"}', "cursor"), (b'{"limit":0}', "limit")],
)
async def test_a_malformed_question_is_answered_with_its_problem(
    settings: Settings, bus: Bus, body: bytes, where: str
) -> None:
    async with running(settings):
        assert (await ask(bus, body))["error"]["where"] == where


async def test_two_services_on_one_bus_let_the_log_decide(
    settings: Settings, scribe: Scribe, tmp_path: Path
) -> None:
    elsewhere = replace(settings, data_dir=tmp_path / "elsewhere")
    async with running(settings) as one, running(elsewhere) as other:
        await scribe.ask(RUN, "a:1")
        paths = [
            f"{approvals.context.heart.url}/api/approvals/{RUN}.a:1/decision"
            for approvals in (one, other) * 5
        ]
        async with AsyncClient(timeout=PATIENCE) as http:
            answers = await asyncio.gather(*(http.post(path, json=YES) for path in paths))
    assert sorted(answer.status_code for answer in answers) == [200] + [409] * 9


async def test_it_drains_with_viewers_and_lets_go_of_its_port(
    settings: Settings, scribe: Scribe
) -> None:
    async with running(settings) as approvals:
        url = approvals.context.heart.url or ""
        viewer = await connect_viewer(f"{url.replace('http', 'ws', 1)}/ws/approvals")
        assert isinstance(approvals.service, ApprovalService)
        assert approvals.service.in_flight == 0
    await viewer.wait_closed()
    assert viewer.close_code == 1001
    async with running(replace(settings, http_port=int(url.rpartition(":")[2]))) as again:
        assert again.context.heart.url == url


async def test_a_port_that_is_taken_is_named(settings: Settings, tmp_path: Path) -> None:
    async with running(settings) as approvals:
        port = int((approvals.context.heart.url or "").rpartition(":")[2])
        taken = replace(settings, http_port=port, data_dir=tmp_path / "elsewhere")
        with pytest.raises(Unavailable) as caught:
            await open_context(taken, service(taken))
    assert caught.value.problem.code == "http.cannot_listen"
    assert str(port) in caught.value.problem.message


async def test_a_process_with_a_viewer_ends_when_it_is_told_to(
    settings: Settings, scribe: Scribe, tmp_path: Path
) -> None:
    environment = {
        **os.environ,
        "PARTSONG_NATS_URL": settings.nats_url,
        "PARTSONG_PREFIX": settings.prefix,
        "PARTSONG_DATA": str(settings.data_dir),
        "PARTSONG_HTTP_PORT": "0",
        "PARTSONG_WORKER": "approval",
    }
    with (tmp_path / "log").open("wb") as stderr:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-c", MAIN, env=environment, stdout=PIPE, stderr=stderr
        )
    assert process.stdout is not None
    try:
        async with asyncio.timeout(PATIENCE):
            word, role, worker, url = (await process.stdout.readline()).decode().split()
            assert (word, role, worker.partition("~")[0]) == ("ready", "approval", "approval")
            async with connect_viewer(f"{url.replace('http', 'ws', 1)}/ws/approvals") as viewer:
                assert json.loads(await viewer.recv())["type"] == "snapshot"
                process.send_signal(signal.SIGTERM)
                await viewer.wait_closed()
            assert await process.wait() == 0, (tmp_path / "log").read_text()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


@pytest.mark.parametrize("what", ["noise", "cut short"])
async def test_a_damaged_database_is_put_aside_and_made_anew_from_the_log(
    settings: Settings, scribe: Scribe, what: str
) -> None:
    await scribe.ask(RUN, "a:1")
    async with running(settings):
        pass
    file = settings.data_dir / "approval.db"
    file.write_bytes(bytes(range(256)) * 32 if what == "noise" else file.read_bytes()[:5000])
    async with (
        running(settings) as approvals,
        AsyncClient(base_url=approvals.context.heart.url or "") as http,
    ):
        assert (await http.get("/readyz")).status_code == 200
        assert len((await http.get("/api/approvals")).json()["items"]) == 1
    assert (settings.data_dir / "approval.db.damaged").exists()


async def test_a_database_file_that_is_taken_away_while_it_runs_is_made_anew(
    settings: Settings, scribe: Scribe
) -> None:
    async with running(settings) as approvals:
        await scribe.ask(RUN, "a:1")
        for part in settings.data_dir.glob("approval.db*"):
            part.unlink()
        seq = await scribe.ask(RUN, "b:1")
        async with AsyncClient(
            base_url=approvals.context.heart.url or "", timeout=PATIENCE
        ) as http:

            async def shown() -> bool:
                items = (await http.get("/api/approvals")).json().get("items", [])
                ready = (await http.get("/readyz")).json()
                return len(items) == 2 and ready.get("position", 0) >= seq

            await until(shown)


async def test_it_is_not_ready_while_an_engine_cannot_take_what_belongs_to_it(
    settings: Settings,
) -> None:
    stuck = Problem(code="engine.partitions_waiting", message="engine holds 0 of 32 partitions")
    problems = [stuck]
    async with running(settings) as approvals:
        context = approvals.context
        said = log_answers(
            context.nc, context.subjects, "graph-engine", "e~1", lambda: next(iter(problems), None)
        )
        await said.start()
        async with AsyncClient(base_url=context.heart.url or "", timeout=PATIENCE) as http:
            ready = await http.get("/readyz")
            assert (ready.status_code, ready.json()["code"]) == (503, stuck.code)
            assert ready.json()["detail"] == "e: engine holds 0 of 32 partitions", "which engine"
            problems.clear()
            assert (await http.get("/readyz")).status_code == 200
        await said.stop()


async def test_a_damaged_log_is_not_ready_and_takes_no_decision_and_the_inbox_can_still_be_read(
    settings: Settings, scribe: Scribe
) -> None:
    await scribe.ask(RUN, "a:1")
    async with running(settings) as approvals:
        await approvals.context.monitor.report(Damaged("the log ends at 3", ((4, 9),)))
        async with AsyncClient(
            base_url=approvals.context.heart.url or "", timeout=PATIENCE
        ) as http:
            ready = await http.get("/readyz")
            assert (ready.status_code, ready.json()["code"]) == (503, "log.damaged")
            assert "records 4 to 9" in ready.json()["detail"]
            answer = await http.post(f"/api/approvals/{RUN}.a:1/decision", json=YES)
            assert (answer.status_code, answer.json()["code"]) == (503, "log.damaged")
            assert len((await http.get("/api/approvals")).json()["items"]) == 1


def a_viewer(approvals: Running) -> connect_viewer:
    url = approvals.context.heart.url or ""
    return connect_viewer(f"{url.replace('http', 'ws', 1)}/ws/approvals")


async def refused(http: AsyncClient, run: str) -> None:
    """An approval of a damaged run is shown as that, and takes no decision."""
    waiting = (await http.get("/api/approvals?status=pending")).json()["items"]
    assert [one["run_id"] for one in waiting] == ["r_2"]
    (hit,) = (await http.get("/api/approvals?status=damaged")).json()["items"]
    assert (hit["run_id"], hit["status"]) == (run, "damaged")
    assert {one["status"] for one in (await http.get("/api/approvals")).json()["items"]} == {
        "pending",
        "damaged",
    }
    answer = await http.post(f"/api/approvals/{run}.a:1/decision", json=YES)
    assert (answer.status_code, answer.json()["code"]) == (503, "log.unreadable")
    assert run in answer.json()["detail"]
    assert answer.json()["fix"]
    assert (await http.get(f"/api/approvals/{run}.a:1")).json()["status"] == "damaged"
    answer = await http.post("/api/approvals/r_2.a:1/decision", json=YES)
    assert (answer.status_code, answer.json()["status"]) == (200, "approved")


async def test_a_run_that_lacks_records_by_a_contained_damage_is_not_pending_and_takes_no_decision(
    settings: Settings, scribe: Scribe
) -> None:
    await scribe.ask(RUN, "a:1")
    await scribe.ask("r_2", "a:1")
    async with (
        running(settings) as approvals,
        AsyncClient(base_url=approvals.context.heart.url or "", timeout=PATIENCE) as http,
        a_viewer(approvals) as viewer,
    ):
        assert len(json.loads(await viewer.recv())["approvals"]) == 2
        found = Damaged("1 record is missing", holes=((2, 2),), runs=(RUN,), contained=True)
        await approvals.context.monitor.report(found)
        await refused(http, RUN)
        async with asyncio.timeout(PATIENCE):
            told = json.loads(await viewer.recv())
        assert (told["type"], told["approvals"]) == ("snapshot", [])


async def test_a_run_that_lacks_records_since_a_restore_is_not_pending_and_takes_no_decision(
    settings: Settings, scribe: Scribe
) -> None:
    await scribe.ask(RUN, "a:1")
    seq = await scribe.ask("r_2", "a:1")
    async with running(settings) as approvals:
        identity = approvals.context.monitor.identity
        assert identity is not None
    restored = Restored(
        log_id=identity.log_id, epoch=2, kept=seq, since="s", at="t", by="ann", source="b", runs=(RUN,)
    )  # fmt: skip
    body = restored.model_dump_json(by_alias=True).encode()
    await scribe.raw(scribe.subjects.restored(), body)
    async with (
        running(settings) as approvals,
        AsyncClient(base_url=approvals.context.heart.url or "", timeout=PATIENCE) as http,
        a_viewer(approvals) as viewer,
    ):
        shown = json.loads(await viewer.recv())["approvals"]
        assert [one["run_id"] for one in shown] == ["r_2"]
        await refused(http, RUN)


async def test_the_database_is_a_third_place_for_marks_of_the_log(
    settings: Settings, scribe: Scribe, bus: Bus
) -> None:
    async with running(settings):
        seq = await scribe.ask(RUN, "a:1")

        async def marked() -> bool:
            store = Store(connect("", settings.data_dir))
            try:
                return any(mark.seq >= seq for mark in await store.marks())
            finally:
                await store.close()

        await until(marked)
    (settings.data_dir / "marks.json").unlink()
    for stream in (bus.names.log, f"KV_{bus.names.marks}"):
        await bus.nc.request(f"$JS.API.STREAM.DELETE.{stream}", timeout=5)
    stranger = service(settings)
    with pytest.raises(Unavailable, match=r"log\.damaged.*no stream"):
        await open_context(settings, stranger)
    await stranger.drain()
