"""kill -9 of each process in turn, under fifty runs: none is lost, and only what was in flight happens twice.

The embedded server runs with `fast`: what a killed process had written is in the page cache, which survives it. Only a
power cut could tell the difference, and no test here cuts the power.
"""

from __future__ import annotations

import asyncio
import os
import signal
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from pydantic import JsonValue

from partsong.cli.platform import Platform
from partsong.client import Client
from partsong.contracts.errors import Unavailable
from partsong.contracts.state.results import RunResult
from partsong.runtime import clock
from tests.faults import effects

pytestmark = [pytest.mark.faults, pytest.mark.timeout(180)]

ROLES = ("graph-engine", "agent-gateway", "tool-runner")
RUNS = 50
WITHIN = 60.0
"""Seconds for anything to happen. It never takes that long, unless it never happens."""


@dataclass
class Heard:
    """What the platform says, with the moment it says it."""

    lines: list[tuple[str, str, str]] = field(default_factory=list)

    def __call__(self, who: str, what: str) -> None:
        self.lines.append((clock.now_text(), who, what))

    def ready(self, who: str) -> list[str]:
        """When it became ready, each time."""
        return [at for at, name, what in self.lines if name == who and what.startswith("ready")]


@asynccontextmanager
async def a_platform(data: Path, heard: Heard) -> AsyncIterator[Platform]:
    env = {**os.environ, "PARTSONG_LOAD": "tests.faults.effects", "PARTSONG_HTTP_PORT": "0"}
    platform = Platform(data, env=env, fast=True, say=heard, roles=ROLES)
    try:
        await platform.start()
        yield platform
    finally:
        await platform.stop()


async def until(what: str, true: Callable[[], bool]) -> None:
    """Wait for something that gives no sign when it happens."""
    end = clock.monotonic() + WITHIN
    while not true():
        assert clock.monotonic() < end, f"{what}: not within {WITHIN:g} s"
        await asyncio.sleep(0.005)


async def insist(work: Callable[[], Awaitable[str]]) -> str:
    """Ask again where asking again is safe: with a run id of one's own."""
    end = clock.monotonic() + WITHIN
    while True:
        try:
            return await work()
        except Unavailable:
            assert clock.monotonic() < end


async def finish(client: Client, run_id: str, input: dict[str, JsonValue]) -> RunResult:
    await insist(lambda: client.start(effects.graph(), input, run_id=run_id))
    return await client.result(run_id, timeout=WITHIN)


def first_step(results: list[RunResult], victim: str, after: str) -> str:
    """When the first step ended that needed the victim, after it was back."""
    wanted = "agent.turn.completed" if victim == "agent-gateway" else "call.completed"
    times = (e.time for result in results for e in result.events if e.type == wanted)
    return min((time for time in times if time > after), default="none")


@pytest.mark.parametrize("victim", [*ROLES, "nats"])
async def test_fifty_runs_survive_a_kill(
    victim: str, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    heard, file = Heard(), tmp_path / "effects"
    run_ids = [f"r_{victim}-{n}" for n in range(RUNS)]
    async with (
        a_platform(tmp_path / "data", heard) as platform,
        Client(platform.nats_url, timeout=10) as client,
    ):
        runs = [
            asyncio.create_task(finish(client, run_id, {"file": str(file)})) for run_id in run_ids
        ]
        third = RUNS * len(effects.NODES) // 3
        await until("a third of the effects", lambda: effects.effects(file).total() >= third)
        old = platform.pids[victim]
        killed = clock.now_text()
        os.kill(old, signal.SIGKILL)
        before = set(effects.effects(file))
        results = list(await asyncio.gather(*runs))
        await until(f"{victim} is back", lambda: len(heard.ready(victim)) == 2)
        assert platform.pids[victim] != old
        assert len(before) < RUNS * len(effects.NODES), "killed when all was over"
        for result in results:
            await _is_whole(client, result)
    seen = effects.effects(file)
    _effects_are_whole(run_ids, seen)
    back = heard.ready(victim)[1]
    twice = sum(times - 1 for times in seen.values())
    record_property("repeated", twice)
    print(
        f"{victim}: killed {killed}, ready {back}, first step {first_step(results, victim, back)},"
        f" last event {max(result.events[-1].time for result in results)}, repeated {twice}"
    )


async def _is_whole(client: Client, result: RunResult) -> None:
    """The run completed, with the right state, and every execution and call of it ended once."""
    assert result.status == "completed", result.error
    state = dict(result)
    assert (state["sum"], state["ended"]) == (3, True)
    assert "sum 3" in str(state["said"])
    replayed = await client.replay(result.run_id)
    assert replayed.ok, replayed.findings
    assert replayed.state.values == result.state
    done = Counter(e.exec for e in result.events if e.type == "node.completed")
    assert done == {f"{node}:1": 1 for node in (*effects.NODES, "agent")}
    closed = Counter(
        (e.call_id, e.attempt)
        for e in result.events
        if e.type == "agent.turn.completed" or e.type == "call.completed"
    )
    assert {call_id.partition("/")[0] for call_id, _ in closed} == set(done)
    assert set(closed.values()) == {1}


def _effects_are_whole(run_ids: list[str], seen: Counter[str]) -> None:
    """No effect is missing, and per run only what can be in flight together happened a second time."""
    assert set(seen) == {f"{run_id}/{node}:1" for run_id in run_ids for node in effects.NODES}
    assert max(seen.values()) <= 2, seen.most_common(5)
    for run_id in run_ids:
        twice = {node for node in effects.NODES if seen[f"{run_id}/{node}:1"] > 1}
        assert len(twice) <= 1 or twice == {"left", "right"}, (run_id, twice)
