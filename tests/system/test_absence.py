"""Services of ours that are away: runs wait for them by name, use up nothing, and go on when they are back."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import aclosing

import pytest

import partsong.agent_gateway.app
import partsong.tool_runner.app
from partsong.contracts import events as e
from partsong.contracts.graph import Retry
from partsong.runtime.serve import open_context
from partsong.testing import ScriptedModel
from partsong.testing.nats import Bus
from partsong.workflow import AgentSpec, WorkflowGraph
from tests.system.engines import an_engine, until
from tests.system.platform import Platform, a_platform

APPS = {"tool-runner": partsong.tool_runner.app, "agent-gateway": partsong.agent_gateway.app}


@pytest.fixture
async def platform(bus: Bus) -> AsyncIterator[Platform]:
    async with a_platform(bus) as running:
        yield running


async def back(platform: Platform, name: str) -> None:
    settings = platform.settings
    platform.services[name] = await open_context(settings, APPS[name].service(settings))


def echo(attempts: int) -> WorkflowGraph:
    spec = AgentSpec(model="test:away", tools=("calculator",))
    graph = WorkflowGraph("echo")
    return graph.add_agent("a", spec, prompt="hi", retry=Retry(attempts=attempts))


async def test_an_agent_without_tool_runner_waits_uses_up_nothing_and_goes_on(
    platform: Platform,
) -> None:
    await platform.services["tool-runner"].stop()
    with ScriptedModel("hi", model="test:away"):
        run_id = await platform.client.start(echo(attempts=1), {})
        state = await until(platform, run_id, "waiting")
        assert state.waits_on is not None
        assert state.waits_on.on == "worker"
        assert "tool-runner" in state.waits_on.reason
        await back(platform, "tool-runner")
        result = await platform.client.result(run_id, timeout=60)
    assert result.raise_for_status()["a"] == "hi"
    assert (await platform.client.replay(run_id)).ok


async def test_a_parked_run_is_taken_up_when_a_worker_comes_before_its_timer_is_due(
    platform: Platform,
) -> None:
    await platform.services["tool-runner"].stop()
    timers: list[e.TimerSet] = []
    with ScriptedModel("hi", model="test:away"):
        run_id = await platform.client.start(echo(attempts=1), {})
        async with aclosing(platform.client.events(run_id, follow=True)) as followed:
            async for placed in followed:
                if isinstance(placed.event, e.TimerSet):
                    timers.append(placed.event)
                if len(timers) == 3:  # the third waits for eight seconds
                    break
        await back(platform, "tool-runner")
        assert (await platform.client.result(run_id, timeout=60)).status == "completed"
    events = [placed.event async for placed in platform.client.events(run_id)]
    fired = {x.timer_id: x.time for x in events if isinstance(x, e.TimerFired)}
    due = next(x for x in events if isinstance(x, e.TimerSet) and x.timer_id == timers[2].timer_id)
    assert fired[due.timer_id] < due.at


@pytest.mark.parametrize("name", APPS)
async def test_a_call_that_no_service_takes_is_a_run_that_waits_for_it(
    platform: Platform, name: str
) -> None:
    await platform.services[name].stop()
    graph = WorkflowGraph("f")
    if name == "tool-runner":
        graph.add_tool("a", "calculator", args={"expression": "1"})
    else:
        graph.add_agent("a", "scripted:echo", prompt="hi")
    run_id = await platform.client.start(graph, {})
    state = await platform.client.state(run_id)
    assert (state.phase, state.waits_on and state.waits_on.on) == ("waiting", "worker")
    assert state.waits_on is not None
    assert state.waits_on.reason == f"no {name} is running"
    await back(platform, name)
    result = await platform.client.result(run_id, timeout=60)
    assert result.status == "completed"
    calls = [call for call in (await platform.client.state(run_id)).calls.values() if call.exec]
    assert all(call.charged <= 1 for call in calls)


async def test_a_run_without_an_engine_says_that_nobody_decides(platform: Platform) -> None:
    graph = WorkflowGraph("w").add_wait("w", signal="go")
    run_id = await platform.client.start(graph, {})
    await platform.services["graph-engine"].stop()
    state = await platform.client.state(run_id)
    assert state.waits_on is not None
    assert state.waits_on.reason == "no graph-engine is running"
    async with an_engine(platform.settings):
        state = await platform.client.state(run_id)
        assert state.waits_on is not None
        assert state.waits_on.on == "signal"
