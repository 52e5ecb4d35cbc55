"""Bad requests: each gets an error that names the field, and a dead letter; the services stay up."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from partsong.testing.nats import Bus
from tests.system import graphs
from tests.system.platform import Platform, a_platform

F = {"type": "function", "function": "tests.system.nodes:start"}
GRAPH = {"name": "t", "nodes": {"a": F}}


@pytest.fixture
async def platform(bus: Bus) -> AsyncIterator[Platform]:
    async with a_platform(bus) as running:
        yield running


async def ask(
    bus: Bus, verb: str, body: bytes, reply_id: str, headers: dict[str, str] | None = None
) -> dict[str, Any]:
    """Publish raw bytes and wait for the answer, with nothing of ours but the subjects' names."""
    prefix = bus.subjects.prefix
    answer: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

    async def take(msg: Any) -> None:
        if not answer.done():
            answer.set_result(msg.data)

    sub = await bus.nc.subscribe(f"{prefix}.reply.{reply_id}", cb=take)
    await bus.nc.flush()
    await bus.nc.publish(f"{prefix}.request.{verb}", body, headers=headers)
    reply: dict[str, Any] = json.loads(await asyncio.wait_for(answer, 30))
    await sub.unsubscribe()
    return reply


def with_graph(**graph: object) -> bytes:
    return json.dumps({"id": "q", "graph": {**GRAPH, **graph}}).encode()


BAD = {
    "bad JSON": ("run", b'{"id": "q", "graph": ', "request.malformed", "body"),
    "not an object": ("run", b"[1, 2]", "request.malformed", "body"),
    "unknown version": (
        "run",
        json.dumps({"id": "q", "v": 99, "graph": GRAPH}).encode(),
        "request.malformed",
        "v",
    ),
    "no graph": ("run", b'{"id": "q"}', "request.malformed", "graph"),
    "graph of a wrong type": ("run", b'{"id": "q", "graph": 7}', "request.malformed", "graph.str"),
    "input of a wrong type": (
        "run",
        json.dumps({"id": "q", "graph": GRAPH, "input": [1]}).encode(),
        "request.malformed",
        "input",
    ),
    "unknown graph": ("run", b'{"id": "q", "graph": "nobody-knows"}', "graph.unknown", "graph"),
    "unknown edge target": (
        "run",
        with_graph(edges=[{"from": "a", "to": "path_X"}]),
        "graph.unknown_target",
        "edges[0].to",
    ),
    "unknown node type": (
        "run",
        with_graph(nodes={"a": {"type": "magic"}}),
        "graph.malformed",
        "graph.nodes.a",
    ),
    "unknown field in a node": (
        "run",
        with_graph(nodes={"a": {**F, "retries": 3}}),
        "graph.malformed",
        "graph.nodes.a.function.retries",
    ),
    "hostile run id": (
        "run",
        json.dumps({"id": "q", "run_id": "r.*.>", "graph": GRAPH}).encode(),
        "id.invalid",
        "run_id",
    ),
    "2 MB": (
        "run",
        json.dumps({"id": "q", "graph": GRAPH, "input": {"x": "y" * 2_000_000}}).encode(),
        "request.too_large",
        "body",
    ),
    "unknown verb": ("dance", b'{"id": "q"}', "request.unknown_verb", "subject"),
    "cancel without a run": ("cancel", b'{"id": "q"}', "request.malformed", "run_id"),
    "80 KB of CEL": (
        "run",
        with_graph(nodes={"a": {"type": "transform", "set": {"x": "1" + "+1" * 40_000}}}),
        "cel.too_long",
        "nodes.a.set.x",
    ),
    "CEL that nests": (
        "run",
        with_graph(nodes={"a": {"type": "transform", "set": {"x": "(" * 90 + "1" + ")" * 90}}}),
        "cel.syntax",
        "nodes.a.set.x",
    ),
    "a schema that leads elsewhere": (
        "run",
        with_graph(state_schema={"properties": {"x": {"$ref": "file:///etc/passwd"}}}),
        "schema.invalid",
        "state_schema.properties.x.$ref",
    ),
    "a slug that backtracking matches never": (
        "run",
        json.dumps(
            {
                "id": "q",
                "graph": {
                    **GRAPH,
                    "state_schema": {"properties": {"x": {"pattern": "^([a-z]+-?)+$"}}},
                },
                "input": {"x": "a" * 41 + "!"},
            }
        ).encode(),
        "state.invalid",
        "state.x",
    ),
    "arrays in arrays": (
        "run",
        b'{"id": "q", "graph": "g", "input": {"x": ' + b"[" * 1000 + b"]" * 1000 + b"}}",
        "request.malformed",
        "body",
    ),
    "arrays in a hundred arrays": (
        "run",
        b'{"id": "q", "graph": "g", "input": {"x": ' + b"[" * 200 + b"]" * 200 + b"}}",
        "request.malformed",
        "input.x" + "[0]" * 99,
    ),
    "arrays in arrays where nobody looks": (
        "cancel",
        b'{"id": "q", "run_id": "r", "more": ' + b"[" * 5000 + b"]" * 5000 + b"}",
        "request.malformed",
        "body",
    ),
    "half a character in a field": (
        "cancel",
        b'{"id": "q", "run_id": "r", "reason": "\\ud800"}',
        "request.malformed",
        "reason",
    ),
    "half a character in the input": (
        "run",
        json.dumps({"id": "q", "graph": GRAPH, "input": {"x": ["\ud800"]}}).encode(),
        "request.malformed",
        "input.x[0]",
    ),
    "NUL in the input": (
        "run",
        json.dumps({"id": "q", "graph": GRAPH, "input": {"x\0": 1}}).encode(),
        "request.malformed",
        "input",
    ),
    "a key that stands twice": (
        "cancel",
        b'{"id": "q", "run_id": "r_mine", "run_id": "r_other"}',
        "request.malformed",
        "body",
    ),
    "no number": (
        "run",
        b'{"id": "q", "graph": "g", "input": {"x": NaN}}',
        "request.malformed",
        "body",
    ),
    "an integer of 5,000 digits": (
        "run",
        b'{"id": "q", "graph": "g", "input": {"x": ' + b"9" * 5000 + b"}}",
        "request.malformed",
        "body",
    ),
    "an interval of more than a lifetime": (
        "schedule",
        json.dumps({"id": "q", "name": "s", "graph": GRAPH, "every": 1e308}).encode(),
        "duration.invalid",
        "every",
    ),
    "a deadline that no timer waits for": (
        "run",
        json.dumps(
            {"id": "q", "graph": GRAPH, "options": {"deadline": "9999-01-01T00:00:00Z"}}
        ).encode(),
        "run.bad_deadline",
        "options.deadline",
    ),
    "an integer that no other language reads": (
        "run",
        json.dumps({"id": "q", "graph": GRAPH, "input": {"x": 2**64}}).encode(),
        "request.malformed",
        "input.x",
    ),
    "a new run's id where none begins": (
        "cancel",
        json.dumps({"id": "q", "run_id": "r", "new_run_id": "a b"}).encode(),
        "run.unknown",
        "run_id",
    ),
    "a new run's id that is no text": (
        "pause",
        json.dumps({"id": "q", "run_id": "r", "new_run_id": 7}).encode(),
        "run.unknown",
        "run_id",
    ),
}


