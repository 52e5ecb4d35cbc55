"""Tools that a person must agree to, called by nodes, models and code: in one process, and over a real bus."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from pydantic import JsonValue

from partsong.agents import Agent, Toolset
from partsong.contracts import events as e
from partsong.contracts.state.results import RunResult
from partsong.contracts.wire.requests import RunRequest
from partsong.execution.functions import Functions
from partsong.runtime.settings import Settings
from partsong.testing import ScriptedModel, ToolCall
from partsong.testing.nats import Bus
from partsong.tool_runner.app import ToolRunner
from partsong.tools import ToolRegistry, tool
from partsong.tools.tool import AnyTool
from partsong.workflow import AgentSpec, WorkflowGraph
from tests.support.hinted import running
from tests.system.platform import Platform, a_platform, cli, decide


@dataclass
class Bank:
    """Its tool pays once a person has agreed."""

    paid: list[int] = field(default_factory=list)

    @property
    def tools(self) -> tuple[AnyTool, ...]:
        @tool(approval="args.amount >= 10")
        def pay(amount: int) -> str:
            """Pays."""
            self.paid.append(amount)
            return f"paid {amount}"

        return (pay,)


@pytest.fixture
def bank() -> Bank:
    return Bank()


Run = Callable[..., Awaitable[RunResult]]


@pytest.fixture
async def platform(bus: Bus, bank: Bank) -> AsyncIterator[Platform]:
    async with a_platform(bus) as platform:
        await platform.services["tool-runner"].stop()
        async with running(bus, runner(bank)) as platform.services["tool-runner"]:
            yield platform


def runner(bank: Bank) -> ToolRunner:
    return ToolRunner(Functions(()), ToolRegistry(bank.tools))


@pytest.fixture(params=["local", "bus"])
def run(request: pytest.FixtureRequest, bus: Bus) -> Run:
    """Runs a graph whose questions all get the same answer."""
    if request.param == "local":

        async def here(graph: WorkflowGraph, *, approve: bool = True) -> RunResult:
            async def answer(_asked: e.ApprovalRequested) -> bool:
                return approve

            return await graph.execute({"input": "go"}, approve=answer)

        return here
    platform: Platform = request.getfixturevalue("platform")

    async def there(graph: WorkflowGraph, *, approve: bool = True) -> RunResult:
        run_id = await platform.client.start(graph, {"input": "go"})
        await decide(bus, platform, run_id, approve=approve)
        return await platform.client.result(run_id, timeout=30)

    return there


def node(bank: Bank, tool: str = "pay", **args: JsonValue) -> WorkflowGraph:
    graph = WorkflowGraph("shop", tools=bank.tools)
    return graph.add_tool("buy", tool, args=args, tools=("pay",) if tool != "pay" else ())


def asked(result: RunResult) -> list[e.ApprovalRequested]:
    return [event for event in result.events if isinstance(event, e.ApprovalRequested)]


async def test_a_tool_node_waits_for_a_person(run: Run, bank: Bank) -> None:
    result = await run(node(bank, amount=50))
    assert result.raise_for_status()["buy"] == "paid 50"
    assert [question.context for question in asked(result)] == [{"amount": 50}]
    assert bank.paid == [50]


async def test_a_refused_tool_node_fails(run: Run, bank: Bank) -> None:
    result = await run(node(bank, amount=50), approve=False)
    assert result.error is not None
    assert (result.status, result.error.code) == ("failed", "approval.rejected")
    assert bank.paid == []


@pytest.mark.parametrize("approve", [True, False])
async def test_a_model_gets_the_result_or_the_refusal(run: Run, bank: Bank, approve: bool) -> None:
    graph = WorkflowGraph("shop", tools=bank.tools)
    graph.add_agent("clerk", AgentSpec(model="test:model", tools=("pay",)))
    with ScriptedModel(ToolCall("pay", {"amount": 50}), "done") as model:
        result = await run(graph, approve=approve)
    assert result.raise_for_status()["clerk"] == "done"
    said = model.asked[1].messages[-1].text
    assert said == "paid 50" if approve else said.startswith("approval.rejected")
    assert bank.paid == ([50] if approve else [])


CODE = """
small = pay(amount=1)
try:
    large = pay(50)
except RuntimeError as error:
    large = str(error).partition(":")[0]
