"""The disk of the embedded server is full: it shows, and everything goes on by itself when there is room again."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import shutil
import signal
import sys
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from pathlib import Path

import httpx2
import nats.errors
import pytest
from nats.aio.client import Client as NatsClient
from pydantic import JsonValue

from partsong.cli.child import Child
from partsong.cli.platform import Platform
from partsong.client import Client
from partsong.client.approvals import Approvals
from partsong.contracts.errors import Conflict, PartsongError, Unavailable
from partsong.contracts.graph import AgentSpec
from partsong.contracts.wire.damage import Sound
from partsong.contracts.wire.subjects import Subjects
from partsong.log.jetstream import JetStreamLog
from partsong.runtime.nats.server import FAST_SYNC, LEAST_FREE, start_embedded
from partsong.testing.nats import a_bus
from partsong.workflow import WorkflowGraph
from tests.faults.installed import with_tool
from tests.faults.small_disk import EFFECTS, GRAPHS, ITEMS, a_small_disk, counted, fill
from tests.faults.test_kill import WITHIN, Heard
from tests.support.damage import a_monitor, until

pytestmark = [pytest.mark.faults, pytest.mark.timeout(240)]

EACH = 5
"""Runs of each kind that have begun when the disk is full; as many are asked for afterwards."""


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    with a_small_disk(tmp_path) as disk:
        yield disk


def echo() -> WorkflowGraph:
    graph = WorkflowGraph("echo")
    return graph.add_agent("say", AgentSpec(model="scripted:echo"), prompt="{{text}}")


async def partsong(platform: Platform, *words: str) -> tuple[int | None, str]:
    """Exit code and output of a command that is told where the platform is."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "partsong.cli.main", *words, "--nats", platform.nats_url),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        env={**os.environ, "PARTSONG_DATA": str(platform.data)},
    )
    said, _ = await process.communicate()
    return process.returncode, said.decode()


async def insist(work: Callable[[], Awaitable[object]]) -> None:
    """Ask again where asking again is safe."""

    async def done() -> bool:
        try:
            await work()
        except Unavailable:
            return False
        return True

    await until(done)


async def write_too_much(nc: NatsClient, subject: str) -> None:
    """Write to a stream, in the largest messages that it takes, more than there is room for, until it is mute."""
    with contextlib.suppress(nats.errors.TimeoutError):
        for _ in range(4):
            await nc.request(subject, bytes(1_000_000), timeout=1)
        pytest.fail("it was all written")


@asynccontextmanager
async def more_engines(
    url: str, env: dict[str, str], folder: Path, count: int
) -> AsyncIterator[None]:
    """So many engines beside the platform's own, with data directories of their own."""
    async with AsyncExitStack() as stack:
        for name in (f"engine-{n}" for n in range(count)):
            given = {**env, "PARTSONG_NATS_URL": url, "PARTSONG_WORKER": name}
            given |= {"PARTSONG_DATA": str(folder / name), "PARTSONG_SYNC_INTERVAL": str(FAST_SYNC)}
            command = (sys.executable, "-m", "partsong.cli.main", "worker", "start", "graph-engine")
            log = folder / f"{name}.log"
            child = Child("graph-engine", command, given, log, say=Heard(), changed=lambda: None)
            keeper = asyncio.get_running_loop().create_task(child.keep(), name=name)
            stack.push_async_callback(asyncio.wait, {keeper})
            stack.push_async_callback(child.end)
            async with asyncio.timeout(WITHIN):
                await child.ready.wait()
        yield


async def decide_all(url: str, wanted: set[str]) -> None:
    """Approve what these runs ask for."""
    api = Approvals(url)

    async def none_left() -> bool:
        try:
            found, _ = await asyncio.to_thread(api.newest, limit=1000, status="pending")
            for asked in (one for one in found if one["run_id"] in wanted):
                await asyncio.to_thread(api.decide, str(asked["id"]), "approve", "test", None)
                wanted.discard(str(asked["run_id"]))
        except (Unavailable, Conflict):  # it may have been decided, and the answer lost
            return False
        return not wanted

    await until(none_left)