@pytest.mark.parametrize("name", BAD)
async def test_a_bad_request_gets_an_error_that_names_the_field_and_a_dead_letter(
    bus: Bus, platform: Platform, name: str
) -> None:
    verb, body, code, where = BAD[name]
    reply = await ask(bus, verb, body, "q", {"Nats-Msg-Id": "q"})
    assert reply["type"] == "request.rejected"
    assert (reply["error"]["code"], reply["error"]["where"]) == (code, where)
    letters = await bus.nc.jetstream().subscribe(
        f"{bus.subjects.prefix}.dead.>", stream=bus.names.dead, ordered_consumer=True
    )
    letter = json.loads((await letters.next_msg(timeout=30)).data)  # it may come after the answer
    await letters.unsubscribe()
    assert letter["reason"]["code"] == code
    assert letter["subject"].endswith(f"request.{verb}")
    run_id = await platform.client.start(graphs.chain())
    assert (await platform.client.result(run_id, timeout=30)).status == "completed"


async def test_of_what_is_refused_nothing_is_kept_but_a_letter(
    bus: Bus, platform: Platform
) -> None:
    """Graphs of refused requests would fill the bucket of graphs for all."""
    graph = {**GRAPH, "state_schema": {"properties": {"x": {"type": "string"}}}}
    for id, more in (
        ("q1", {"input": {"x": 7}}),
        ("q2", {"options": {"deadline": "soon"}}),
        ("q3", {"options": {"max_steps": 10**9}}),
    ):
        reply = await ask(bus, "run", json.dumps({"id": id, "graph": graph, **more}).encode(), id)
        assert reply["type"] == "request.rejected"
    retry = {"id": "q4", "run_id": "r_nobody", "graph": graph}
    assert (await ask(bus, "retry", json.dumps(retry).encode(), "q4"))["type"] == "request.rejected"
    stream = await bus.nc.jetstream().stream_info(f"KV_{bus.names.graphs}")
    assert stream.state.messages == 0


