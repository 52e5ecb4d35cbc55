"""A turn whose gateway died is charged for what it had said, and the run goes on with another attempt."""

from __future__ import annotations

import asyncio

from partsong.agent_gateway.app import service
from partsong.bus.chunks import ChunkPublisher
from partsong.contracts import events as e
from partsong.contracts.events.envelope import encode_report
from partsong.contracts.talk.chunks import Start, Text
from partsong.runtime.serve import open_context
from partsong.testing import ScriptedModel
from partsong.testing.nats import Bus
from partsong.workflow import WorkflowGraph
from tests.system.platform import Platform, a_platform


async def seen(platform: Platform, run_id: str, kind: type[e.EventBase]) -> e.EventBase:
    async with asyncio.timeout(40):
        async for placed in platform.client.events(run_id, follow=True):
            if isinstance(placed.event, kind):
                return placed.event
    raise AssertionError(f"no {kind.__name__}")


async def test_both_attempts_of_a_turn_are_accounted_when_the_first_gateway_dies(bus: Bus) -> None:
    graph = WorkflowGraph("lost").add_agent("a", "test:lost", prompt="Say something.")
    async with a_platform(bus) as platform:
        gateway = platform.services["agent-gateway"]
        await gateway.stop()  # nobody takes the turn but the one below, who never ends it
        run_id = await platform.client.start(graph, {})
        await seen(platform, run_id, e.AgentTurnRequested)
        claimed = e.AgentTurnClaimed(
            id=f"{run_id}.a:1/t1.1.claimed.ghost",
            call_id="a:1/t1",
            attempt=1,
            worker="agent-gateway.ghost.1",
            price=e.TurnPrice(input=0.001, output=0.01),
        )
        body = encode_report(run_id, claimed)
        subject = bus.subjects.call(run_id, "a:1/t1")
        await platform.client.log.append(subject, body, id=claimed.id, expect=0)
        show = ChunkPublisher(platform.client.nats, bus.subjects).of(run_id, "a", "a:1/t1")
        show(Start(provider="test", model="lost", call_id="a:1/t1", attempt=1, seq=0))
        show(Text(text="word " * 80, call_id="a:1/t1", attempt=1, seq=1))
        await platform.client.nats.flush()
        lapsed = await seen(platform, run_id, e.CallLapsed)
        assert isinstance(lapsed, e.CallLapsed)
        assert lapsed.usage is not None
        assert lapsed.usage.estimated
        assert lapsed.usage.output_total == 100
        assert lapsed.usage.cost is not None
        assert lapsed.usage.cost > 1.0
        with ScriptedModel("something", model="test:lost"):
            again = await open_context(platform.settings, service(platform.settings))
            result = await platform.client.result(run_id, timeout=40)
            await again.stop()
        platform.services["agent-gateway"] = again
        state = await platform.client.state(run_id)
    assert result.raise_for_status()["a"] == "something"
    answered = [event for event in result.events if isinstance(event, e.AgentTurnCompleted)]
    assert [event.attempt for event in answered] == [2]
    assert state.usage.output_total == 100 + answered[0].usage.output_total
    assert state.usage.estimated
