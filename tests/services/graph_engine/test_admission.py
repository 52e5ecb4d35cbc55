"""Admission with lanes that a test fills: who is let in when, and what becomes of what is not."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager

import pytest
from nats.aio.client import Client

from partsong.bus.post import Post
from partsong.bus.pull import Delivery
from partsong.graph_engine.admission import Admission
from partsong.graph_engine.workload import Reading

WITHIN = 30.0


class Said(Post):
    """Keeps what is said about deliveries."""

    def __init__(self) -> None:
        super().__init__(Client())
        self.words: list[tuple[str, bytes]] = []

    def send(self, subject: str, body: bytes) -> None:
        self.words.append((subject, body))

    def naks(self) -> set[str]:
        return {subject for subject, word in self.words if word.startswith(b"-NAK")}


class Hand:
    """A lane of which a test hands deliveries over."""

    def __init__(self, handler: Callable[[Delivery], None], said: Said) -> None:
        self.handler, self._said = handler, said
        self.open, self.credit = False, 0

    def give(self, seq: int, tries: int = 1) -> None:
        self.credit -= 1
        self.handler(Delivery("s", b"", {}, seq, seq, tries, 0, f"{seq}", self._said))

    async def start(self) -> None:
        self.open = True

    async def stop(self) -> None:
        self.open = False

    async def flush(self) -> None:
        pass

    def done(self) -> None:
        self.credit += 1


class Door:
    """An admission with two lanes, and what it has let in."""

    def __init__(self) -> None:
        self.said, self.hands = Said(), list[Hand]()
        self.let_in: list[int] = []
        self.busy, self.waiting = 0, 0
        self.fails: list[Exception] = []
        self.hold = asyncio.Event()
        self.hold.set()
        self.refused = range(0)

        def lane(handler: Callable[[Delivery], None]) -> Hand:
            self.hands.append(Hand(handler, self.said))
            return self.hands[-1]

        self.admission = Admission(
            [lane, lane],
            self._carry_out,
            busy=lambda: self.busy,
            readings=self._readings,
            worked_on=lambda _service: True,
        )

    async def _carry_out(self, delivery: Delivery) -> bool:
        self.let_in.append(delivery.stream_seq)
        await self.hold.wait()
        delivery.ack()
        return delivery.stream_seq not in self.refused

    async def _readings(self) -> Sequence[Reading]:
        if self.fails:
            raise self.fails.pop()
        return [Reading("tool-runner", self.waiting)]

    async def until(self, true: Callable[[], bool]) -> None:
        async with asyncio.timeout(WITHIN):
            while not true():  # noqa: ASYNC110 — nobody tells
                await asyncio.sleep(0.01)


@asynccontextmanager
async def a_door() -> AsyncIterator[Door]:
    door = Door()
    await door.admission.start()
    try:
        yield door
    finally:
        door.hold.set()
        await door.admission.drain()


async def test_lanes_have_their_turns() -> None:
    async with a_door() as door:
        for seq in (10, 11, 12, 13):
            door.hands[0].give(seq)
        door.hands[1].give(20)
        await door.until(lambda: len(door.let_in) == 5)
        assert door.let_in[:2] == [10, 20]
        assert [hand.credit for hand in door.hands] == [0, 0]


async def test_behind_full_queues_one_is_let_in_now_and_then() -> None:
    async with a_door() as door:
        door.waiting = 3000
        for seq in range(40):
            door.hands[0].give(seq)
        door.hands[1].give(99)
        await door.until(lambda: 99 in door.let_in)
        assert len(door.let_in) < 30
        door.waiting = 0
        await door.until(lambda: len(door.let_in) == 41)


async def test_what_is_refused_takes_nobodys_turn_behind_full_queues() -> None:
    """A refusal needs no room, and 100 of them at one a second are later than anybody waits."""
    async with a_door() as door:
        door.waiting, door.refused = 3000, range(200)
        began = time.monotonic()
        for seq in range(200):
            door.hands[0].give(seq)
        await door.until(lambda: len(door.let_in) == 200)
        assert time.monotonic() - began < WITHIN / 2


async def test_an_engine_without_time_hands_back_what_it_holds_until_it_has_time() -> None:
    async with a_door() as door:
        door.busy = 64
        door.hands[0].give(1)
        await door.until(lambda: door.said.naks() == {"1"})
        assert not any(hand.open for hand in door.hands)
        assert door.let_in == []
        door.busy = 0
        await door.until(lambda: all(hand.open for hand in door.hands))
        door.hands[0].give(1, tries=2)
        await door.until(lambda: door.let_in == [1])
        await door.until(lambda: [hand.credit for hand in door.hands] == [0, 0])


async def test_what_is_delivered_again_while_it_is_here_is_carried_out_once() -> None:
    async with a_door() as door:
        door.hold.clear()
        door.hands[0].give(1)
        await door.until(lambda: door.let_in == [1])
        door.hands[0].give(1, tries=2)
        door.hold.set()
        await door.until(lambda: door.hands[0].credit == 0)
        assert door.let_in == [1]
        assert ("1", b"+WPI") in door.said.words


async def test_a_fault_lets_nobody_in_and_is_over(caplog: pytest.LogCaptureFixture) -> None:
    async with a_door() as door:
        door.waiting = 3000
        door.fails.append(ValueError("no JSON"))
        for seq in range(20):
            door.hands[0].give(seq)
        door.waiting = 0
        await door.until(lambda: len(door.let_in) == 20)
        assert "nothing let in, to be tried again" in caplog.text


async def test_a_door_that_closes_finishes_what_was_let_in_and_gives_the_rest_back() -> None:
    async with a_door() as door:
        door.hold.clear()
        for seq in range(40):
            door.hands[0].give(seq)
        await door.until(lambda: len(door.let_in) >= 16)
        closing = asyncio.ensure_future(door.admission.drain())
        await door.until(lambda: not any(hand.open for hand in door.hands))
        begun = set(map(str, door.let_in))
        door.hold.set()
        await closing
        assert door.said.naks() == set(map(str, range(40))) - begun
        assert {subject for subject, word in door.said.words if word == b"+ACK"} == begun
        assert len(door.let_in) == len(begun)
