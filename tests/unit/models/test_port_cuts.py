"""A stream cut at any place, in any way, in any format is no turn: nothing is said to be done, and no tool runs."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from partsong.agents import Agent, AgentFailed
from partsong.contracts.graph import Retry
from partsong.contracts.talk.chunks import Chunk, End
from partsong.models.core.assemble import Broken, Turn, assemble
from partsong.models.port import Provider
from partsong.testing.fake_llm import (
    Answer,
    Ask,
    Call,
    FakeLLM,
    Finish,
    Reply,
    Say,
    Seal,
    Step,
    Think,
)
from partsong.testing.fake_llm.steps import Ending
from partsong.tools import tool
from tests.support.providers import LOOKUP, asked, connected, heard

TEXT = "Ünïcode in two bytes and 🎵 in four. "
RICH: tuple[Step, ...] = (
    Think("Hm. "),
    Seal("c2VhbGVk"),
    Say(TEXT),
    Call("lookup", '{"query": "x"}', id="call_a", state="c2lnbmVk"),
    Call("lookup", '{"query": "y"}', id="call_b"),
    Finish("tool_calls"),
)
"""Everything a turn may hold, so that there is something to cut everywhere."""
PLAIN: tuple[Step, ...] = (Say(TEXT), Say("All of it."), Finish())
REQUEST = asked("any", tools=(LOOKUP,))

_MARK = {
    "anthropic": b'{"type":"message_stop"}',
    "openai": b'data: {"type":"response.completed"',
    "openai-chat": b'"finish_reason":"',
    "google": b'"finishReason":"',
}
"""What each format's terminal event holds, and nothing else does."""


@dataclass(slots=True)
class Shears:
    """A script that cuts its answer where the test wants it."""

    steps: tuple[Step, ...]
    after: int | None = None
    ending: Ending = "end"

    def __call__(self, _ask: Ask) -> Reply:
        return Answer(self.steps, self.after, self.ending)


def _ends(body: bytes) -> Iterator[tuple[int, int]]:
    """Where each event begins, and where its last byte that says something ends."""
    for event in re.finditer(rb"(?:[^\r\n]+\r?\n)+\r?\n", body):
        yield event.start(), event.start() + len(event[0].rstrip())


def places(body: bytes, mark: bytes) -> list[int]:
    """Where to cut: around every event up to the one that ends the answer, and inside one of each shape.

    Inside means: in the name of a field; behind the colon; in the middle of the data; in the middle of a character;
    before the last brace; behind it, before the blank line.
    """
    found, shapes = set[int](), set[tuple[bytes, ...]]()
    for start, end in _ends(body):
        event = body[start:end]
        found.add(start)
        shape = tuple(re.findall(rb'"(\w+)":', event))
        if shape not in shapes:
            shapes.add(shape)
            data = start + event.index(b"data:")
            found |= {start + 3, data + 5, data + 6, (data + end) // 2, end - 1}
            found |= {start + i + 1 for i, byte in enumerate(event) if byte >= 0xC0}
        if mark in event:
            return sorted(found)
        found.add(end)
    raise AssertionError(f"no {mark!r} in {body!r}")


async def cut(llm: FakeLLM, provider: Provider, shears: Shears, after: int | None) -> list[Chunk]:
    """The chunks of an answer that is cut; the server forgets the others, so that it numbers each alike."""
    llm.calls.clear()
    shears.after = after
    return await heard(provider, REQUEST)


async def uncut(llm: FakeLLM, provider: Provider, shears: Shears) -> bytes:
    """The whole body, of an answer that is a turn."""
    assert isinstance(assemble(await cut(llm, provider, shears, None)), Turn)
    return bytes(llm.calls[0].sent)


async def test_a_body_that_ends_at_any_place_is_truncated_and_no_turn(wire: str) -> None:
    shears = Shears(RICH)
    async with FakeLLM(shears) as llm, connected(llm, wire) as provider:
        for place in places(await uncut(llm, provider, shears), _MARK[wire]):
            chunks = await cut(llm, provider, shears, place)
            outcome = assemble(chunks)
            assert isinstance(outcome, Broken), place
            assert outcome.problem.code == "provider.truncated", place
            assert outcome.problem.retryable
            assert TEXT.startswith(outcome.partial) or outcome.partial.startswith(TEXT)
            assert not [chunk for chunk in chunks if isinstance(chunk, End)]


@pytest.mark.parametrize("ending", ["drop", "reset"])
async def test_a_connection_lost_at_any_event_is_no_turn(wire: str, ending: Ending) -> None:
    shears = Shears(RICH, ending=ending)
    async with FakeLLM(shears) as llm, connected(llm, wire) as provider:
        body = await uncut(llm, provider, shears)
        for place in places(body, _MARK[wire])[::7]:
            outcome = assemble(await cut(llm, provider, shears, place))
            assert isinstance(outcome, Broken), place
            assert outcome.problem.code in {"provider.connection", "provider.truncated"}, place
            assert outcome.problem.retryable


async def test_an_agent_runs_no_tool_of_a_stream_that_was_cut(wire: str) -> None:
    ran: list[str] = []

    @tool
    def lookup(query: str) -> str:
        """Look something up."""
        ran.append(query)
        return "found"

    shears = Shears(RICH)
    async with FakeLLM(shears) as llm:
        async with connected(llm, wire) as provider:
            body = await uncut(llm, provider, shears)
        at = f"{llm.url}/v1" if wire.startswith("openai") else llm.url
        agent = Agent(
            f"{wire}:any", api_key="fake", base_url=at, tools=[lookup], retry=Retry(attempts=1)
        )
        end = body.index(_MARK[wire])
        async with agent:
            for place in [start for start, _ in _ends(body) if start < end]:
                llm.calls.clear()
                shears.after = place
                with pytest.raises(AgentFailed) as failed:
                    await agent.call("Look it up")
                assert failed.value.problem.code == "provider.truncated"
    assert ran == []


async def test_a_whole_answer_without_what_may_follow_it_is_a_turn(wire: str) -> None:
    """A format's own terminal event is the end; the usage and the `[DONE]` behind it are not."""
    shears = Shears(PLAIN)
    async with FakeLLM(shears) as llm, connected(llm, wire) as provider:
        body = await uncut(llm, provider, shears)
        end = next(end for start, end in _ends(body) if _MARK[wire] in body[start:end])
        outcome = assemble(await cut(llm, provider, shears, end + len(b"\r\n\r\n")))
    assert isinstance(outcome, Turn)
    assert outcome.message.text == f"{TEXT}All of it."


async def test_all_the_text_of_an_answer_without_its_end_is_still_no_turn(wire: str) -> None:
    shears = Shears(PLAIN)
    async with FakeLLM(shears) as llm, connected(llm, wire) as provider:
        body = await uncut(llm, provider, shears)
        before = max(s for s, e in _ends(body) if s <= body.index(_MARK[wire]))
        outcome = assemble(await cut(llm, provider, shears, before))
    assert isinstance(outcome, Broken)
    assert outcome.partial == f"{TEXT}All of it."
