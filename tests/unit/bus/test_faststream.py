"""Commands and queries through FastStream on a real server: nothing is destroyed, nothing spins."""

from __future__ import annotations

import asyncio
import gc
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress

import nats.errors
import pytest
from faststream.nats import NatsBroker
from nats.aio.msg import Msg
from pydantic import JsonValue

from partsong.bus.faststream import Command, command_broker, on_command, on_query
from partsong.contracts.errors import InvalidInput, NotFound, Unavailable
from partsong.runtime.connect import connect, disconnect
from partsong.runtime.nats.server import EmbeddedNats
from partsong.testing.nats import Bus, a_bus, fresh_subjects

PATIENCE = 30.0
SERVICE = "graph-engine"

Handler = Callable[[Command], Awaitable[None]]


@asynccontextmanager
async def commands(bus: Bus, handler: Handler, *, most: int = 20) -> AsyncIterator[NatsBroker]:
    broker = command_broker(bus.nc, bus.subjects, SERVICE, most=most)
    on_command(broker, bus.names.requests, "starts", bus.subjects.requests(), handler)
    await broker.start()
    try:
        yield broker
    finally:
        await broker.stop()


class Heard:
    """Takes commands, and fails the first ones if it is given errors."""

    def __init__(self, *errors: Exception) -> None:
        self.commands: asyncio.Queue[Command] = asyncio.Queue()
        self._errors = list(errors)

    async def __call__(self, command: Command) -> None:
        self.commands.put_nowait(command)
        if self._errors:
            raise self._errors.pop(0)

    async def next(self) -> Command:
        async with asyncio.timeout(PATIENCE):
            return await self.commands.get()


class Answers:
    """What is said to the server about the requests' messages."""

    def __init__(self) -> None:
        self.said: asyncio.Queue[bytes] = asyncio.Queue()

    @classmethod
    async def of(cls, bus: Bus) -> Answers:
        answers = cls()

        async def hear(msg: Msg) -> None:
            if f".{bus.names.requests}." in msg.subject:
                answers.said.put_nowait(msg.data)

        await bus.nc.subscribe("$JS.ACK.>", cb=hear)
        return answers

    async def next(self) -> bytes:
        async with asyncio.timeout(PATIENCE):
            return await self.said.get()


async def request(bus: Bus, body: bytes, headers: dict[str, str] | None = None) -> None:
    await bus.nc.jetstream().publish(bus.subjects.request("run"), body, headers=headers)


async def left(bus: Bus) -> int:
    return (await bus.nc.jetstream().stream_info(bus.names.requests)).state.messages


async def worked_off(bus: Bus) -> None:
    async with asyncio.timeout(PATIENCE):
        while await left(bus):  # noqa: ASYNC110 — the server has no event for it
            await asyncio.sleep(0.01)


async def dead_letter(bus: Bus) -> dict[str, JsonValue]:
    sub = await bus.nc.jetstream().subscribe(bus.subjects.dead(SERVICE), ordered_consumer=True)
    letter: dict[str, JsonValue] = json.loads((await sub.next_msg(timeout=PATIENCE)).data)
    await sub.unsubscribe()
    return letter


async def test_a_command_is_handled_once_and_acknowledged(bus: Bus) -> None:
    heard = Heard()
    async with commands(bus, heard):
        await request(bus, b'{"id":"q"}', {"traceparent": "t"})
        command = await heard.next()
        await worked_off(bus)
    assert command == Command(
        bus.subjects.request("run"), b'{"id":"q"}', {"traceparent": "t"}, seq=1, deliveries=1
    )
    assert heard.commands.empty()


@pytest.mark.parametrize("headers", [None, {"content-type": "application/json"}])
@pytest.mark.parametrize("body", [b"", b"\xff\x00", b'{"id": '])
async def test_what_cannot_be_decoded_is_handed_over_as_it_came(
    bus: Bus, body: bytes, headers: dict[str, str] | None
) -> None:
    heard = Heard()
    async with commands(bus, heard):
        await request(bus, body, headers)
        assert (await heard.next()).body == body


