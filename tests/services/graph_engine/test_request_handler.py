"""Each request that has a legible id gets exactly one answer, whatever it is taken by."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable

import pytest
from nats.aio.client import Client
from nats.aio.msg import Msg

from partsong.bus.faststream import Command
from partsong.contracts.errors import InvalidInput, Problem, Unavailable
from partsong.contracts.wire.requests import Accepted, Rejected
from partsong.contracts.wire.subjects import Subjects
from partsong.graph_engine.door import MAX_BODY, request_id
from partsong.graph_engine.request_handler import TRIES, RequestHandler

ID = b'{"id": "q"}'


class Panic(BaseException):
    """As foreign code written in Rust raises it."""


class Desk:
    """A handler of requests whose door fails as a test wants it, and what it has answered and kept."""

    def __init__(self, *fails: BaseException) -> None:
        self.fails = list(fails)
        self.said: list[Accepted | Rejected] = []
        self.kept: list[Problem] = []
        self.buries: Callable[[], None] = lambda: None
        self.handler = RequestHandler(
            Subjects(), self._take, self._answer, self._bury, self._body_of
        )

    async def _take(
        self, verb: str, body: bytes, run_id: str, *, stored_ns: int
    ) -> Accepted | Rejected | None:
        if self.fails:
            raise self.fails.pop(0)
        return Accepted(id="q", run_id="r", seq=1)

    async def _answer(self, reply: Accepted | Rejected) -> None:
        self.said.append(reply)

    async def _bury(self, command: Command, problem: Problem) -> None:
        self.buries()
        self.kept.append(problem)

    async def _body_of(self, name: str) -> bytes:
        raise Unavailable("log.blob_missing", f"no {name}")

    async def deliver(self, headers: dict[str, str] | None = None) -> list[str]:
        """Deliver a request again and again, as a stream does, until nothing is raised; the codes of the answers."""
        for tries in range(1, 40):
            command = Command("partsong.request.run", ID, headers or {}, 7, tries)
            try:
                await self.handler.handle(command)
            except Exception:
                continue
            break
        return [one.error.code if isinstance(one, Rejected) else "accepted" for one in self.said]


async def test_what_is_taken_is_answered_once() -> None:
    assert await Desk().deliver() == ["accepted"]


async def test_what_is_the_callers_fault_is_refused_at_once_and_kept() -> None:
    desk = Desk(InvalidInput("x.bad", "no"))
    assert await desk.deliver() == ["x.bad"]
    assert [problem.code for problem in desk.kept] == ["x.bad"]


@pytest.mark.parametrize("error", [ValueError("a mistake"), RecursionError(), Panic("of Rust")])
async def test_a_mistake_of_ours_is_answered_after_its_tries_as_the_platforms_fault(
    error: BaseException,
) -> None:
    desk = Desk(*[error] * TRIES)
    assert await desk.deliver() == ["request.fault"]
    (answer,) = desk.said
    assert isinstance(answer, Rejected)
    assert answer.error.fault == "platform"
    assert type(error).__name__ in answer.error.message
    assert await Desk(*[error] * (TRIES - 1)).deliver() == ["accepted"]


async def test_what_passes_is_waited_for_and_what_does_not_say_so_is_not() -> None:
    passes = Unavailable("x.away", "not now", retryable=True)
    assert await Desk(*[passes] * (TRIES * 3)).deliver() == ["accepted"]
    stays = Unavailable("x.refused", "never")
    assert await Desk(*[stays] * (TRIES * 3)).deliver() == ["x.refused"]


async def test_who_is_cancelled_answers_nobody() -> None:
    desk = Desk(asyncio.CancelledError())
    with pytest.raises(asyncio.CancelledError):
        await desk.deliver()
    assert desk.said == []


async def test_a_body_that_is_nowhere_is_refused_at_once() -> None:
    assert await Desk().deliver({"Partsong-Blob": "sha256:" + "1" * 64}) == ["log.blob_missing"]


async def test_what_is_refused_stays_refused_also_if_no_dead_letter_can_be_kept(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Delivered again, it might be accepted then."""
    desk = Desk(InvalidInput("x.bad", "no"))

    def full() -> None:
        raise Unavailable("dead_letter.not_kept", "full")

    desk.buries = full
    assert await desk.deliver() == ["x.bad"]
    assert "dead letter not kept" in caplog.text


async def test_of_two_requests_that_no_stream_takes_none_waits_for_the_other() -> None:
    desk, hold = Desk(), asyncio.Event()
    answer = desk.handler._answer

    async def slowly(reply: Accepted | Rejected) -> None:
        if not desk.said and not hold.is_set():
            hold.set()
            await asyncio.Event().wait()
        await answer(reply)

    desk.handler._answer = slowly
    for _ in range(2):
        await desk.handler.handle_unknown(Msg(Client(), "partsong.request.dance", data=ID))
    async with asyncio.timeout(30):
        while not desk.said:  # noqa: ASYNC110 — nobody tells
            await asyncio.sleep(0.01)
    for task in desk.handler._running:
        task.cancel()


@pytest.mark.parametrize(
    "body",
    [
        b'{"id": "q"}',
        b'{"graph": ' + b"[" * 1000 + b"]" * 1000 + b', "id": "q"}',
        b'{"graph": {"id": "node"}, "id" : "q", ' + b"[" * 100_000,
        b'{"a": "\\"id\\": \\"x\\"", "id": "q"',
        b'{"x": "' + b"y" * MAX_BODY + b'", "id": "q"}',
    ],
)
def test_an_id_is_found_wherever_it_stands(body: bytes) -> None:
    assert request_id(body, {}) == "q"


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[1]",
        b'["id", "q"',
        b'{"a": {"id": "q"}',
        b'{"a": "{\\"id\\": \\"q\\"',
        b'{"id": "a b"',
        b'{"id": 7}',
        b'{"a": "' + b'\\"' * 500_000,
        b'"' * 1_000_000,
        b"\xff\x00",
    ],
)
def test_no_id_is_made_up(body: bytes) -> None:
    began = time.process_time()
    assert request_id(body, {}) == ""
    assert request_id(body, {"Nats-Msg-Id": "m"}) == "m"
    assert time.process_time() - began < 2


def test_an_id_that_is_written_twice_is_answered_as_it_is_read() -> None:
    assert request_id(b'{"id": "a", "id": "b"}', {}) == json.loads(b'{"id": "a", "id": "b"}')["id"]