@pytest.mark.parametrize(
    "node",
    [
        {"type": "wait", "seconds": "36500d"},
        {"type": "wait", "until": "9999-12-31T00:00:00Z"},
        {"type": "wait", "signal": "go", "deadline": "P36500D"},
        {"type": "approval", "title": "?", "deadline": 3153600000},
    ],
)
async def test_a_run_that_waits_for_ever_waits(
    bus: Bus, platform: Platform, node: dict[str, object]
) -> None:
    reply = await ask(bus, "run", with_graph(nodes={"a": node}), "q")
    assert reply["type"] == "request.accepted"
    assert (await platform.client.state(reply["run_id"])).phase == "waiting"
    other = await platform.client.start(graphs.chain())
    assert (await platform.client.result(other, timeout=30)).status == "completed"
    assert (await platform.client.state(reply["run_id"])).phase == "waiting"


async def test_a_hint_that_cannot_be_read_becomes_a_dead_letter_and_the_workers_stay_up(
    bus: Bus, platform: Platform
) -> None:
    js = bus.nc.jetstream()
    for body in (b"not json", b'{"kind": "function"}', b'{"kind": "spell", "v": 99}'):
        await js.publish(bus.subjects.work("tool-runner"), body)
    async with asyncio.timeout(60):
        sub = await js.subscribe(bus.subjects.dead("tool-runner"), stream=bus.names.dead)
        letters = [json.loads((await sub.next_msg(timeout=30)).data) for _ in range(3)]
    assert {letter["reason"]["code"] for letter in letters} == {"work.malformed"}
    run_id = await platform.client.start(graphs.chain())
    assert (await platform.client.result(run_id, timeout=30)).status == "completed"


async def test_a_fact_from_another_version_does_not_stop_other_runs(
    bus: Bus, platform: Platform
) -> None:
    await bus.nc.jetstream().publish(
        bus.subjects.fact("r_strange"),
        json.dumps(
            {
                "run": "r_strange",
                "events": [{"id": "x", "type": "call.completed", "v": 99, "data": {}}],
            }
        ).encode(),
    )
    run_id = await platform.client.start(graphs.chain())
    assert (await platform.client.result(run_id, timeout=30)).status == "completed"


async def test_a_request_that_names_no_run_starts_one_run_however_often_it_is_delivered(
    bus: Bus, platform: Platform
) -> None:
    bodies = [
        json.dumps({"id": "q", "graph": GRAPH, "input": {"n": n}}).encode() for n in (1, 1, 2)
    ]
    one, again, other = [(await ask(bus, "run", body, "q"))["run_id"] for body in bodies]
    assert one == again != other
    assert {run.run_id for run in await platform.client.runs()} == {one, other}
    await platform.client.result(one, timeout=30)
    fork = json.dumps({"id": "f", "run_id": one}).encode()
    begun = [(await ask(bus, "fork", fork, "f"))["run_id"] for _ in range(2)]
    assert begun[0] == begun[1]


async def test_the_answer_to_a_retry_names_the_place_where_the_run_goes_on(
    bus: Bus, platform: Platform
) -> None:
    run_id = await platform.client.start(graphs.chain(), {}, max_steps=1)
    ended = (await platform.client.result(run_id, timeout=30)).status
    assert ended == "limit_exceeded"
    again = {"id": "q", "run_id": run_id, "options": {"max_steps": 50}}
    answer = await ask(bus, "retry", json.dumps(again).encode(), "q")
    events = platform.client.events(run_id, after=answer["seq"] - 1)
    assert (await anext(events)).event.type == "run.retried"
    await events.aclose()
    nothing = {"id": "p", "run_id": run_id}
    await platform.client.result(run_id, timeout=30)
    answer = await ask(bus, "resume", json.dumps(nothing).encode(), "p")
    assert (await anext(platform.client.events(run_id))).seq == answer["seq"]


SPIN = {
    "name": "spin",
    "nodes": {"n": {"type": "transform", "set": {"x": "1"}}},
    "edges": [{"from": "n", "to": "n", "on": "success"}],
}


async def test_a_run_that_spins_in_the_engine_for_ever_keeps_nobody_waiting_and_can_be_cancelled(
    platform: Platform,
) -> None:
    spinning = await platform.client.start(SPIN, max_steps=10**6)
    beside = await platform.client.start(GRAPH)
    assert (await platform.client.result(beside, timeout=60)).status == "completed"
    await platform.client.cancel(spinning, "enough")
    assert (await platform.client.result(spinning, timeout=60)).status == "cancelled"