async def test_a_command_that_fails_comes_again_after_a_growing_while(bus: Bus) -> None:
    answers = await Answers.of(bus)
    heard = Heard(Unavailable("x.down", "not now"), ValueError("nor now"))
    async with commands(bus, heard):
        await request(bus, b"{}")
        assert [(await heard.next()).deliveries for _ in range(3)] == [1, 2, 3]
        await worked_off(bus)
    assert [await answers.next() for _ in range(3)] == [
        b'-NAK {"delay": 400000000}',
        b'-NAK {"delay": 800000000}',
        b"+ACK",
    ]


async def test_a_handler_may_take_longer_than_the_consumer_waits(bus: Bus) -> None:
    answers = await Answers.of(bus)
    go = asyncio.Event()
    begun: list[int] = []

    async def slow(command: Command) -> None:
        begun.append(command.deliveries)
        await go.wait()

    config = (await bus.nc.jetstream().consumer_info(bus.names.requests, "starts")).config
    async with commands(bus, slow):
        await request(bus, b"{}")
        beats = int(config.ack_wait or 0) + 1
        assert [await answers.next() for _ in range(beats)] == [b"+WPI"] * beats
        go.set()
        await worked_off(bus)
    assert begun == [1]


async def test_what_a_handler_refuses_becomes_a_dead_letter_with_the_reason(bus: Bus) -> None:
    answers = await Answers.of(bus)
    async with commands(bus, Heard(InvalidInput("request.odd", "not like this", where="body"))):
        await request(bus, b"\xff{")
        letter = await dead_letter(bus)
        await worked_off(bus)
    assert await answers.next() == b"+TERM request.odd"
    assert (letter["subject"], letter["seq"], letter["deliveries"]) == (
        bus.subjects.request("run"),
        1,
        1,
    )
    assert letter["body"] == "\N{REPLACEMENT CHARACTER}{"
    assert isinstance(letter["reason"], dict)
    assert (letter["reason"]["code"], letter["reason"]["where"]) == ("request.odd", "body")


async def test_what_fails_too_often_becomes_a_dead_letter(bus: Bus) -> None:
    heard = Heard(ValueError("1"), ValueError("2"))
    async with commands(bus, heard, most=2):
        await request(bus, b"{}")
        letter = await dead_letter(bus)
        await worked_off(bus)
    assert letter["deliveries"] == 2
    assert isinstance(letter["reason"], dict)
    assert letter["reason"]["message"] == "ValueError: 2"


async def test_what_waits_for_the_platform_is_no_dead_letter_however_often_it_comes(
    bus: Bus,
) -> None:
    away = Unavailable("log.no_answer", "not now", retryable=True)
    heard = Heard(away, away, away)
    async with commands(bus, heard, most=2):
        await request(bus, b"{}")
        assert [(await heard.next()).deliveries for _ in range(4)] == [1, 2, 3, 4]
        await worked_off(bus)
    assert (await bus.nc.jetstream().stream_info(bus.names.dead)).state.messages == 0


async def test_nothing_is_terminated_before_its_dead_letter_is_kept(bus: Bus) -> None:
    js = bus.nc.jetstream()
    config = (await js.stream_info(bus.names.dead)).config
    await js.delete_stream(bus.names.dead)
    answers = await Answers.of(bus)
    refusal = InvalidInput("request.odd", "not like this")
    async with commands(bus, Heard(refusal, refusal)):
        await request(bus, b"{}")
        assert (await answers.next()).startswith(b"-NAK")
        assert await left(bus) == 1
        await js.add_stream(config)
        await dead_letter(bus)
        await worked_off(bus)


async def test_the_streams_and_consumers_stay_as_they_are(bus: Bus) -> None:
    js = bus.nc.jetstream()

    async def configs() -> tuple[object, object]:
        return (
            (await js.stream_info(bus.names.requests)).config,
            (await js.consumer_info(bus.names.requests, "starts")).config,
        )

    before = await configs()
    heard = Heard()
    async with commands(bus, heard):
        await request(bus, b"{}")
        await heard.next()
    assert await configs() == before


