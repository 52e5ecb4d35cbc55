"""Leaving a stream early closes the provider's socket at once, without waiting for the garbage collector."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from contextlib import aclosing

import pytest

from partsong.contracts.talk.chunks import Chunk, Failed, Text
from partsong.models.port import Provider
from partsong.models.providers.transport import explain
from partsong.models.streaming import relay
from partsong.testing.fake_llm import Answer, Ask, FakeLLM, Reply, Say
from partsong.testing.fake_llm.scenarios import reply
from tests.support.providers import PATIENCE, asked, heard, turned

MORE_THAN_SOCKETS_HOLD = Answer((Say("x" * 10_000),) * 10_000)


def says(ask: Ask) -> Reply:
    """By the model's name; a `flood` is made in advance, so that it costs only what is read of it."""
    return MORE_THAN_SOCKETS_HOLD if ask.model == "flood" else reply(ask)


@pytest.fixture
async def llm() -> AsyncIterator[FakeLLM]:
    """A fake LLM server that can flood."""
    async with FakeLLM(says) as server:
        yield server


@pytest.fixture
def _no_collector() -> Iterator[None]:
    """The cyclic garbage collector would close what we forget."""
    gc.disable()
    yield
    gc.enable()


async def _first_text(provider: Provider, model: str, seen: asyncio.Event) -> None:
    async for chunk in provider.stream(asked(model)):
        if isinstance(chunk, Text):
            seen.set()


@pytest.mark.usefixtures("_no_collector")
@pytest.mark.parametrize("model", ["stall", "slow:5000", "flood"])
async def test_cancelling_the_reader_disconnects(
    provider: Provider, llm: FakeLLM, model: str
) -> None:
    seen = asyncio.Event()
    reader = asyncio.create_task(_first_text(provider, model, seen))
    async with asyncio.timeout(PATIENCE):
        await seen.wait()
        reader.cancel()
        await asyncio.wait({reader})
        await llm.calls[0].disconnected.wait()
    assert reader.cancelled()


@pytest.mark.usefixtures("_no_collector")
@pytest.mark.parametrize("model", ["stall", "slow:5000", "flood"])
async def test_closing_the_stream_disconnects(provider: Provider, llm: FakeLLM, model: str) -> None:
    async with asyncio.timeout(PATIENCE):
        async with aclosing(provider.stream(asked(model))) as stream:
            async for chunk in stream:
                if isinstance(chunk, Text):
                    break
        await llm.calls[0].disconnected.wait()


@pytest.mark.usefixtures("_no_collector")
async def test_a_reader_that_does_not_read_holds_the_provider_back_and_can_still_leave(
    provider: Provider, llm: FakeLLM
) -> None:
    async with asyncio.timeout(PATIENCE):
        async with aclosing(provider.stream(asked("flood"))) as stream:
            await anext(stream)
            (call,) = await llm.wait_calls(1)
            written = -1
            while len(call.writes) != written:
                written = len(call.writes)
                await asyncio.wait({asyncio.create_task(call.done.wait())}, timeout=0.3)
            assert not call.done.is_set()
        await call.disconnected.wait()


async def test_a_provider_serves_on_after_a_stream_was_left(
    provider: Provider, llm: FakeLLM
) -> None:
    async with aclosing(provider.stream(asked("slow:5000"))) as stream:
        await anext(stream)
    turn = await turned(provider, asked("text:2"))
    assert turn.message.text == "the quick"
    assert len(llm.calls) == 2


async def test_a_stream_that_was_read_to_its_end_disconnects_nobody(
    provider: Provider, llm: FakeLLM
) -> None:
    await heard(provider, asked("text:2"))
    await llm.calls[0].done.wait()
    assert not llm.calls[0].disconnected.is_set()


async def test_a_stream_that_nobody_reads_makes_no_request(
    provider: Provider, llm: FakeLLM
) -> None:
    await provider.stream(asked("text:2")).aclose()
    assert llm.calls == []


async def test_a_reader_killed_from_outside_still_gets_a_last_word() -> None:
    async def suicidal() -> AsyncGenerator[Chunk, None]:
        yield Text(text="last words")
        raise asyncio.CancelledError

    async with asyncio.timeout(PATIENCE):
        chunks = [chunk async for chunk in relay(suicidal(), explain, timeout=PATIENCE)]
    assert isinstance(chunks[-1], Failed)
    assert (chunks[-1].error, chunks[-1].mid_stream) == ("cancelled", True)
