"""One question and all its answers, over a real server."""

from __future__ import annotations

import asyncio
from contextlib import aclosing

import nats.errors
import pytest
from nats.aio.msg import Msg

from partsong.runtime.answers import Answering, all_answers, answers
from partsong.testing.nats import Bus

PATIENCE = 30.0


async def listen(bus: Bus, *names: bytes) -> str:
    """Somebody for each name, who answers with it."""
    subject = bus.subjects.query("tool-runner", "names")
    for name in names:

        async def answer(msg: Msg, name: bytes = name) -> None:
            await msg.respond(name + msg.data)

        await bus.nc.subscribe(subject, cb=answer)
    return subject


async def test_everybody_answers_until_nothing_more_comes(bus: Bus) -> None:
    subject = await listen(bus, b"a", b"b", b"c")
    said = answers(bus.nc, subject, b"!", within=PATIENCE, quiet=0.5)
    async with asyncio.timeout(PATIENCE):
        assert {body async for body in said} == {b"a!", b"b!", b"c!"}


async def test_one_that_is_stopped_answers_no_more(bus: Bus) -> None:
    subject = bus.subjects.query("tool-runner", "names")
    one = Answering(bus.nc, subject, lambda: b"a")
    await one.start()
    assert await all_answers(bus.nc, subject, within=0.5) == [b"a"]
    await one.stop()
    assert await all_answers(bus.nc, subject, within=0.5) == []


async def test_what_comes_first_may_be_enough(bus: Bus) -> None:
    subject = await listen(bus, b"a")
    async with (
        asyncio.timeout(PATIENCE),
        aclosing(answers(bus.nc, subject, within=2 * PATIENCE)) as said,
    ):
        assert await anext(said) == b"a"


async def test_who_says_nothing_is_waited_for_no_longer_than_asked(bus: Bus) -> None:
    async def mute(_msg: Msg) -> None:
        """Does not answer."""

    subject = bus.subjects.query("tool-runner", "names")
    await bus.nc.subscribe(subject, cb=mute)
    assert [body async for body in answers(bus.nc, subject, within=0.1)] == []


async def test_where_nobody_listens_that_is_said(bus: Bus) -> None:
    subject = bus.subjects.query("tool-runner", "names")
    with pytest.raises(nats.errors.NoRespondersError):
        await anext(answers(bus.nc, subject, within=PATIENCE))
