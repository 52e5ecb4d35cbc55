"""Runs that are to begin: callers by turns, and none so many that the workers' queue is full of one caller's work."""

from __future__ import annotations

import json

import pytest

from partsong.contracts.errors import InvalidInput
from partsong.contracts.events import CommandReceived
from partsong.contracts.events.envelope import decode
from partsong.contracts.wire.headers import BLOB
from partsong.contracts.wire.subjects import LANES
from partsong.testing.nats import Bus
from tests.system.platform import a_platform

GRAPH = {"name": "t", "nodes": {"a": {"type": "function", "function": "tests.system.nodes:start"}}}
FLOOD = 400


async def ask(bus: Bus, subject: str, run_id: str, verb: str = "run") -> None:
    body: dict[str, object] = {"id": f"q_{run_id}", "run_id": run_id}
    if verb == "run":
        body |= {"graph": GRAPH, "input": {}}
    await bus.nc.jetstream().publish(subject, json.dumps(body).encode())


async def in_order(bus: Bus, kind: str) -> list[str]:
    """The runs of all records that hold an event of this type, as they stand in the log."""
    log, found = bus.log(), list[str]()
    async for record in log.read(bus.subjects.log()):
        where = bus.subjects.parse_log(record.subject)
        if not where.own and any(event.type == kind for event in decode(record.body).events):
            found.append(where.run_id)
    await log.close()
    return found


async def test_a_flood_of_one_caller_holds_nobody_else_up(bus: Bus) -> None:
    """All of it is asked for before the others ask: they begin, and end, long before it is through."""
    subjects = bus.subjects
    for n in range(FLOOD):
        named = subjects.beginning("run", "flood", f"r_{n}") if n % 2 else subjects.request("run")
        await ask(bus, named, f"r_{n}")
    others = {f"r_{caller}" for caller in ("ann", "ben")}
    for run_id in others:
        await ask(bus, subjects.beginning("run", run_id.removeprefix("r_"), run_id), run_id)
    async with a_platform(bus) as platform:
        for n in range(FLOOD):
            assert (await platform.client.result(f"r_{n}", timeout=120)).status == "completed"
    for kind, least in (("command.received", 60), ("run.started", 120), ("run.completed", 300)):
        order = await in_order(bus, kind)
        assert len(order) == FLOOD + len(others)
        assert max(order.index(run_id) for run_id in others) < least, kind


async def test_a_run_is_the_one_that_its_subject_names(bus: Bus) -> None:
    subjects, js = bus.subjects, bus.nc.jetstream()
    async with a_platform(bus) as platform:
        unnamed = json.dumps({"id": "q_1", "graph": GRAPH}).encode()
        await js.publish(subjects.beginning("run", "ann", "r_mine"), unnamed)
        letters = await js.subscribe(subjects.dead("graph-engine"), ordered_consumer=True)
        await ask(bus, subjects.beginning("run", "ann", "r_that"), "r_this")
        letter = json.loads((await letters.next_msg(timeout=60)).data)
        await letters.unsubscribe()
        async for record in platform.client.log.tail(subjects.run("r_mine")):
            (event,) = decode(record.body).events
            assert isinstance(event, CommandReceived)
            break
    assert letter["reason"]["code"] == "request.misaddressed"
    assert letter["reason"]["where"] == "run_id"


@pytest.mark.parametrize("size", [0, 300_000])
async def test_a_run_that_waits_at_the_door_can_be_cancelled_and_nothing_else(
    bus: Bus, size: int
) -> None:
    """The engine takes no request about runs that begin: its consumer is not there. A big one lies beside the stream."""
    subjects = bus.subjects
    async with a_platform(bus) as platform:
        lanes = [f"starts-{lane}" for lane in range(LANES)]
        for lane in lanes:
            await bus.nc.request(f"$JS.API.CONSUMER.DELETE.{bus.names.requests}.{lane}", timeout=10)
        body = {"id": "q_r_1", "run_id": "r_1", "graph": GRAPH, "input": {"x": "x" * size}}
        log = bus.log()
        subject, stub = subjects.beginning("run", "ann", "r_1"), json.dumps(body).encode()
        headers = {BLOB: await log.blobs.put(stub)} if size else None
        await bus.nc.jetstream().publish(subject, b"{}" if size else stub, headers=headers)
        await log.close()
        with pytest.raises(InvalidInput, match=r"run\.queued: run r_1 has not begun"):
            await platform.client.pause("r_1")
        await platform.client.cancel("r_1", "no need")
        result = await platform.client.result("r_1", timeout=60)
        assert result.status == "cancelled"
        with pytest.raises(InvalidInput, match=r"run\.unknown"):
            await platform.client.cancel("r_2")


async def test_where_requests_are_stored_nobody_publishes_them(bus: Bus) -> None:
    async with a_platform(bus):
        body = json.dumps({"id": "q_1", "graph": GRAPH}).encode()
        answer = await bus.nc.subscribe(bus.subjects.reply("q_1"))
        await bus.nc.publish(f"{bus.subjects.prefix}.request.run.7.ann.r_1", body)
        said = json.loads((await answer.next_msg(timeout=60)).data)
    assert said["error"]["code"] == "subject.invalid"
    assert said["error"]["fix"].endswith(".request.run.ann.r_1")
