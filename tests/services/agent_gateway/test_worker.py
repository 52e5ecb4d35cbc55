"""The gateway on the bus: a turn is taken once, its chunks and its result are seen, and it can be stopped."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator

import pytest

from partsong.agent_gateway.app import Gateway
from partsong.agent_gateway.toolbox import Toolbox
from partsong.contracts.errors import NotFound, Unavailable
from partsong.contracts.events import AgentTurnCompleted, AgentTurnFailed, CallLapsed
from partsong.contracts.talk.chunks import Chunk, End, Failed, Start, Text
from partsong.contracts.wire.work import FunctionWork
from partsong.execution.functions import Functions
from partsong.models.port import TurnRequest
from partsong.runtime import clock
from partsong.testing.nats import Bus
from partsong.tool_runner.app import ToolRunner
from partsong.tools import ToolRegistry, tool
from tests.support.hinted import PATIENCE, Hinted, running
from tests.support.told_providers import Held, Player, turn, turns_by


@pytest.fixture
async def engine(bus: Bus) -> Hinted:
    hinted = Hinted(bus, "agent-gateway")
    await hinted.listen()
    return hinted


async def quick(request: TurnRequest) -> AsyncGenerator[Chunk, None]:
    yield Start(provider="scripted", model=request.model)
    yield Text(text="hello")
    yield End(stop="stop")


async def begun(held: Held) -> None:
    async with asyncio.timeout(PATIENCE):
        await held.begun.get()


async def test_a_turn_is_claimed_taken_shown_and_closed(engine: Hinted) -> None:
    async with running(engine.bus, Gateway(turns_by(Player(quick)))) as gateway:
        await engine.hint(turn())
        claimed, completed = await engine.about(turn(), 2)
        chunks = await engine.chunks()
        await engine.worked_off()
        worker = gateway.context.worker
    assert claimed.type == "agent.turn.claimed"
    assert isinstance(completed, AgentTurnCompleted)
    assert (completed.message.text, completed.worker) == ("hello", worker)
    assert [(chunk.kind, chunk.seq) for chunk in chunks] == [("start", 0), ("text", 1), ("end", 2)]


async def test_a_hint_that_comes_twice_asks_the_provider_once(engine: Hinted) -> None:
    player = Player(quick)
    async with running(engine.bus, Gateway(turns_by(player))):
        await engine.hint(turn(), turn(), turn())
        await engine.worked_off()
        await engine.hint(turn())
        await engine.worked_off()
    assert len(player.asked) == 1
    assert await engine.so_far(turn()) == ["agent.turn.claimed", "agent.turn.completed"]


async def test_of_two_gateways_one_asks_the_provider(engine: Hinted) -> None:
    held = Held()
    player = Player(held)
    async with (
        running(engine.bus, Gateway(turns_by(player))),
        running(engine.bus, Gateway(turns_by(player))),
    ):
        await engine.hint(*[turn()] * 8)
        await begun(held)
        async with asyncio.timeout(PATIENCE):
            while (
                not await engine.came_again()
            ):  # until the other one was given a copy, and found it busy
                await engine.hint(turn())
        held.go.set()
        await engine.worked_off()
    assert len(player.asked) == 1
    assert await engine.so_far(turn()) == ["agent.turn.claimed", "agent.turn.completed"]


async def test_a_stop_ends_the_turn_and_its_chunks(engine: Hinted) -> None:
    held = Held()
    async with running(engine.bus, Gateway(turns_by(Player(held)))) as gateway:
        await engine.hint(turn())
        await begun(held)
        await engine.stop("r_1")
        last = (await engine.chunks())[-1]
        await engine.worked_off()
        assert gateway.service.in_flight == 0
    assert isinstance(last, Failed)
    assert last.error == "cancelled"
    assert await engine.so_far(turn()) == ["agent.turn.claimed", "run.stopping"]


async def test_a_gateway_that_was_given_up_cannot_answer_any_more(engine: Hinted) -> None:
    held = Held()
    async with running(engine.bus, Gateway(turns_by(Player(held)))) as gateway:
        await engine.hint(turn())
        await begun(held)
        lapsed = CallLapsed(
            id="r_1.a:1/t1.1.lapsed",
            time=clock.now_text(),
            cause="c",
            call_id="a:1/t1",
            attempt=1,
            worker=gateway.context.worker,
        )
        await engine.append(turn(), lapsed)
        held.go.set()
        await engine.worked_off()
        assert await engine.so_far(turn()) == ["agent.turn.claimed", "call.lapsed"]
        await engine.hint(turn(attempt=2))
        await engine.worked_off()
    assert (await engine.so_far(turn()))[2:] == ["agent.turn.claimed", "agent.turn.completed"]


async def test_a_drain_waits_for_the_turn_that_is_being_taken(engine: Hinted) -> None:
    held = Held()
    async with running(engine.bus, Gateway(turns_by(Player(held)))) as gateway:
        await engine.hint(turn())
        await begun(held)
        stopping = asyncio.create_task(gateway.stop())
        await asyncio.sleep(0)
        held.go.set()
        await stopping
    assert await engine.so_far(turn()) == ["agent.turn.claimed", "agent.turn.completed"]
    assert await engine.left() == 0


async def test_a_drain_gives_back_the_turn_that_takes_too_long(engine: Hinted) -> None:
    held = Held()
    async with running(engine.bus, Gateway(turns_by(Player(held))), drain=0.001) as gateway:
        await engine.hint(turn())
        await begun(held)
        await gateway.stop()
    assert isinstance((await engine.chunks())[-1], Failed)
    assert await engine.left() == 1


async def test_a_hint_for_another_kind_of_worker_becomes_a_dead_letter(engine: Hinted) -> None:
    work = FunctionWork(run_id="r_1", call_id="f:1", node="f", function="m:f", state={})
    async with running(engine.bus, Gateway(turns_by(Player(quick)))):
        await engine.hint(work)
        letter = await engine.dead_letter()
        await engine.worked_off()
    assert isinstance(letter["reason"], dict)
    assert letter["reason"]["code"] == "work.wrong_service"


@tool(side_effect="none")
def lookup(query: str) -> str:
    """Looks something up."""
    return query


def tool_runner() -> ToolRunner:
    return ToolRunner(Functions(()), ToolRegistry((lookup,)))


async def test_the_model_is_shown_the_tools_that_its_agent_names(engine: Hinted) -> None:
    player = Player(quick)
    async with (
        running(engine.bus, tool_runner()),
        running(engine.bus, Gateway(turns_by(player))),
    ):
        await engine.hint(turn(tools=("lookup",)))
        await engine.about(turn(), 2)
    assert player.asked[0].tools == (lookup.spec(),)


@pytest.mark.parametrize(
    ("runner", "code", "retryable"),
    [(True, "tool.unknown", False), (False, "tools.no_answer", True)],
)
async def test_a_turn_whose_tools_are_not_there_fails_with_the_reason(
    engine: Hinted, runner: bool, code: str, retryable: bool
) -> None:
    player = Player(quick)
    async with running(engine.bus, Gateway(turns_by(player))):
        if runner:
            async with running(engine.bus, tool_runner()):
                await engine.hint(turn(tools=("lookup", "nothing")))
                _, failed = await engine.about(turn(), 2)
        else:
            await engine.hint(turn(tools=("lookup",)))
            _, failed = await engine.about(turn(), 2)
        (chunk,) = await engine.chunks()
    assert isinstance(failed, AgentTurnFailed)
    assert (failed.error.code, failed.error.retryable) == (code, retryable)
    assert isinstance(chunk, Failed)
    assert player.asked == []


async def test_known_tools_are_known_while_no_tool_runner_answers(bus: Bus) -> None:
    toolbox = Toolbox(bus.nc, bus.subjects, fresh=0.0)
    async with running(bus, tool_runner()):
        specs = await toolbox.specs(("lookup",))
    assert await toolbox.specs(("lookup",)) == specs
    with pytest.raises(Unavailable):
        await toolbox.specs(("lookup", "another"))


async def test_tools_of_different_tool_runners_are_all_known(bus: Bus) -> None:
    @tool(side_effect="read")
    def weigh(thing: str) -> int:
        """Weighs."""
        return len(thing)

    toolbox = Toolbox(bus.nc, bus.subjects, within=PATIENCE)
    other = ToolRunner(Functions(()), ToolRegistry((weigh,)))
    async with running(bus, tool_runner()), running(bus, other):
        for names in (("lookup", "weigh"), ("weigh", "lookup")):
            assert [spec.name for spec in await toolbox.specs(names)] == list(names)


async def test_an_unknown_tool_is_named_with_those_there_are(bus: Bus) -> None:
    toolbox = Toolbox(bus.nc, bus.subjects)
    async with running(bus, tool_runner()):
        with pytest.raises(NotFound, match=r"'nothing'.*lookup"):
            await toolbox.specs(("nothing",))
