"""Runs that share a thread, over a real bus: one at a time, in order, also when engines die in between."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from pydantic import JsonValue

from partsong.client.requests import ask
from partsong.contracts.errors import InvalidInput
from partsong.contracts.events import RunAdmitted, RunOptions, RunStarted
from partsong.contracts.wire.requests import RetryRequest, RunRequest
from partsong.engine.commands import runs
from partsong.graph_engine.core.thread_queue import OnBusy
from partsong.runtime import clock
from partsong.runtime.settings import Settings
from partsong.testing.nats import Bus
from tests.system.engines import an_engine, dies_after, replace_engine, signal, until
from tests.system.platform import Platform, a_platform, cli

GATE: dict[str, JsonValue] = {
    "name": "gate",
    "entry": "wait",
    "memory": ["said"],
    "nodes": {"wait": {"type": "wait", "signal": "go", "output": "said"}},
}


@pytest.fixture
async def platform(bus: Bus) -> AsyncIterator[Platform]:
    async with a_platform(bus) as running:
        yield running


async def start(
    platform: Platform,
    run_id: str,
    on_busy: OnBusy = "enqueue",
    thread: str | None = "talk of the day",
) -> None:
    request = RunRequest(
        id=f"q_{clock.new_id()}",
        run_id=run_id,
        graph=GATE,
        options=RunOptions(thread=thread, on_busy=on_busy),
    )
    client = platform.client
    await ask(client.nats, client.subjects, "run", request.id, request, within=20)


async def finish(platform: Platform, run_id: str, said: JsonValue = None) -> None:
    """Let a run go through its gate, once it stands there."""
    await until(platform, run_id, "waiting")
    await platform.client.signal(run_id, "go", said)
    assert (await platform.client.result(run_id, timeout=30)).status == "completed"


async def began_with(platform: Platform, run_id: str) -> JsonValue:
    """What the thread's last run had said when this one began."""
    events = (await platform.client.result(run_id)).events
    found = [e.remembered for e in events if isinstance(e, RunStarted | RunAdmitted)]
    return found[-1].get("said")


async def line(bus: Bus) -> int:
    """How many threads are remembered."""
    stream = f"KV_{bus.names.threads}"
    info = await bus.nc.jetstream().stream_info(stream, subjects_filter=">")
    return info.state.messages


async def test_runs_of_a_thread_go_one_by_one_in_the_order_they_were_accepted(
    platform: Platform,
) -> None:
    runs = [f"r_{i}" for i in range(5)]
    for run_id in runs:
        await start(platform, run_id)
    states = [await platform.client.state(run_id) for run_id in runs]
    assert [state.phase for state in states] == ["waiting", *["queued"] * 4]
    for run_id in runs:
        await finish(platform, run_id)
    ends = [(await until(platform, run_id, "completed")).updated for run_id in runs]
    assert ends == sorted(ends)
    for run_id in runs[1:]:
        events = (await platform.client.result(run_id)).events
        types = [event.type for event in events if event.type.startswith("run.")]
        assert types[:2] == ["run.started", "run.admitted"]
        assert (await platform.client.replay(run_id)).ok


async def test_a_busy_thread_refuses_a_run_that_will_not_wait_and_names_the_open_one(
    platform: Platform,
) -> None:
    await start(platform, "r_a")
    with pytest.raises(InvalidInput, match="run r_a has thread 'talk of the day'") as caught:
        await start(platform, "r_b", "reject")
    assert caught.value.problem.code == "thread.busy"
    with pytest.raises(InvalidInput, match="run r_a has thread 'talk of the day'"):
        await start(platform, "r_b", "reject")  # that it was refused once does not make it a run
    await finish(platform, "r_a")
    await start(platform, "r_c", "reject")
    assert (await platform.client.state("r_c")).status == "running"


async def test_the_same_start_of_a_thread_twice_is_one_run(platform: Platform) -> None:
    await start(platform, "r_a", "reject")
    await start(platform, "r_a", "reject")
    await finish(platform, "r_a")
    await start(platform, "r_b", "reject")
    await start(platform, "r_a", "reject")
    assert (await platform.client.state("r_b")).status == "running"


async def test_a_newer_run_cancels_those_before_it_and_begins_when_they_have_ended(
    platform: Platform,
) -> None:
    await start(platform, "r_a")
    await start(platform, "r_b")
    await start(platform, "r_c", "cancel_previous")
    for run_id in ("r_a", "r_b"):
        result = await platform.client.result(run_id, timeout=30)
        assert result.status == "cancelled"
        assert result.error is not None
        assert result.error.message == "run r_c takes its place"
    await finish(platform, "r_c")


async def test_allowed_runs_go_on_side_by_side(platform: Platform) -> None:
    await start(platform, "r_a")
    await start(platform, "r_b", "allow")
    await until(platform, "r_b", "waiting")
    await start(platform, "r_c")
    await finish(platform, "r_a")
    assert (await platform.client.state("r_c")).phase == "queued"
    await finish(platform, "r_b")
    await finish(platform, "r_c")