class Traffic:
    """Runs of every kind, and what became of them."""

    def __init__(self, client: Client, file: Path) -> None:
        self._client, self._file = client, file
        self.runs: dict[str, str] = {}
        """The kind of each."""

    async def begin(self, word: str) -> None:
        """Begin so many of each kind."""
        kinds = ((kind, n) for kind in GRAPHS for n in range(EACH))
        await asyncio.gather(*(self._begin(f"r_{word}-{kind}-{n}", kind) for kind, n in kinds))

    async def _begin(self, run_id: str, kind: str) -> None:
        self.runs[run_id] = kind
        given: dict[str, JsonValue] = {"file": str(self._file), "order": run_id, "items": ITEMS}
        await insist(partial(self._client.start, GRAPHS[kind](), given, run_id=run_id))

    def of(self, kind: str) -> set[str]:
        """The runs of one kind."""
        return {run_id for run_id, its in self.runs.items() if its == kind}

    async def cancel(self) -> None:
        """Cancel those that would wait for ever."""
        cancel = self._client.cancel
        await asyncio.gather(*(insist(partial(cancel, run)) for run in self.of("stands")))

    async def check(self) -> None:
        """See that each ends as it should, agrees with its replay, and has all its effects, each once."""
        await asyncio.gather(*(self._client.result(run, timeout=WITHIN) for run in self.runs))
        effects = counted(self._file)
        assert set(effects.values()) == {1}, effects.most_common(3)
        await asyncio.gather(*(self._check(run, kind, effects) for run, kind in self.runs.items()))

    async def _check(self, run_id: str, kind: str, effects: Counter[str]) -> None:
        result = await self._client.result(run_id, timeout=WITHIN)
        status = "cancelled" if kind == "stands" else "completed"
        assert result.status == status, (run_id, result.error)
        replayed, state = await self._client.replay(run_id), await self._client.state(run_id)
        assert replayed.ok, replayed.findings
        assert (state.values, state.status) == (replayed.state.values, replayed.state.status)
        mine = [key for key in effects if key.split()[1].partition("/")[0] == run_id]
        assert len(mine) == EFFECTS[kind], mine


@pytest.mark.parametrize(("more", "victim"), [(0, ""), (1, "graph-engine"), (0, "nats")])
async def test_open_runs_go_on_when_there_is_room(
    tmp_path: Path, small_disk: Path, more: int, victim: str
) -> None:
    """The disk fills under runs of every kind, and one process or none is killed while it is full."""
    file, ballast = tmp_path / "effects", small_disk / "ballast"
    env = with_tool(tmp_path / "site", "charge", "tests.faults.small_disk:charge")
    env |= {"PARTSONG_LOAD": "tests.faults.small_disk", "PARTSONG_HTTP_PORT": "0"}
    heard = Heard()
    platform = Platform(small_disk / "data", env=env, fast=True, say=heard)
    try:
        await platform.start()
        async with (
            Client(platform.nats_url, timeout=10) as client,
            more_engines(platform.nats_url, env, tmp_path, more),
        ):
            traffic = Traffic(client, file)
            await traffic.begin("before")
            fill(ballast)
            asked = asyncio.gather(traffic.cancel(), traffic.begin("meanwhile"))

            async def told() -> bool:
                return any("is full" in what for _, _, what in heard.lines)

            await until(told)
            if victim:
                os.kill(platform.pids[victim], signal.SIGKILL)
            await asyncio.wait({asked}, timeout=float(os.environ.get("FULL_FOR", "6")))
            assert not asked.done(), "the disk was not full"
            ballast.unlink()
            await asked
            await traffic.cancel()
            await decide_all(platform.http_url, traffic.of("asks"))
            await traffic.check()
            code, said = await partsong(platform, "log", "verify")
            assert code == 0, said
    finally:
        await platform.stop()


async def test_a_disk_that_nobody_saw_full_is_got_over_too(small_disk: Path) -> None:
    """One write that is too large for what is free ends all writing to its stream."""
    env = {**os.environ, "PARTSONG_HTTP_PORT": "0"}
    platform = Platform(small_disk / "data", env=env, fast=True, say=Heard())
    try:
        await platform.start()
        async with Client(platform.nats_url, timeout=10) as client:
            free = shutil.disk_usage(small_disk).free
            (small_disk / "ballast").write_bytes(bytes(free - 2 * LEAST_FREE))
            subject = client.subjects.request("run")
            await write_too_much(client.nats, subject)
            (small_disk / "ballast").unlink()
            await insist(partial(client.start, echo(), {"text": "on"}, run_id="r_on"))
            assert (await client.result("r_on", timeout=WITHIN)).status == "completed"
    finally:
        await platform.stop()


