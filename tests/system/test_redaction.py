"""Redacted arguments: the tool gets them, and neither those who look on nor the log do; in one process and on the bus."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field

import pytest
from nats.js.errors import NotFoundError
from pydantic import JsonValue

from partsong.agents import Agent
from partsong.contracts import events as e
from partsong.contracts.talk.messages import ToolCallPart
from partsong.execution.functions import Functions
from partsong.runtime.stream_table import Names
from partsong.testing import ScriptedModel, ToolCall
from partsong.testing.nats import Bus
from partsong.tool_runner.app import ToolRunner
from partsong.tools import ToolRegistry, tool
from partsong.tools.tool import AnyTool
from partsong.workflow import AgentSpec, Edited, WorkflowGraph
from tests.support.damage import until
from tests.support.hinted import running
from tests.system.platform import Platform, a_platform, decide

SECRET = "s3cr3t-42"


@dataclass
class Bank:
    """Remembers what it was called with."""

    got: list[str] = field(default_factory=list)

    @property
    def tools(self) -> tuple[AnyTool, ...]:
        @tool(side_effect="destructive", approval="args.amount >= 10", redact=("pin",))
        def pay(amount: int, pin: str) -> str:
            """Pays."""
            self.got.append(pin)
            return f"paid {amount} with {pin}"

        return (pay,)


@dataclass(frozen=True)
class Seen:
    """What anybody could see of a run that has ended."""

    status: str
    answer: object
    traces: tuple[bytes, ...]

    @property
    def showing(self) -> list[bytes]:
        return [trace for trace in self.traces if SECRET.encode() in trace]


Run = Callable[[WorkflowGraph], Awaitable[Seen]]


@pytest.fixture
def bank() -> Bank:
    return Bank()


@pytest.fixture
async def platform(bus: Bus, bank: Bank) -> AsyncIterator[Platform]:
    async with a_platform(bus) as platform:
        await platform.services["tool-runner"].stop()
        service = ToolRunner(Functions(()), ToolRegistry(bank.tools))
        async with running(bus, service) as platform.services["tool-runner"]:
            yield platform


@pytest.fixture(params=["local", "bus"])
def run(request: pytest.FixtureRequest, bus: Bus) -> Run:
    """Runs a graph, and a person agrees to its first question."""
    if request.param == "local":

        async def here(graph: WorkflowGraph) -> Seen:
            async def yes(_asked: e.ApprovalRequested) -> bool:
                return True

            items = [item async for item in graph.stream({"input": "go"}, approve=yes)]
            done = next(item for item in items if isinstance(item, e.RunCompleted))
            traces = tuple(item.model_dump_json().encode() for item in items)
            return Seen(done.type.removeprefix("run."), done.model_dump(), traces)

        return here
    platform: Platform = request.getfixturevalue("platform")

    async def there(graph: WorkflowGraph) -> Seen:
        run_id = await platform.client.start(graph, {"input": "go"})
        await decide(bus, platform, run_id, approve=True)
        result = await platform.client.result(run_id, timeout=30)
        names = Names.of(bus.subjects)
        traces = [*await stored(bus, names.log), *await stored(bus, names.chunks)]

        async def forgotten() -> bool:
            return not await stored(bus, f"KV_{names.redacted}", empty=False)

        await until(forgotten)
        return Seen(result.status, result.state, tuple(traces))

    return there


async def stored(bus: Bus, stream: str, *, empty: bool = True) -> list[bytes]:
    """The bodies that a stream holds; without the empty ones, if told so."""
    js = bus.nc.jetstream()
    info = await js.stream_info(stream)
    found: list[bytes] = []
    for seq in range(max(1, info.state.first_seq), info.state.last_seq + 1):
        with suppress(NotFoundError):
            found.append((await js.get_msg(stream, seq)).data or b"")
    return [body for body in found if body or empty]


async def test_a_models_argument_reaches_its_tool_and_nobody_else(run: Run, bank: Bank) -> None:
    graph = WorkflowGraph("shop", tools=bank.tools)
    graph.add_agent("clerk", AgentSpec(model="test:model", tools=("pay",)))
    asks = ToolCall("pay", {"amount": 50, "pin": SECRET})
    with ScriptedModel(asks, "done", model="test:model") as model:
        seen = await run(graph)
    assert (seen.status, bank.got) == ("completed", [SECRET])
    assert seen.showing == []
    assert any(b"[redacted" in trace for trace in seen.traces)
    assert model.asked[1].messages[-1].text == "paid 50 with [redacted]"
    assert SECRET not in str(model.asked[1].messages)


CODE = """
first = pay(amount=1, pin="".join(["s3cr", "3t-42"]))
second = pay(amount=50, pin="".join(["s3cr", "3t-42"]))
[first, second]
"""


async def test_code_that_waits_does_not_show_it_either(run: Run, bank: Bank) -> None:
    """The snapshot of the code holds it, so the whole of it is out of sight."""
    graph = WorkflowGraph("shop", tools=bank.tools)
    graph.add_tool("run", "run_code", args={"code": CODE}, tools=("pay",))
    seen = await run(graph)
    assert (seen.status, bank.got) == ("completed", [SECRET, SECRET])
    assert seen.showing == []
    paused = [trace for trace in seen.traces if b"call.suspended" in trace]
    assert len(paused) == 2
    assert all(b'"snapshot":"[redacted ' in trace for trace in paused)


async def test_a_lone_agents_caller_is_not_shown_it(bank: Bank) -> None:
    asked: list[ToolCallPart] = []

    def yes(call: ToolCallPart) -> bool:
        asked.append(call)
        return True

    with ScriptedModel(ToolCall("pay", {"amount": 50, "pin": SECRET}), "done", model="test:model"):
        result = await Agent(model="test:model", tools=bank.tools, approve=yes).call("Pay")
    assert bank.got == [SECRET]
    assert [call.args for call in asked] == [{"amount": 50, "pin": "[redacted]"}]
    assert SECRET not in str(result.messages)


async def test_a_state_that_holds_a_placeholder_opens_nothing(bank: Bank) -> None:
    """Else whoever reads a token in the log could have a call made with what it stands for."""
    graph = WorkflowGraph("shop", tools=bank.tools)
    forged = "[redacted aaaaaaaaaaaaaaaaaaaaaa]"
    graph.add_tool("buy", "pay", args={"amount": 1, "pin": forged})
    assert (await graph.execute({})).status == "completed"
    assert bank.got == [forged]


@pytest.mark.parametrize(
    ("change", "got", "said"),
    [
        ({"amount": 20, "pin": "[redacted]"}, [SECRET], "paid 20 with [redacted]"),
        ({"amount": 20, "pin": "0000"}, [], "approval.bad_edit"),
    ],
)
async def test_a_person_may_change_the_other_arguments(
    bank: Bank, change: dict[str, JsonValue], got: list[str], said: str
) -> None:
    async def edit(_asked: e.ApprovalRequested) -> Edited:
        return Edited(change)

    graph = WorkflowGraph("shop", tools=bank.tools)
    graph.add_agent("clerk", AgentSpec(model="test:model", tools=("pay",)))
    asks = ToolCall("pay", {"amount": 50, "pin": SECRET})
    with ScriptedModel(asks, "done", model="test:model") as model:
        await graph.execute({"input": "go"}, approve=edit)
    assert (bank.got, said in str(model.asked[-1].messages[-1])) == (got, True)

    with ScriptedModel(asks, "done", model="test:model") as model:
        bank.got.clear()
        agent = Agent(model="test:model", tools=bank.tools, approve=lambda _call: Edited(change))
        await agent.call("Pay")
    assert (bank.got, said in str(model.asked[-1].messages[-1])) == (got, True)
