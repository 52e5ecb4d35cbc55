"""The graph suite over real services and a real NATS, and what only the bus can show."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping

import pytest
import pytest_asyncio
from pydantic import JsonValue

from partsong.contracts.errors import InvalidInput
from partsong.contracts.state.results import RunResult
from partsong.testing.nats import Bus, a_bus, fresh_subjects
from partsong.workflow import WorkflowGraph
from tests.system import graphs, nodes
from tests.system.construct_suite import ConstructSuite
from tests.system.platform import Platform, a_platform, decide
from tests.system.suite import GraphSuite, Runner


@pytest.fixture
async def platform(bus: Bus) -> AsyncIterator[Platform]:
    async with a_platform(bus) as running:
        yield running


class BusRunner:
    """Starts runs with the client, and waits for their results."""

    def __init__(self, bus: Bus, platform: Platform) -> None:
        self.bus, self.platform = bus, platform

    async def run(
        self,
        graph: WorkflowGraph,
        input: dict[str, JsonValue],
        *,
        approve: bool | None = None,
        signals: Mapping[str, JsonValue] | None = None,
    ) -> RunResult:
        run_id = await self.platform.client.start(graph, input)
        for name, payload in (signals or {}).items():
            await self.platform.client.signal(run_id, name, payload)
        if approve is not None:
            await asyncio.wait_for(decide(self.bus, self.platform, run_id, approve=approve), 30)
        return await self.platform.client.result(run_id, timeout=30)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shared(nats_url: str) -> AsyncIterator[Runner]:
    """One platform for the whole suite: a run does not care what the runs before have left in the log."""
    async with a_bus(nats_url, fresh_subjects()) as bus, a_platform(bus) as platform:
        yield BusRunner(bus, platform)


@pytest.mark.asyncio(loop_scope="module")
class TestBus(GraphSuite, ConstructSuite):
    @pytest.fixture
    def runner(self, shared: Runner) -> Runner:
        return shared


async def test_the_same_start_twice_is_one_run(platform: Platform) -> None:
    first = await platform.client.start(graphs.chain(), {"x": 1}, run_id="r_mine")
    again = await platform.client.start(graphs.chain(), {"x": 1}, run_id="r_mine")
    assert first == again == "r_mine"
    result = await platform.client.result("r_mine", timeout=30)
    assert sum(event.type == "run.started" for event in result.events) == 1


async def test_the_same_run_id_with_another_graph_is_refused(platform: Platform) -> None:
    await platform.client.start(graphs.chain(), run_id="r_mine")
    with pytest.raises(InvalidInput, match="exists with another graph"):
        await platform.client.start(graphs.triage(), run_id="r_mine")


async def test_a_graph_is_known_by_name_and_hash_once_it_was_sent(platform: Platform) -> None:
    graph = graphs.chain().compile()
    await platform.client.start(graph)
    for name in ("chain", graph.hash):
        run_id = await platform.client.start(name)
        assert (await platform.client.result(run_id, timeout=30)).status == "completed"


async def test_graphs_without_a_name_do_not_meet_on_the_bus(platform: Platform) -> None:
    found = []
    for value in (1, 2):
        graph = WorkflowGraph().add_transform("made", {"made": str(value)})
        await platform.client.start(graph)
        found.append(graph.compile().name)
    for name, value in zip(found, (1, 2), strict=True):
        run_id = await platform.client.start(name)
        assert (await platform.client.result(run_id, timeout=30))["made"] == value


async def test_cancel_reaches_a_running_function_and_ends_the_run(platform: Platform) -> None:
    nodes.asleep.clear()
    nodes.stopped.clear()
    run_id = await platform.client.start(graphs.single("sleepy"))
    await asyncio.wait_for(nodes.asleep.wait(), 30)
    await platform.client.cancel(run_id, "changed my mind")
    result = await platform.client.result(run_id, timeout=30)
    assert result.status == "cancelled"
    assert result.error is not None
    assert result.error.message == "changed my mind"
    await asyncio.wait_for(nodes.stopped.wait(), 30)


async def test_cancelling_an_unknown_run_is_refused(platform: Platform) -> None:
    with pytest.raises(InvalidInput, match="no run r_nowhere"):
        await platform.client.cancel("r_nowhere")


async def test_chunks_stream_live_and_late_with_one_terminal_chunk_per_attempt(
    platform: Platform,
) -> None:
    run_id = await platform.client.start(graphs.asking(), {"word": "melody"})
    live = [chunk async for chunk in platform.client.stream(run_id)]
    late = [chunk async for chunk in platform.client.stream(run_id)]
    assert [c.seq for c in live] == list(range(len(live)))
    assert live[0].kind == "start"
    assert live[-1].kind == "end"
    assert "melody" in "".join(c.text for c in live if c.kind == "text")
    assert late == live


async def test_a_replay_gives_the_same_state_and_calls_nobody(platform: Platform) -> None:
    run_id = await platform.client.start(graphs.diamond())
    result = await platform.client.result(run_id, timeout=30)
    replayed = await platform.client.replay(run_id)
    assert replayed.ok, replayed.findings
    assert replayed.state == await platform.client.state(run_id)
    assert replayed.state.values == result.state


async def test_the_state_at_a_sequence_is_the_state_as_it_was(platform: Platform) -> None:
    run_id = await platform.client.start(graphs.diamond())
    await platform.client.result(run_id, timeout=30)
    placed = [found async for found in platform.client.events(run_id)]
    joined = next(
        found
        for found in placed
        if found.event.type == "node.scheduled" and found.event.node == "join"
    )
    state = await platform.client.state(run_id, at=joined.seq)
    assert state.values["log"] == ["left", "right"]
    assert "sum" not in state.values


async def test_runs_are_listed_with_status_and_error(platform: Platform) -> None:
    good = await platform.client.start(graphs.chain())
    bad = await platform.client.start(graphs.failing())
    await platform.client.result(good, timeout=30)
    await platform.client.result(bad, timeout=30)
    found = {run.run_id: run for run in await platform.client.runs()}
    assert found[good].status == "completed"
    assert (found[bad].status, found[bad].error) == ("failed", "function.raised")
    assert [run.run_id for run in await platform.client.runs(status="failed")] == [bad]


async def test_a_function_that_no_other_process_can_import_is_refused_with_what_to_do(
    platform: Platform,
) -> None:
    graph = WorkflowGraph("t").add_node("a", lambda state: {"x": 1})
    with pytest.raises(InvalidInput, match="is a lambda") as caught:
        await platform.client.start(graph)
    assert "--load" in str(caught.value)