async def test_a_stream_of_requests_that_takes_nothing_says_where_to_look(small_disk: Path) -> None:
    """The server that somebody else runs; its log is sound, and so are all services."""
    async with (
        start_embedded(small_disk / "nats", fast=True) as server,
        a_bus(server.url, Subjects("mute")) as bus,
    ):
        free = shutil.disk_usage(small_disk).free
        (small_disk / "ballast").write_bytes(bytes(free - 2 * LEAST_FREE))
        await write_too_much(bus.nc, bus.subjects.request("run"))
        (small_disk / "ballast").unlink()
        async with Client(server.url, prefix="mute") as client:
            with pytest.raises(Unavailable, match="has not said within") as silent:
                await client.cancel("r_1")
        assert silent.value.problem.code == "request.not_stored"
        assert "if its disk is full" in str(silent.value.problem.fix)


@pytest.mark.parametrize("killed", [True, False])
async def test_a_full_disk_loses_nothing_that_was_acknowledged(
    small_disk: Path, tmp_path: Path, killed: bool
) -> None:
    """Counted outside the server: what it said is stored is there, in its place, and the log has no holes."""
    ledger: dict[int, str] = {}
    async with (
        start_embedded(small_disk / "nats", fast=True) as server,
        a_bus(server.url, Subjects("full")) as bus,
    ):
        log = JetStreamLog(bus.nc, stream=bus.names.log, attempt=1.0, deadline=1.0)
        full = asyncio.Event()

        async def write(writer: int) -> None:
            for n in itertools.count():
                id_ = f"{writer}-{n}"
                try:
                    done = await log.append(
                        bus.subjects.fact(f"r_{id_}"), bytes(5000 * (1 + writer)), id=id_
                    )
                except Unavailable:
                    assert full.is_set()
                    return
                ledger[done.seq] = id_

        async with asyncio.TaskGroup() as writers:
            for writer in range(6):
                writers.create_task(write(writer))

            async def some() -> bool:
                return len(ledger) > 50

            await until(some)
            full.set()
            fill(small_disk / "ballast")
        if killed:
            server.kill()
        (small_disk / "ballast").unlink()
        await server.restart()
        async with a_monitor(bus, tmp_path) as monitor:
            assert isinstance(await monitor.check(), Sound)
        found = {record.seq: record.id async for record in log.read(bus.subjects.log())}
        assert ledger.items() <= found.items()
        assert set(found) == set(range(1, max(found) + 1))
        await log.close()


async def test_a_full_disk_shows_and_is_got_over(small_disk: Path) -> None:
    env = {**os.environ, "PARTSONG_HTTP_PORT": "0"}
    platform = Platform(small_disk / "data", env=env, say=Heard())
    try:
        await platform.start()
        async with Client(platform.nats_url) as client, httpx2.AsyncClient() as http:
            begun = await client.start(echo(), {"text": "before"})
            assert (await client.result(begun, timeout=WITHIN)).status == "completed"
            fill(small_disk / "ballast")

            async def told() -> bool:
                answer = await http.get(f"{platform.http_url}/readyz")
                return answer.status_code == 503 and answer.json()["code"] == "log.mute"

            await until(told)
            code, said = await partsong(platform, "doctor")
            assert code == 1
            assert "stores nothing" in said
            assert f"0.0 GiB free in {platform.data}" in said
            with pytest.raises(PartsongError):
                await client.start(echo(), {"text": "meanwhile" * 20_000}, run_id="r_meanwhile")
            (small_disk / "ballast").unlink()

            async def ready() -> bool:
                try:
                    return (await http.get(f"{platform.http_url}/readyz")).status_code == 200
                except httpx2.HTTPError:
                    return False

            await until(ready)
            await client.start(echo(), {"text": "meanwhile" * 20_000}, run_id="r_meanwhile")
            result = await client.result("r_meanwhile", timeout=WITHIN)
            assert result.status == "completed"
            assert (await client.replay("r_meanwhile")).ok
    finally:
        await platform.stop()
