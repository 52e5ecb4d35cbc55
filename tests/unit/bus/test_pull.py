"""The pull loop against a real server: order, credit, answers, restarts and pins."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest
from nats.aio.msg import Msg

from partsong.bus.pull import Delivery, PullLoop
from partsong.runtime.nats.server import EmbeddedNats
from partsong.testing.nats import Bus, a_bus, fresh_subjects

PATIENCE = 30.0


class Ear:
    """Collects deliveries, and lets a test wait for the next one."""

    def __init__(self, answer: Callable[[Delivery], None] = Delivery.ack) -> None:
        self.heard: list[Delivery] = []
        self._queue: asyncio.Queue[Delivery] = asyncio.Queue()
        self.answer = answer

    def __call__(self, delivery: Delivery) -> None:
        self.heard.append(delivery)
        self._queue.put_nowait(delivery)
        self.answer(delivery)

    async def next(self) -> Delivery:
        async with asyncio.timeout(PATIENCE):
            return await self._queue.get()

    async def take(self, count: int) -> list[Delivery]:
        return [await self.next() for _ in range(count)]


@asynccontextmanager
async def pulling(loop: PullLoop) -> AsyncIterator[PullLoop]:
    await loop.start()
    try:
        yield loop
    finally:
        await loop.stop()


def work_loop(bus: Bus, ear: Ear, *, credit: int = 64, auto_credit: bool = True) -> PullLoop:
    return PullLoop(
        bus.nc, bus.names.work, "tool-runner", ear, credit=credit, auto_credit=auto_credit
    )


async def publish(bus: Bus, *bodies: str) -> None:
    subject = bus.subjects.work("tool-runner")
    for body in bodies:
        await bus.nc.jetstream().publish(subject, body.encode(), headers={"X-Body": body})


async def left(bus: Bus) -> int:
    """Messages the work queue still holds."""
    return (await bus.nc.jetstream().stream_info(bus.names.work)).state.messages


async def until_left(bus: Bus, count: int) -> None:
    async with asyncio.timeout(PATIENCE):
        while await left(bus) != count:  # noqa: ASYNC110 — the server has no event for it
            await asyncio.sleep(0.01)


async def test_messages_come_in_order_with_all_that_is_known_about_them(bus: Bus) -> None:
    ear = Ear()
    async with pulling(work_loop(bus, ear)):
        await publish(bus, "a", "b", "c")
        heard = await ear.take(3)
    assert [one.data for one in heard] == [b"a", b"b", b"c"]
    assert [one.headers["X-Body"] for one in heard] == ["a", "b", "c"]
    assert [(one.stream_seq, one.consumer_seq, one.num_delivered) for one in heard] == [
        (1, 1, 1),
        (2, 2, 1),
        (3, 3, 1),
    ]
    assert {one.subject for one in heard} == {bus.subjects.work("tool-runner")}


async def test_more_messages_than_credit_all_come(bus: Bus) -> None:
    ear = Ear()
    await publish(bus, *map(str, range(25)))
    async with pulling(work_loop(bus, ear, credit=4)):
        heard = await ear.take(25)
    assert [one.data for one in heard] == [str(i).encode() for i in range(25)]
    await until_left(bus, 0)


async def test_an_acknowledged_message_leaves_the_queue_even_at_stop(bus: Bus) -> None:
    ear = Ear()
    async with pulling(work_loop(bus, ear)):
        await publish(bus, "a")
        await ear.next()
    await bus.nc.flush()
    await until_left(bus, 0)


async def test_without_auto_credit_no_more_come_than_there_is_credit(bus: Bus) -> None:
    ear = Ear()
    await publish(bus, *map(str, range(6)))
    async with pulling(work_loop(bus, ear, credit=2, auto_credit=False)) as loop:
        await ear.take(2)
        await bus.nc.flush()
        assert len(ear.heard) == 2
        loop.done()
        loop.done()
        await ear.take(2)
        await bus.nc.flush()
        assert len(ear.heard) == 4


async def test_a_refused_message_comes_again_after_its_delay(bus: Bus) -> None:
    heard: list[float] = []

    def refuse_once(one: Delivery) -> None:
        heard.append(asyncio.get_running_loop().time())
        if one.num_delivered == 1:
            one.nak(0.3)
        else:
            one.ack()

    ear = Ear(refuse_once)
    async with pulling(work_loop(bus, ear)):
        await publish(bus, "a")
        _, again = await ear.take(2)
    assert (again.stream_seq, again.num_delivered) == (1, 2)
    refused, came = heard
    assert came - refused >= 0.25


async def test_a_message_that_is_in_progress_does_not_come_again(bus: Bus) -> None:
    ear = Ear(lambda one: None)
    async with pulling(work_loop(bus, ear)):
        await publish(bus, "held", "dropped")
        held, dropped = await ear.take(2)

        async def hold() -> None:
            while True:
                held.in_progress()
                await asyncio.sleep(0.2)

        holding = asyncio.create_task(hold())
        again = await ear.next()
        holding.cancel()
        assert again.stream_seq == dropped.stream_seq
        assert again.num_delivered == 2
        assert [one.stream_seq for one in ear.heard].count(held.stream_seq) == 1


async def test_a_terminated_message_is_gone_and_the_reason_is_told(bus: Bus) -> None:
    told = await bus.nc.subscribe(
        f"$JS.EVENT.ADVISORY.CONSUMER.MSG_TERMINATED.{bus.names.work}.tool-runner"
    )
    ear = Ear(lambda one: one.term("not ours"))
    async with pulling(work_loop(bus, ear)):
        await publish(bus, "a")
        await ear.next()
        advisory = json.loads((await told.next_msg(timeout=PATIENCE)).data)
    assert advisory["reason"] == "not ours"
    await until_left(bus, 0)


async def test_a_handler_that_raises_gets_the_message_again(
    bus: Bus, caplog: pytest.LogCaptureFixture
) -> None:
    def fail_once(one: Delivery) -> None:
        if one.num_delivered == 1:
            raise ValueError("no luck")
        one.ack()

    ear = Ear(fail_once)
    async with pulling(work_loop(bus, ear, credit=1, auto_credit=False)):
        await publish(bus, "a")
        assert [(await ear.next()).num_delivered, (await ear.next()).num_delivered] == [1, 2]
    assert "handler failed" in caplog.messages


async def test_stop_gives_back_what_is_on_its_way(bus: Bus) -> None:
    answers: list[bytes] = []

    async def answered(msg: Msg) -> None:
        if f".{bus.names.work}." in msg.subject:
            answers.append(msg.data)

    await bus.nc.subscribe("$JS.ACK.>", cb=answered)
    for _ in range(20):
        await bus.nc.jetstream().publish(bus.subjects.work("tool-runner"), bytes(100_000))
    stopping: list[asyncio.Task[None]] = []
    ear = Ear()
    loop = work_loop(bus, ear)

    def stop_and_ack(one: Delivery) -> None:
        stopping.append(asyncio.create_task(loop.stop()))
        one.ack()

    ear.answer = stop_and_ack
    await loop.start()
    await ear.next()
    await stopping[0]
    before = {one.stream_seq for one in ear.heard}
    successor = Ear()
    async with pulling(work_loop(bus, successor)):
        after = {one.stream_seq for one in await successor.take(20 - len(before))}
    assert before | after == set(range(1, 21))
    assert b"-NAK" in answers


async def test_the_loop_goes_on_after_a_restart_of_the_server(nats_server: EmbeddedNats) -> None:
    async with a_bus(nats_server.url, fresh_subjects()) as bus:
        ear = Ear()
        async with pulling(work_loop(bus, ear)):
            await publish(bus, "before")
            await ear.next()
            began = asyncio.get_running_loop().time()
            nats_server.kill()
            await nats_server.restart()
            async with asyncio.timeout(PATIENCE):
                while not bus.nc.is_connected:  # noqa: ASYNC110 — as above
                    await asyncio.sleep(0.01)
            await publish(bus, "after")
            while (await ear.next()).data != b"after":
                pass
            assert asyncio.get_running_loop().time() - began < PATIENCE, (
                "waited for a missed heartbeat"
            )


async def test_a_missing_consumer_is_said_once_and_found_when_it_is_back(
    bus: Bus, caplog: pytest.LogCaptureFixture
) -> None:
    js = bus.nc.jetstream()
    config = (await js.consumer_info(bus.names.work, "tool-runner")).config
    await js.delete_consumer(bus.names.work, "tool-runner")
    ear = Ear()
    async with pulling(work_loop(bus, ear)):
        async with asyncio.timeout(PATIENCE):
            while "pull refused" not in caplog.messages:  # noqa: ASYNC110 — logging has no event
                await asyncio.sleep(0.01)
        await js.add_consumer(bus.names.work, config)
        await publish(bus, "a")
        assert (await ear.next()).data == b"a"
    assert caplog.messages.count("pull refused") == 1
    assert [r.levelno for r in caplog.records if r.message == "pull refused"] == [logging.WARNING]
