"""Parts of hints in a real bucket: what is big is stored once, comes back whole, and is put again if it is gone."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator

import pytest
from pydantic import JsonValue

from partsong.bus.parts import Parts
from partsong.contracts.errors import InvalidInput, Unavailable
from partsong.contracts.graph import AgentSpec
from partsong.contracts.talk.messages import Message, UserMessage
from partsong.contracts.wire.parts import PACKED
from partsong.contracts.wire.work import WORK, FunctionWork, HookWork, ToolWork, TurnWork, Work
from partsong.log.blobs import Blobs
from partsong.testing.nats import Bus

BIG = "ä" * 100_000


@pytest.fixture
async def bucket(bus: Bus) -> AsyncIterator[Blobs]:
    log = bus.log()
    yield log.blobs.beside(bus.names.hints)
    await log.close()


def parts(bucket: Blobs, cache: int = 1_000_000) -> Parts:
    return Parts(bucket, cache=cache)


def function(state: dict[str, JsonValue], step: int = 1) -> FunctionWork:
    return FunctionWork(run_id="r", call_id=f"f:{step}", node="f", function="m:f", state=state)


def turn(count: int, size: int = 10_000) -> TurnWork:
    messages: tuple[Message, ...] = tuple(UserMessage(text=f"{i}" * size) for i in range(count))
    agent = AgentSpec(model="scripted:echo")
    return TurnWork(run_id="r", call_id="a:1", node="a", agent=agent, messages=messages)


async def stored(bus: Bus, name: str = "") -> int:
    info = await bus.nc.jetstream().stream_info(f"OBJ_{name or bus.names.hints}")
    return info.state.bytes


async def through(bucket: Blobs, work: Work, **options: int) -> tuple[Work, int]:
    body, where = await parts(bucket, **options).pack(work)
    size = len(body)
    if where is not None:
        body = await parts(bucket).unpack(body)
    return WORK.validate_json(body), size


@pytest.mark.parametrize(
    "work",
    [
        function({"a": 1}),
        function({"doc": BIG, "n": 1, 'odd "key"': "x" * 90_000}),
        function({"list": [BIG, {"x": [None, 1.5]}], "t": {"deep": BIG}, "e": []}),
        function({str(i): "x" * 20_000 for i in range(80)}),
        ToolWork(run_id="r", call_id="t:1", node="t", tool="t", args={"text": BIG, "n": [1]}),
        ToolWork(run_id="r", call_id="t:1", node="t", tool="t", args=[BIG, BIG, BIG, BIG]),
        HookWork(
            run_id="r",
            call_id="h:1",
            node="h",
            point="before_tool_call",
            plugins=(),
            payload={"x": BIG, "y": {"z": 2}},
        ),
        turn(30),
        turn(3, 100_000),
    ],
)
async def test_a_hint_comes_back_as_it_was(bucket: Blobs, work: Work) -> None:
    back, size = await through(bucket, work)
    assert back == work
    assert size <= 500_000


async def test_a_small_hint_stores_nothing(bus: Bus, bucket: Blobs) -> None:
    body, where = await parts(bucket).pack(function({"doc": "x" * 30_000}))
    assert (where, WORK.validate_json(body)) == (None, function({"doc": "x" * 30_000}))
    assert await stored(bus) == 0


async def test_thirty_steps_over_a_big_text_store_it_once(bus: Bus, bucket: Blobs) -> None:
    packing, sent = parts(bucket), 0
    for step in range(30):
        body, _ = await packing.pack(function({"doc": BIG, "i": step}, step))
        sent += len(body)
    assert sent < 30 * 500
    assert await stored(bus) < 1.2 * len(BIG.encode())
    assert await stored(bus, bus.names.blobs) == 0


async def test_a_conversation_that_grows_is_stored_once(bus: Bus, bucket: Blobs) -> None:
    packing = parts(bucket)
    sizes = [len((await packing.pack(turn(count)))[0]) for count in range(1, 60)]
    assert max(sizes) < 64 * 1024 + 1000
    assert await stored(bus) < 1.2 * 60 * 20_000


async def test_the_bucket_empties_itself_and_the_logs_does_not(bus: Bus) -> None:
    async def age(name: str) -> float | None:
        return (await bus.nc.jetstream().stream_info(f"OBJ_{name}")).config.max_age

    assert (await age(bus.names.hints), await age(bus.names.blobs) or 0) == (6 * 3600, 0)


async def test_a_part_that_is_gone_is_missing_until_the_hint_is_sent_again(
    bus: Bus, bucket: Blobs
) -> None:
    packing, work = parts(bucket), function({"doc": BIG})
    body, where = await packing.pack(work)
    assert where == PACKED
    await bus.nc.jetstream().purge_stream(f"OBJ_{bus.names.hints}")
    with pytest.raises(Unavailable) as caught:
        await parts(bucket).unpack(body)
    assert caught.value.problem.code == "work.part_missing"
    body, where = await packing.pack(work, again=True)
    assert where == PACKED
    assert WORK.validate_json(await parts(bucket).unpack(body)) == work


async def test_a_part_that_is_not_what_its_name_says_is_refused(bus: Bus, bucket: Blobs) -> None:
    body, where = await parts(bucket).pack(function({"doc": BIG}))
    assert where is not None
    nuid = json.loads(
        (
            await bus.nc.jetstream().get_last_msg(
                f"OBJ_{bus.names.hints}", f"$O.{bus.names.hints}.M.>"
            )
        ).data
        or b""
    )["nuid"]
    chunks = f"$O.{bus.names.hints}.C.{nuid}"
    await bus.nc.jetstream().purge_stream(f"OBJ_{bus.names.hints}", subject=chunks)
    await bus.nc.jetstream().publish(chunks, b'"another"')
    with pytest.raises(Unavailable, match="hash to"):
        await parts(bucket).unpack(body)


async def test_what_is_no_packed_hint_is_malformed(bucket: Blobs) -> None:
    for body in (b"", b"{}", b'{"hint": 1}', b'{"hint": {}, "parts": [{"field": 1}]}'):
        with pytest.raises(InvalidInput):
            await parts(bucket).unpack(body)


async def test_a_worker_fetches_a_part_once_and_keeps_no_more_than_it_may(
    bus: Bus, bucket: Blobs
) -> None:
    first, second = function({"doc": BIG}), function({"doc": BIG + "!"})
    packing, reading = parts(bucket), parts(bucket, cache=250_000)
    (one, where), (two, _) = await packing.pack(first), await packing.pack(second)
    assert where is not None
    await reading.unpack(one)
    await bus.nc.jetstream().purge_stream(f"OBJ_{bus.names.hints}")
    assert WORK.validate_json(await reading.unpack(one)) == first
    await packing.pack(second, again=True)
    await reading.unpack(two)
    with pytest.raises(Unavailable):
        await reading.unpack(one)


@pytest.mark.parametrize(
    "state",
    [
        {f"k{i}": "x" * 3_000 for i in range(1500)},
        {f"k{i}": ["x" * 999] * 50 for i in range(100)},
        {"doc": [{"id": i, "text": "x" * 500} for i in range(4_000)]},
        {"doc": {"list": ["x" * 500] * 4_000}},
    ],
)
async def test_steps_over_a_big_state_of_any_shape_store_it_about_once(
    bus: Bus, bucket: Blobs, state: dict[str, JsonValue]
) -> None:
    packing, reading = parts(bucket), parts(bucket, cache=64_000_000)
    for step in range(20):
        work = function({"a": step, **state, "i": step}, step)
        body, where = await packing.pack(work)
        assert (len(body), where) < (100_000, PACKED + "!")
        assert WORK.validate_json(await reading.unpack(body)) == work
    assert await stored(bus) < 2 * len(json.dumps(state))


async def test_a_list_that_grows_is_stored_once(bus: Bus, bucket: Blobs) -> None:
    packing = parts(bucket)
    for count in range(1, 300):
        said: list[JsonValue] = ["x" * 4_000] * count
        body, _ = await packing.pack(function({"log": said, "n": count}))
        assert len(body) < 70_000
    assert await stored(bus) < 1.2 * 300 * 4_000


async def test_a_part_of_which_only_the_description_is_left_is_put_again(
    bus: Bus, bucket: Blobs
) -> None:
    packing, work = parts(bucket), function({"doc": BIG})
    body, _ = await packing.pack(work)
    chunks = f"$O.{bus.names.hints}.C.>"
    await bus.nc.jetstream().purge_stream(f"OBJ_{bus.names.hints}", subject=chunks)
    reading = parts(bucket)
    with pytest.raises(Unavailable, match="0 bytes were read"):
        await reading.unpack(body)
    await packing.pack(work, again=True)
    assert WORK.validate_json(await reading.unpack(body)) == work


async def test_a_part_that_is_old_is_put_again(bus: Bus, bucket: Blobs) -> None:
    await bucket.put(b"x")
    before = await stored(bus)
    await bucket.put(b"x", younger=3600.0)
    assert await stored(bus) == before
    await bucket.put(b"x", younger=0.0)
    assert await stored(bus) > before


async def test_a_hint_says_without_its_parts_whose_it_is(bucket: Blobs) -> None:
    body, _ = await parts(bucket).pack(turn(30))
    bare = Parts.bare(body)
    assert isinstance(bare, TurnWork)
    assert (bare.run_id, bare.call_id, bare.attempt, bare.id) == ("r", "a:1", 1, turn(1).id)
    for junk in (b"", b"{}", b'{"hint":{"kind":"function"}}', b'{"hint":{"kind":"run"}}'):
        assert Parts.bare(junk) is None