async def test_a_fork_of_a_threads_run_goes_on_beside_it_and_keeps_nobody_waiting(
    bus: Bus, platform: Platform
) -> None:
    await start(platform, "r_a")
    await until(platform, "r_a", "waiting")
    fork = await platform.client.fork("r_a", new_run_id="r_f")
    await finish(platform, "r_a")
    await start(platform, "r_b", "reject")
    assert (await platform.client.state(fork)).options.thread is None
    await platform.client.cancel(fork)
    await platform.client.result(fork, timeout=30)
    await platform.client.retry(fork)
    await finish(platform, fork)
    await finish(platform, "r_b")


async def test_cancelling_a_queued_run_takes_it_out_of_the_queue(
    bus: Bus, platform: Platform
) -> None:
    for run_id in ("r_a", "r_b", "r_c"):
        await start(platform, run_id)
    await platform.client.cancel("r_b")
    assert (await platform.client.result("r_b", timeout=30)).status == "cancelled"
    await finish(platform, "r_a")
    await finish(platform, "r_c")


async def test_a_run_without_a_thread_leaves_no_trace_in_the_bucket(
    bus: Bus, platform: Platform
) -> None:
    await start(platform, "r_a", thread=None)
    await finish(platform, "r_a")
    assert await line(bus) == 0
    await start(platform, "r_b")
    assert await line(bus) == 1


async def test_a_retried_run_does_not_go_on_beside_another_one_of_its_thread(
    platform: Platform,
) -> None:
    async def retry(request_id: str) -> None:
        client, request = platform.client, RetryRequest(id=request_id, run_id="r_a")
        await ask(client.nats, client.subjects, "retry", request.id, request, within=20)

    await start(platform, "r_a")
    await platform.client.cancel("r_a")
    await platform.client.result("r_a", timeout=30)
    await start(platform, "r_b")
    with pytest.raises(InvalidInput, match="run r_b has thread"):
        await retry("q1")
    await finish(platform, "r_b")
    await retry("q2")
    await start(platform, "r_c")
    assert (await platform.client.state("r_c")).phase == "queued"
    await signal(platform, "r_a")
    await finish(platform, "r_c")


async def test_a_release_that_died_with_its_engine_is_found_by_who_waits(
    bus: Bus, platform: Platform
) -> None:
    await start(platform, "r_a")
    await start(platform, "r_b")
    await platform.services["graph-engine"].stop()
    await dies_after(bus, "r_a", lambda state, now: runs.cancel(state, None, "q", now))
    await replace_engine(platform)
    await finish(platform, "r_b")


async def test_a_release_that_died_with_its_engine_does_not_refuse_anybody(
    bus: Bus, platform: Platform
) -> None:
    await start(platform, "r_a")
    await platform.services["graph-engine"].stop()
    await dies_after(bus, "r_a", lambda state, now: runs.cancel(state, None, "q", now))
    await replace_engine(platform)
    await start(platform, "r_b", "reject")
    await finish(platform, "r_b")


async def test_two_engines_let_in_one_run_at_a_time(platform: Platform) -> None:
    runs = [f"r_{i}" for i in range(12)]
    async with an_engine(platform.settings):
        await asyncio.gather(*(start(platform, run_id) for run_id in runs))
        left = set(runs)
        while left:
            states = [await platform.client.state(run_id) for run_id in left]
            open_ = [state.run_id for state in states if state.status != "queued"]
            assert len(open_) <= 1, f"{open_} have the thread at once"
            for run_id in open_:
                await finish(platform, run_id)
                left.discard(run_id)


async def test_after_a_restore_runs_of_a_thread_go_one_by_one_in_the_order_they_were_accepted(
    bus: Bus, tmp_path: Path
) -> None:
    settings, copy = Settings(data_dir=tmp_path / "data"), str(tmp_path / "copy")
    runs = [f"r_{i}" for i in range(6)]
    async with a_platform(bus, settings) as platform:
        await start(platform, "r_quiet", thread="quiet")
        await finish(platform, "r_quiet", "what is kept")
        for run_id in runs:
            await start(platform, run_id)
        await until(platform, "r_0", "waiting")
        await cli(bus, settings, "log", "backup", copy)
        for run_id in runs[:3]:
            await finish(platform, run_id, "what is lost")
        await until(platform, "r_3", "waiting")
        await start(platform, "r_gone", thread="quiet")
        await finish(platform, "r_gone", "what is lost")
    await cli(bus, settings, "log", "restore", "--from", copy, "--replace")
    async with a_platform(bus, settings) as platform, an_engine(platform.settings):
        await start(platform, "r_after")
        for open_, *waiting in (runs[n:] for n in range(len(runs))):
            await until(platform, open_, "waiting")
            states = [(await platform.client.state(run_id)).phase for run_id in waiting]
            assert states == ["queued"] * len(waiting)
            await finish(platform, open_, f"said by {open_}")
        await finish(platform, "r_after")
        await start(platform, "r_next", thread="quiet")
        await finish(platform, "r_next")
        begun = {id_: await began_with(platform, id_) for id_ in ("r_1", "r_after", "r_next")}
        assert begun == {"r_1": "said by r_0", "r_after": "said by r_5", "r_next": "what is kept"}
        for run_id in runs:
            assert (await platform.client.replay(run_id)).ok
