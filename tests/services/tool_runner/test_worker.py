"""The tool-runner on the bus: functions and tools are called, what has effects only once, and results are seen."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Mapping

import pytest
from pydantic import JsonValue, TypeAdapter

from partsong.contracts.events import CallClaimed, CallCompleted, CallFailed
from partsong.contracts.graph import AgentSpec
from partsong.contracts.graph.function_results import NodeContext
from partsong.contracts.talk.chunks import Failed
from partsong.contracts.talk.messages import ToolSpec
from partsong.contracts.wire.work import FunctionWork, ToolWork, TurnWork
from partsong.execution.functions import Functions
from partsong.testing.nats import Bus
from partsong.tool_runner.app import ToolRunner
from partsong.tools import ToolRegistry, tool
from partsong.tools.tool import AnyTool
from tests.support.hinted import PATIENCE, Hinted, running


@pytest.fixture
async def engine(bus: Bus) -> Hinted:
    hinted = Hinted(bus, "tool-runner")
    await hinted.listen()
    return hinted


def runner(*tools: AnyTool, **functions: Callable[..., object]) -> ToolRunner:
    named = {f"m:{name}": function for name, function in functions.items()}
    return ToolRunner(Functions.local(named), ToolRegistry(tools))


def call(function: str, state: dict[str, JsonValue] | None = None) -> FunctionWork:
    return FunctionWork(
        run_id="r_1", call_id="f:1", node="f", function=f"m:{function}", state=state or {}
    )


def use(name: str, args: Mapping[str, JsonValue] | None = None) -> ToolWork:
    return ToolWork(run_id="r_1", call_id="t:1", node="t", tool=name, args=dict(args or {}))


class Held:
    """A function that waits until it is let go, and counts."""

    def __init__(self) -> None:
        self.begun: asyncio.Queue[str] = asyncio.Queue()
        self.go = threading.Event()
        self.calls = 0
        self._home = asyncio.get_running_loop()

    async def __call__(self, _state: Mapping[str, int], context: NodeContext) -> dict[str, str]:
        self.calls += 1
        context.emit("working")
        self._home.call_soon_threadsafe(self.begun.put_nowait, context.idempotency_key)
        while not self.go.is_set():  # noqa: ASYNC110  # it is set in another loop
            await asyncio.sleep(0.01)
        return {"done": "yes"}

    async def next(self) -> str:
        async with asyncio.timeout(PATIENCE):
            return await self.begun.get()


async def test_a_function_reports_a_fact(engine: Hinted) -> None:
    def double(state: Mapping[str, int]) -> dict[str, int]:
        return {"x": state["x"] * 2}

    async with running(engine.bus, runner(double=double)) as started:
        await engine.hint(call("double", {"x": 21}))
        (done,) = await engine.facts(call("double"), 1)
        await engine.worked_off()
        worker = started.context.worker
    assert isinstance(done, CallCompleted)
    assert (done.update, done.worker, done.id) == ({"x": 42}, worker, "r_1.f:1.1.closed")


async def test_a_function_that_raises_reports_that(engine: Hinted) -> None:
    def fail(_state: Mapping[str, int]) -> None:
        raise ValueError("no luck")

    async with running(engine.bus, runner(fail=fail)):
        await engine.hint(call("fail"))
        (done,) = await engine.facts(call("fail"), 1)
        await engine.worked_off()
    assert isinstance(done, CallFailed)
    assert "no luck" in done.error.message


async def test_what_a_function_shows_is_seen_in_order_and_ends(engine: Hinted) -> None:
    async def talk(_state: Mapping[str, int], context: NodeContext) -> None:
        for i in range(50):
            context.emit(str(i))

    async with running(engine.bus, runner(talk=talk)):
        await engine.hint(call("talk"))
        chunks = await engine.chunks()
    assert [chunk.seq for chunk in chunks] == list(range(51))
    assert [chunk.kind for chunk in chunks] == ["text"] * 50 + ["end"]


async def test_a_harmless_tool_reports_a_fact_without_a_claim(engine: Hinted) -> None:
    @tool(side_effect="read")
    def look(place: str) -> str:
        """Looks."""
        return f"nothing in {place}"

    async with running(engine.bus, runner(look)):
        await engine.hint(use("look", {"place": "the box"}))
        await engine.facts(use("look"), 1)
        await engine.worked_off()
    assert await engine.so_far(use("look")) == ["call.completed"]


async def test_a_tool_with_effects_is_claimed_and_called_once(engine: Hinted) -> None:
    called: list[str] = []

    @tool
    def send(text: str) -> str:
        """Sends."""
        called.append(text)
        return "sent"

    async with running(engine.bus, runner(send)):
        await engine.hint(*[use("send", {"text": "hello"})] * 3)
        await engine.worked_off()
        await engine.hint(use("send", {"text": "hello"}))
        await engine.worked_off()
    assert called == ["hello"]
    assert await engine.so_far(use("send")) == ["call.claimed", "call.completed"]


async def test_of_two_tool_runners_one_calls_the_tool_with_effects(engine: Hinted) -> None:
    begun, go = asyncio.Event(), asyncio.Event()
    calls = 0

    @tool
    async def send() -> str:
        """Sends."""
        nonlocal calls
        calls += 1
        begun.set()
        await go.wait()
        return "sent"

    async with running(engine.bus, runner(send)), running(engine.bus, runner(send)):
        await engine.hint(*[use("send")] * 8)
        async with asyncio.timeout(PATIENCE):
            await begun.wait()
            while not await engine.came_again():  # until the other one was given a copy too
                await engine.hint(use("send"))
        go.set()
        await engine.worked_off()
    assert calls == 1
    assert await engine.so_far(use("send")) == ["call.claimed", "call.completed"]


async def test_an_unknown_tool_is_handed_back_and_fails_under_a_claim(engine: Hinted) -> None:
    async with running(engine.bus, runner()):
        await engine.hint(use("nothing"))
        claimed, failed = await engine.about(use("nothing"), 2)
    assert isinstance(claimed, CallClaimed)
    assert claimed.repeatable
    assert isinstance(failed, CallFailed)
    assert failed.error.code == "tool.unknown"


async def test_a_stop_ends_the_call_and_its_chunks(engine: Hinted) -> None:
    held = Held()
    async with running(engine.bus, runner(held=held)):
        await engine.hint(call("held"))
        assert await held.next() == "r_1/f:1"
        await engine.stop("r_1")
        last = (await engine.chunks())[-1]
        await engine.worked_off()
    assert isinstance(last, Failed)
    assert last.error == "cancelled"
    assert await engine.so_far(call("held")) == ["run.stopping"]


async def test_the_call_of_a_tool_runner_that_stops_is_made_by_another_one(engine: Hinted) -> None:
    held, other = Held(), Held()
    other.go.set()
    async with running(engine.bus, runner(held=held), drain=0.1) as first:
        await engine.hint(call("held"))
        await held.next()
        await first.stop()
    async with running(engine.bus, runner(held=other)):
        claimed, done = await engine.about(call("held"), 2)
        await engine.worked_off()
    assert isinstance(claimed, CallClaimed)
    assert isinstance(done, CallCompleted)
    assert (held.calls, other.calls) == (1, 1)


async def test_a_call_that_workers_may_have_died_of_is_claimed_and_may_be_made_again(
    engine: Hinted,
) -> None:
    suspect = call("held").model_copy(update={"deaths": 1})
    held = Held()
    held.go.set()
    async with running(engine.bus, runner(held=held)):
        await engine.hint(suspect)
        claimed, done = await engine.about(suspect, 2)
    assert isinstance(claimed, CallClaimed)
    assert claimed.repeatable
    assert isinstance(done, CallCompleted)


async def test_a_hint_for_another_kind_of_worker_becomes_a_dead_letter(engine: Hinted) -> None:
    work = TurnWork(
        run_id="r_1", call_id="a:1/t1", node="a", agent=AgentSpec(model="scripted:x"), messages=()
    )
    async with running(engine.bus, runner()):
        await engine.hint(work)
        letter = await engine.dead_letter()
        await engine.worked_off()
    assert isinstance(letter["reason"], dict)
    assert letter["reason"]["code"] == "work.wrong_service"


async def test_it_says_which_tools_it_has(engine: Hinted) -> None:
    @tool
    def send(text: str) -> str:
        """Sends."""
        return text

    async with running(engine.bus, runner(send)):
        subject = engine.bus.subjects.query("tool-runner", "tools")
        reply = await engine.bus.nc.request(subject, timeout=PATIENCE)
    specs = TypeAdapter(list[ToolSpec]).validate_json(reply.data)
    assert send.spec() in specs
    assert "calculator" in {spec.name for spec in specs}
