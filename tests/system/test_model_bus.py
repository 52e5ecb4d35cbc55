"""Random graphs mean the same on a memory log and on a bus with two engines as to the reference interpreter."""

from __future__ import annotations

import asyncio
from collections import Counter
from contextlib import AsyncExitStack

from hypothesis import HealthCheck, Phase, settings
from hypothesis import given as forall
from pydantic import JsonValue

from partsong.contracts.errors import InvalidInput
from partsong.contracts.state.results import RunResult
from partsong.engine.local.player import open_player
from partsong.testing.nats import Bus
from tests.support import model
from tests.support.graphs_strategy import Example, examples
from tests.support.ran import Ambiguous, Ran
from tests.support.world import comes
from tests.system.engines import an_engine
from tests.system.platform import Platform, a_platform
from tests.unit.engine.test_model import exact, plain

HOW_MANY = 24


def drawn() -> list[tuple[Example, Ran]]:
    """The same examples every time: what runs to its end whatever comes first, the simplest ones left out."""
    found: list[tuple[Example, Ran]] = []

    @settings(
        max_examples=5 * HOW_MANY,
        derandomize=True,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    )
    @forall(examples(most=6))
    def collect(example: Example) -> None:
        try:
            ran = model.run(example.graph, example.input)
        except Ambiguous:
            return
        if exact(ran, example) and len(ran.must) >= 4:
            found.append((example, ran))

    collect()
    assert len(found) >= HOW_MANY
    return found[:HOW_MANY]


def signals(example: Example, ran: Ran) -> list[str]:
    """The signals that a run needs, as often as it may need them."""
    waited = Counter(
        exec_id.rpartition("/")[2].rpartition(":")[0] for exec_id in ran.must | ran.may
    )
    world = example.input["world"]
    assert isinstance(world, dict)
    return [
        name
        for name, plan in world.items()
        if isinstance(plan, dict) and "comes" in plan and comes(example.input, name)
        for _ in range(waited[name])
    ]


def agrees(ran: Ran, result: RunResult) -> None:
    scheduled = {event.exec for event in result.events if event.type == "node.scheduled"}
    assert result.status == ("failed" if ran.failed else "completed"), result.error
    assert ran.must <= scheduled <= ran.must | ran.may
    assert plain(dict(result)) == plain(ran.state)


async def locally(example: Example, ran: Ran) -> RunResult:
    sent: dict[str, JsonValue] = {name: name for name in signals(example, ran)}
    async with open_player(example.graph, {}) as player:
        result = await player.execute(example.input, run_id="r_1", signals=sent)
        while result.status == "waiting":
            result = await player.execute({}, run_id="r_1", signals=sent)
        return result


async def on_the_bus(platform: Platform, example: Example, ran: Ran, i: int) -> RunResult:
    run_id = await platform.client.start(example.graph, example.input, run_id=f"r_{i}")
    for name in signals(example, ran):
        try:
            await platform.client.signal(run_id, name, name)
        except InvalidInput as refused:
            assert refused.problem.code == "run.ended"  # noqa: PT017  # it did not need them all
    return await platform.client.result(run_id, timeout=120)


async def test_random_graphs_give_the_same_on_memory_and_on_a_bus_with_two_engines(
    bus: Bus,
) -> None:
    found = drawn()
    for example, ran in found:
        agrees(ran, await locally(example, ran))
    async with AsyncExitStack() as stack:
        platform = await stack.enter_async_context(a_platform(bus))
        await stack.enter_async_context(an_engine(platform.settings))
        results = await asyncio.gather(
            *(on_the_bus(platform, *pair, i) for i, pair in enumerate(found))
        )
        for (_, ran), result in zip(found, results, strict=True):
            agrees(ran, result)
