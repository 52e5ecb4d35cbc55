"""What the client asks of runs, with real services: they pause, hear signals, and go on after their end."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import cast

import pytest
from pydantic import JsonValue

from partsong.client import Client
from partsong.client.requests import ask
from partsong.contracts.errors import InvalidInput, NotFound, Unavailable
from partsong.contracts.wire.requests import RunRequest, SignalRequest
from partsong.graph_engine.commands import Commands
from partsong.testing.nats import Bus
from tests.system import graphs, nodes
from tests.system.engines import until
from tests.system.platform import Platform, a_platform

WITHIN = 30.0
GATES: dict[str, JsonValue] = {
    "name": "gates",
    "entry": "first",
    "nodes": {
        "first": {"type": "wait", "signal": "go", "output": "first"},
        "second": {
            "type": "wait",
            "signal": "go",
            "output": "second",
            "signal_schema": {"type": "integer"},
        },
    },
    "edges": [{"from": "first", "to": "second"}],
}


@pytest.fixture
async def platform(bus: Bus) -> AsyncIterator[Platform]:
    nodes.called.clear()
    nodes.mended.clear()
    async with a_platform(bus) as running:
        yield running


@pytest.fixture
def client(platform: Platform) -> Client:
    return platform.client


async def test_a_paused_run_begins_nothing_until_it_is_resumed(
    platform: Platform, client: Client
) -> None:
    run_id = await client.start(GATES)
    await until(platform, run_id, "waiting")
    await client.pause(run_id, "lunch")
    await client.pause(run_id)
    await client.signal(run_id, "go", 1)
    state = await client.state(run_id)
    assert (state.phase, "first:1" in state.executions) == ("paused", True)
    await client.resume(run_id)
    await client.resume(run_id)
    await client.signal(run_id, "go", 2)
    result = await client.result(run_id, timeout=WITHIN)
    assert (result["first"], result["second"]) == (1, 2)
    kinds = [event.type for event in result.events]
    assert (kinds.count("run.paused"), kinds.count("run.resumed")) == (1, 1)


async def test_a_signal_sent_twice_under_one_id_counts_once(
    platform: Platform, client: Client
) -> None:
    run_id = await client.start(GATES)
    for _ in range(2):
        await client.signal(run_id, "go", 1, signal_id="payment-7")
    await until(platform, run_id, "waiting")
    await client.signal(run_id, "go", 2, signal_id="payment-8")
    assert (await client.result(run_id, timeout=WITHIN))["second"] == 2


async def test_two_runs_may_hear_signals_of_the_same_id(client: Client) -> None:
    runs = [await client.start(GATES) for _ in range(2)]
    for n in (1, 2):
        sent = (client.signal(run, "go", n, signal_id=f"order-{n}") for run in runs)
        await asyncio.gather(*sent)
    for run in runs:
        assert (await client.result(run, timeout=WITHIN)).status == "completed"


ORDERS: dict[str, JsonValue] = {
    "name": "orders",
    "nodes": {
        "all": {
            "type": "map",
            "over": "orders",
            "into": "paid",
            "collect": "sum",
            "graph": {
                "name": "order",
                "nodes": {
                    "w": {"type": "wait", "signal": "paid", "key": "state.item", "output": "sum"}
                },
            },
        }
    },
}


async def test_a_signal_finds_the_item_whose_key_it_has(platform: Platform, client: Client) -> None:
    run_id = await client.start(ORDERS, {"orders": ["a", "b", "c"]})
    await client.signal(run_id, "paid", 3, key="c")
    await until(platform, run_id, "waiting")
    await client.signal(run_id, "paid", 1, key="a")
    with pytest.raises(InvalidInput, match=r"waits for 'paid' in orders has a key"):
        await client.signal(run_id, "paid", 2)
    await client.signal(run_id, "paid", 2, key="b")
    assert (await client.result(run_id, timeout=WITHIN))["paid"] == [1, 2, 3]


async def test_the_first_of_many_signals_starts_the_run_and_each_arrives_once(
    client: Client,
) -> None:
    given = {"orders": [f"o{n}" for n in range(8)]}
    sent = [
        client.signal(
            "r_month", "paid", n, key=f"o{n}", signal_id=f"p{n}", start=ORDERS, input=given
        )
        for n in range(8)
        for _ in range(2)  # each is told twice
    ]
    await asyncio.gather(*sent)
    result = await client.result("r_month", timeout=WITHIN)
    assert result["paid"] == list(range(8))
    kinds = [event.type for event in result.events]
    assert (kinds.count("run.started"), kinds.count("signal.received")) == (1, 8)


async def test_a_signal_that_is_refused_starts_nothing(client: Client) -> None:
    """Nor does one for a graph or an input that is no good."""
    strict = {**GATES, "state_schema": {"properties": {"x": {"type": "integer"}}}}
    refused = {
        "signal.unknown": client.signal("r_new", "stop", start=GATES),
        "signal.invalid": client.signal("r_new", "go", "text", start=GATES),
        "signal.key": client.signal("r_new", "go", 1, key="a", start=GATES),
        "graph.unknown": client.signal("r_new", "go", start="nobody-knows"),
        "state.invalid": client.signal("r_new", "go", 1, start=strict, input={"x": "no"}),
        "request.malformed": client.signal("r_new", "go", input={"x": 1}),
        "id.reserved": client.signal("r~new", "go", 1, start=GATES),
    }
    for code, asking in refused.items():
        with pytest.raises(InvalidInput) as error:
            await asking
        assert error.value.problem.code == code
    assert await client.runs() == []


async def test_who_died_between_the_two_commands_does_the_rest_when_it_comes_again(
    bus: Bus, client: Client
) -> None:
    """The first command stands in the log, and the run has begun by it, when the same request is delivered again."""
    asked = RunRequest(id="q1~start", run_id="r_half", graph=GATES)
    graph = await client.start(GATES, run_id="r_other")
    hashed = (await client.state(graph)).root.graph.hash
    commands = Commands(bus.log(), bus.subjects)
    half = asked.model_copy(update={"graph": hashed})
    assert await commands.append("run", "r_half", "q1~start", half)
    request = SignalRequest.model_validate(
        {"id": "q1", "run_id": "r_half", "name": "go", "payload": 1, "start": {"graph": GATES}}
    )
    for _ in range(2):
        await ask(client.nats, client.subjects, "signal", "q1", request, within=WITHIN)
    kinds = [placed.event.type async for placed in client.events("r_half")]
    assert (kinds.count("run.started"), kinds.count("signal.received")) == (1, 1)


async def test_what_nobody_waits_for_is_refused(client: Client) -> None:
    run_id = await client.start(GATES)
    refused = {
        "signal.unknown": client.signal(run_id, "stop"),
        "signal.invalid": client.signal(run_id, "go", "text"),
        "request.malformed": client.signal(run_id, "go", object()),
        "id.invalid": client.signal(run_id, "go", signal_id="a b"),
        "run.unknown": client.signal("r_nobody", "go"),
        "run.not_ended": client.retry(run_id),
    }
    for code, asking in refused.items():
        with pytest.raises(InvalidInput) as error:
            await asking
        assert error.value.problem.code == code
    await client.cancel(run_id)
    await client.result(run_id, timeout=WITHIN)
    with pytest.raises(InvalidInput, match="nobody waits"):
        await client.signal(run_id, "go")


async def test_whoever_follows_a_retried_run_waits_for_its_next_end(client: Client) -> None:
    run_id = await client.start(graphs.shop(), {"amount": 40})
    first = await client.result(run_id, timeout=WITHIN)
    nodes.mended.set()
    await client.retry(run_id)
    chunks = [chunk async for chunk in client.stream(run_id)]
    second = await client.result(run_id, timeout=WITHIN)
    assert (first.status, second.status) == ("failed", "completed")
    assert second.events[: len(first.events)] == first.events
    followed = [placed.event async for placed in client.events(run_id, follow=True)]
    assert (followed[-1].type, chunks) == ("run.completed", [])
    with pytest.raises(InvalidInput, match="only one that failed"):
        await client.retry(run_id)


async def test_a_retry_with_another_limit_keeps_all_other_options(client: Client) -> None:
    run_id = await client.start(
        graphs.loop(), {"until": 6}, max_steps=3, max_cost=2.5, thread="t", labels={"who": "ann"}
    )
    stopped = await client.result(run_id, timeout=WITHIN)
    assert stopped.status == "limit_exceeded"
    await client.retry(run_id, max_steps=100, deadline="2100-01-01T00:00:00Z")
    assert (await client.result(run_id, timeout=WITHIN))["n"] == 6
    options = (await client.state(run_id)).options
    assert (options.max_steps, options.deadline) == (100, "2100-01-01T00:00:00Z")
    assert (options.max_cost, options.thread, options.labels) == (2.5, "t", {"who": "ann"})


async def test_a_retry_may_bring_the_graph_mended(client: Client) -> None:
    run_id = await client.start(graphs.shop(), {"amount": 40})
    await client.result(run_id, timeout=WITHIN)
    spec = graphs.shop().spec().spec()
    all_nodes = cast("dict[str, dict[str, JsonValue]]", spec["nodes"])
    all_nodes["pay"]["function"] = "tests.system.nodes:nothing"
    await client.retry(run_id, graph=spec)
    assert (await client.result(run_id, timeout=WITHIN)).status == "completed"
    assert nodes.called == ["price", "pay"]


async def test_a_run_starts_with_all_its_options(platform: Platform, client: Client) -> None:
    first = await client.start(GATES, thread="talk")
    with pytest.raises(InvalidInput, match="talk"):
        await client.start(GATES, thread="talk", on_busy="reject")
    second = await client.start(
        GATES,
        thread="talk",
        on_busy="cancel_previous",
        max_cost=1,
        webhook="https://127.0.0.1:9/told",
    )
    assert (await client.result(first, timeout=WITHIN)).status == "cancelled"
    options = (await until(platform, second, "waiting")).options
    assert (options.max_cost, options.webhook) == (1, "https://127.0.0.1:9/told")
    with pytest.raises(InvalidInput, match="on_busy"):
        await client.start(GATES, on_busy=cast("object", "wait"))  # type: ignore[arg-type]


async def test_retrying_a_run_that_nobody_knows_is_not_found(client: Client) -> None:
    with pytest.raises(NotFound):
        await client.retry("r_nobody")


async def test_a_fork_that_nobody_answers_says_under_which_id_to_ask_again(bus: Bus) -> None:
    async with Client(bus.url, prefix=bus.subjects.prefix, timeout=0.2) as alone:
        with pytest.raises(Unavailable) as silent:
            await alone.fork("r_1")
    problem = silent.value.problem
    assert (problem.where or "").startswith("new_run_id=r_")
    assert "asking again" in (problem.fix or "")


async def test_a_schedule_is_kept_replaced_listed_and_removed(client: Client) -> None:
    await client.schedule("leap", GATES, {"x": 1}, every="400d")
    await client.schedule("leap", GATES, cron="0 0 0 29 2 *", timezone="Europe/Berlin", max_cost=1)
    kept = await client.schedules()
    assert [(s.name, s.cron, s.overlap, s.options.max_cost) for s in kept] == [
        ("leap", "0 0 0 29 2 *", "skip", 1)
    ]
    await client.unschedule("leap")
    assert await client.schedules() == []
    for code, asking in {
        "schedule.unknown": client.unschedule("leap"),
        "schedule.too_often": client.schedule("leap", GATES, every=0.1),
        "request.malformed": client.schedule("leap", GATES),
    }.items():
        with pytest.raises(InvalidInput) as error:
            await asking
        assert error.value.problem.code == code


async def test_without_an_engine_nobody_says_which_schedules_there_are(bus: Bus) -> None:
    async with Client(bus.url, prefix=bus.subjects.prefix) as alone:
        with pytest.raises(Unavailable, match="no engine says"):
            await alone.schedules()