async def test_stop_waits_for_the_running_handler_and_leaves_the_connection_open(bus: Bus) -> None:
    go, begun, done = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def slow(_: Command) -> None:
        begun.set()
        await go.wait()
        done.set()

    async with commands(bus, slow) as broker:
        await request(bus, b"{}")
        async with asyncio.timeout(PATIENCE):
            await begun.wait()
        stopping = asyncio.create_task(broker.stop())
        await asyncio.sleep(0)
        go.set()
        await stopping
        assert done.is_set()
    assert bus.nc.is_connected
    await worked_off(bus)


async def test_a_command_that_comes_while_it_stops_is_handled_later_and_nothing_complains(
    bus: Bus, complaints: list[object]
) -> None:
    handled: set[bytes] = set()
    begun = asyncio.Event()

    async def handle(command: Command) -> None:
        handled.add(command.body)
        begun.set()

    sent = [f"{turns}.{n}".encode() for turns in range(20) for n in range(40)]
    for body in sent:
        await request(bus, body)
    for turns in range(20):
        begun.clear()
        async with commands(bus, handle), asyncio.timeout(PATIENCE):
            await begun.wait()
            for _ in range(turns):  # each time it stops a turn of the loop later than the last time
                await asyncio.sleep(0)
    async with commands(bus, handle):
        await worked_off(bus)
    gc.collect()
    assert complaints == []
    assert handled == set(sent)


async def test_commands_go_on_after_a_restart_of_the_server(nats_server: EmbeddedNats) -> None:
    async with a_bus(nats_server.url, fresh_subjects()) as bus:
        heard = Heard()
        async with commands(bus, heard):
            await request(bus, b"before")
            await heard.next()
            nats_server.kill()
            await nats_server.restart()
            async with asyncio.timeout(PATIENCE):
                while True:
                    with suppress(nats.errors.Error):
                        await request(bus, b"after")
                        break
            while (await heard.next()).body != b"after":
                pass


async def ask(bus: Bus, name: str, body: bytes = b"") -> JsonValue:
    reply = await bus.nc.request(bus.subjects.query(SERVICE, name), body, timeout=PATIENCE)
    answer: JsonValue = json.loads(reply.data)
    return answer


@asynccontextmanager
async def answering(
    bus: Bus, answer: Callable[[Command], Awaitable[object]]
) -> AsyncIterator[NatsBroker]:
    broker = command_broker(bus.nc, bus.subjects, SERVICE)
    on_query(broker, bus.subjects, SERVICE, "what", answer)
    await broker.start()
    try:
        yield broker
    finally:
        await broker.stop()


async def test_a_query_is_answered(bus: Bus) -> None:
    async def answer(command: Command) -> object:
        return [{"asked": command.body.decode(), "seq": command.seq}]

    async with answering(bus, answer):
        assert await ask(bus, "what", b"\xc3\xa4?") == [{"asked": "ä?", "seq": 0}]


async def test_a_query_that_fails_is_answered_with_the_error(bus: Bus) -> None:
    errors: list[Exception] = [NotFound("x.unknown", "no x"), ZeroDivisionError("by nought")]

    async def answer(_: Command) -> object:
        raise errors.pop(0)

    async with answering(bus, answer):
        known, unknown = await ask(bus, "what"), await ask(bus, "what")
    assert known == {
        "error": {"code": "x.unknown", "message": "no x", "retryable": False, "fault": "caller"}
    }
    assert isinstance(unknown, dict)
    assert isinstance(unknown["error"], dict)
    assert unknown["error"]["code"] == "query.fault"


async def test_of_two_processes_one_answers(bus: Bus) -> None:
    answered: list[str] = []

    async def first(_: Command) -> object:
        answered.append("first")
        return 1

    async def second(_: Command) -> object:
        answered.append("second")
        return 2

    other = await connect(bus.url, name="other")
    theirs = Bus(other, bus.url, bus.subjects, bus.names)
    async with answering(bus, first), answering(theirs, second):
        await other.flush()
        for _ in range(20):
            await ask(bus, "what")
        assert len(answered) == 20
    await disconnect(other)
