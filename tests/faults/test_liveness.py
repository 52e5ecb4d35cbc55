"""Code that takes its time beside other runs, and several workers: a call is made once, and nobody is taken for dead."""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from partsong.cli.platform import Platform
from partsong.client import Client
from partsong.contracts.wire.heartbeat import Beat
from partsong.runtime.streams import Names
from partsong.workflow import WorkflowGraph
from tests.faults import slow
from tests.faults.installed import with_tool
from tests.faults.test_kill import WITHIN, Heard, until

pytestmark = [pytest.mark.faults, pytest.mark.timeout(240)]

ROLES = ("graph-engine", "tool-runner")
CHARGES = 8


@asynccontextmanager
async def a_platform(at: Path) -> AsyncIterator[tuple[Platform, Client]]:
    """Two tool-runners."""
    env = {
        **with_tool(at, "charge", "tests.faults.slow:charge"),
        "PARTSONG_LOAD": "tests.faults.slow",
    }
    platform = Platform(at / "data", env=env, fast=True, say=Heard(), roles=ROLES)
    try:
        await platform.start()
        async with (
            a_runner(platform, env, at, "second"),
            Client(platform.nats_url, timeout=10) as client,
        ):
            yield platform, client
    finally:
        await platform.stop()


@asynccontextmanager
async def a_runner(
    platform: Platform, env: dict[str, str], at: Path, name: str
) -> AsyncIterator[asyncio.subprocess.Process]:
    """A tool-runner beside the platform's, ready, that nobody starts again."""
    with (at / f"{name}.log").open("wb") as sink:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "partsong.cli.main", "worker", "start", "tool-runner"),
            env={
                **env,
                "PARTSONG_NATS_URL": platform.nats_url,
                "PARTSONG_WORKER": name,
                "PARTSONG_DATA": str(at / name),
            },
            stdout=asyncio.subprocess.PIPE,
            stderr=sink,
        )
    try:
        assert process.stdout is not None
        async with asyncio.timeout(WITHIN):
            assert (await process.stdout.readline()).startswith(b"ready")
        yield process
    finally:
        if process.returncode is None:
            process.send_signal(signal.SIGCONT)
            process.terminate()
        await process.communicate()


class Beats:
    """All heartbeats of the tool-runners."""

    def __init__(self) -> None:
        self.seen: list[Beat] = []

    async def listen(self, client: Client) -> None:
        async def heard(msg: object) -> None:
            self.seen.append(Beat.model_validate_json(msg.data))  # type: ignore[attr-defined]

        await client.nats.subscribe(f"{client.subjects.prefix}.alive.tool-runner.*", cb=heard)


def one(node: str, function: Callable[..., object]) -> WorkflowGraph:
    graph = WorkflowGraph(node)
    graph.add_node(node, function)
    return graph


@pytest.mark.parametrize(("function", "process"), [(slow.hold, True), (slow.block, False)])
async def test_a_function_that_lets_nothing_else_run_harms_no_other_run(
    function: Callable[..., object], process: bool, tmp_path: Path
) -> None:
    file, beats = tmp_path / "lines", Beats()
    state = {"file": str(file), "seconds": 9}
    charges = WorkflowGraph("charges")
    charges.add_tool("t", "charge", args={"file": "{{file}}", "order": "{{order}}"})
    orders = [f"o{n}" for n in range(CHARGES)]
    async with a_platform(tmp_path) as (_, client):
        await beats.listen(client)
        for order in orders:
            await client.start(charges, {"file": str(file), "order": order}, run_id=f"r_{order}")
        await until("one begins", lambda: slow.written(file).total() > 0)
        await client.start(one("b", function), state, run_id="r_b")
        runs = [f"r_{order}" for order in orders]
        results = [await client.result(run_id, timeout=WITHIN) for run_id in [*runs, "r_b"]]
        assert [result.status for result in results] == ["completed"] * (CHARGES + 1)
        lapsed = [
            event for result in results for event in result.events if event.type == "call.lapsed"
        ]
        assert lapsed == []
    assert set(slow.written(file).values()) == {1}
    blocked = [beat.blocked for beat in beats.seen if beat.blocked is not None]
    named = [one for one in blocked if f"tests.faults.slow:{function.__name__}" in one.functions]
    assert named, blocked
    assert any(one.process == process for one in named)
    said = (tmp_path / "data" / "logs" / "tool-runner.log").read_text("utf-8")
    said += (tmp_path / "second.log").read_text("utf-8")
    line = "nothing of this process could run" if process else "function blocks its event loop"
    assert any(line in text and function.__name__ in text for text in said.splitlines()), said


async def test_a_healthy_call_is_made_once_however_long_it_takes_and_whoever_is_reminded(
    tmp_path: Path,
) -> None:
    file, go, beats = tmp_path / "lines", tmp_path / "go", Beats()
    state = {"file": str(file), "go": str(go)}
    async with a_platform(tmp_path) as (_, client):
        work = await client.nats.jetstream().stream_info(Names.of(client.subjects).work)
        work.config.duplicate_window = 1.0  # two minutes are over sooner
        await client.nats.jetstream().update_stream(work.config)
        await beats.listen(client)
        for n in range(4):
            await client.start(one("n", slow.wait_for), state, run_id=f"r_{n}")
        await until("all begin", lambda: slow.written(file).total() >= 4)
        count = len(beats.seen)
        # The engine looks after a silent run after 5, 10 and 20 seconds: three times in this while.
        await until("reminders are due", lambda: len(beats.seen) - count > 2 * 24)
        go.touch()
        for n in range(4):
            assert (await client.result(f"r_{n}", timeout=WITHIN)).status == "completed"
        await until("all end", lambda: slow.written(file).total() >= 8)
    assert slow.written(file) == {f"{word} r_{n}": 1 for word in ("begin", "end") for n in range(4)}


async def test_a_reminder_of_a_call_that_another_worker_holds_is_dropped(tmp_path: Path) -> None:
    file, go = tmp_path / "lines", tmp_path / "go"
    state = {"file": str(file), "go": str(go)}
    async with a_platform(tmp_path) as (platform, client):
        await client.start(one("n", slow.wait_for), state, run_id="r_1")
        await until("it begins", lambda: slow.written(file).total() >= 1)
        stream = Names.of(client.subjects).work
        js = client.nats.jetstream()
        held = await js.get_msg(stream, seq=1)
        for _ in range(20):
            assert held.subject is not None
            headers = {"Partsong-Reminder": "1"}
            await js.publish(held.subject, held.data or b"", headers=headers)

        async with asyncio.timeout(WITHIN):
            while (await js.stream_info(stream)).state.messages > 1:  # noqa: ASYNC110  # no event says so
                await asyncio.sleep(0.05)
        go.touch()
        assert (await client.result("r_1", timeout=WITHIN)).status == "completed"
        del platform
    assert slow.written(file) == {"begin r_1": 1, "end r_1": 1}