[small, large, 6 * 7]
"""


@pytest.mark.parametrize("approve", [True, False])
async def test_code_waits_for_a_person_in_the_middle(run: Run, bank: Bank, approve: bool) -> None:
    result = await run(node(bank, "run_code", code=CODE), approve=approve)
    large = "paid 50" if approve else "approval.rejected"
    assert result.raise_for_status()["buy"] == {"value": ["paid 1", large, 42], "printed": ""}
    assert [question.context for question in asked(result)] == [{"amount": 50}]
    assert bank.paid == ([1, 50] if approve else [1])


async def test_code_of_a_model_calls_the_agents_other_tools(run: Run, bank: Bank) -> None:
    graph = WorkflowGraph("shop", tools=bank.tools)
    graph.add_agent("clerk", AgentSpec(model="test:model", tools=("pay", "run_code")))
    with ScriptedModel(ToolCall("run_code", {"code": CODE}), "done") as model:
        result = await run(graph)
    assert result.raise_for_status()["clerk"] == "done"
    assert '"value":["paid 1","paid 50",42]' in model.asked[1].messages[-1].text
    assert bank.paid == [1, 50]


async def test_an_agent_that_asks_from_some_side_effect_on_does_so_in_graphs(
    run: Run, bank: Bank
) -> None:
    graph = WorkflowGraph("shop", tools=bank.tools)
    toolset = Toolset(ToolRegistry(bank.tools), ["pay"], asks="write")
    with ScriptedModel(ToolCall("pay", {"amount": 1}), "done"):
        graph.add_agent("clerk", Agent("test:model", tools=toolset))
        result = await run(graph)
    assert [question.context for question in asked(result)] == [{"amount": 1}]
    assert bank.paid == [1]


async def test_code_that_waits_for_a_person_outlives_its_process(
    bank: Bank, tmp_path: Path
) -> None:
    graph, log = node(bank, "run_code", code=CODE), str(tmp_path / "log")
    left = await graph.execute({"input": "go"}, log=log, run_id="r_1")
    assert (left.status, bank.paid) == ("waiting", [1])

    async def answer(_asked: e.ApprovalRequested) -> bool:
        return True

    again = node(bank, "run_code", code=CODE)
    result = await again.execute({}, log=log, run_id="r_1", approve=answer)
    assert result.raise_for_status()["buy"] == {"value": ["paid 1", "paid 50", 42], "printed": ""}
    assert bank.paid == [1, 50]


async def test_code_that_waits_for_a_person_outlives_its_tool_runner(
    bus: Bus, bank: Bank, platform: Platform
) -> None:
    run_id = await platform.client.start(node(bank, "run_code", code=CODE), {"input": "go"})
    async for placed in platform.client.events(run_id, follow=True):
        if isinstance(placed.event, e.ApprovalRequested):
            break
    await platform.services["tool-runner"].stop()
    async with running(bus, runner(bank)):
        await decide(bus, platform, run_id, approve=True)
        result = await platform.client.result(run_id, timeout=30)
    assert result.raise_for_status()["buy"] == {"value": ["paid 1", "paid 50", 42], "printed": ""}
    assert bank.paid == [1, 50]


async def test_a_run_that_was_asked_for_before_a_restore_and_begins_since_asks_before_it_pays(
    bus: Bus, bank: Bank, tmp_path: Path
) -> None:
    settings, copy = Settings(data_dir=tmp_path / "data"), str(tmp_path / "copy")
    async with a_platform(bus, settings):
        await cli(bus, settings, "log", "backup", copy)
    graph = node(bank, "pay", amount=1).spec().spec()
    request = RunRequest(id="q", run_id="r_1", graph=graph)
    subject = bus.subjects.beginning("run", "ann", "r_1")
    await bus.nc.jetstream().publish(subject, request.model_dump_json().encode())
    await cli(bus, settings, "log", "restore", "--from", copy, "--replace")
    async with a_platform(bus, settings) as platform:
        await platform.services["tool-runner"].stop()
        async with running(bus, runner(bank)) as platform.services["tool-runner"]:
            async for placed in platform.client.events("r_1", follow=True):
                if isinstance(placed.event, e.ApprovalRequested):
                    assert "restored the log" in str(placed.event.detail)
                    break
            assert bank.paid == []
            await decide(bus, platform, "r_1", approve=True)
            assert (await platform.client.result("r_1", timeout=30)).status == "completed"
    assert bank.paid == [1]
