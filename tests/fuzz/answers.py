"""Cases of models: what a vendor's server may answer, through the real SDKs, to an agent with a tool."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from contextlib import aclosing

from pydantic import JsonValue

from partsong.agents import Agent, AgentFailed
from partsong.contracts.foreign.size import unsayable
from partsong.contracts.graph import Retry
from partsong.contracts.talk.chunks import TERMINAL
from partsong.models.core.assemble import Broken, assemble
from partsong.testing.fake_llm import (
    Answer,
    Ask,
    Break,
    Bytes,
    Call,
    Cut,
    Deny,
    Drop,
    Event,
    FakeLLM,
    Finish,
    Refuse,
    Reply,
    Reset,
    Say,
    Script,
    Seal,
    Step,
    Think,
)
from partsong.tools import tool
from tests.fuzz.draw import Draw
from tests.fuzz.judge import problem, tells
from tests.support.agents import WIRES, address
from tests.support.providers import LOOKUP, asked, connected

__all__ = ["answer", "load"]

_ATTEMPTS = 2
_TURNS = 20
"""An agent asks no more often than so, with each attempt."""
_STOPS = ("stop", "length", "tool_calls", "refusal", "blocked", "pause", "malformed_tool_call")


def answer(draw: Draw) -> Iterator[str]:
    """One conversation with a server that says odd things once, and then is done."""
    wire = draw.one(WIRES)
    replies = [_reply(draw, wire) for _ in range(draw.count(1, 2))]

    def script(ask: Ask) -> Reply:
        return replies[ask.nth] if ask.nth < len(replies) else Answer((Say("done"), Finish()))

    if draw.chance(0.4):
        return (yield from asyncio.run(_streamed(wire, script)))
    return (yield from asyncio.run(_called(wire, script)))


def load() -> None:
    """Load the SDKs, each of which takes longer than any case may."""
    for wire in WIRES:
        asyncio.run(_called(wire, lambda _ask: Answer((Say("done"), Finish()))))


async def _streamed(wire: str, script: Script) -> list[str]:
    """The provider by itself: one terminal chunk, the last one, and a turn or why there is none."""
    request = asked("any", tools=(LOOKUP,))
    async with (
        FakeLLM(script) as llm,
        connected(llm, wire) as provider,
        aclosing(provider.stream(request)) as stream,
    ):
        chunks = [chunk async for chunk in stream]
    ends = [isinstance(chunk, TERMINAL) for chunk in chunks]
    found = [] if ends.count(True) == 1 and ends[-1] else [f"its ends are {ends}"]
    made = assemble(chunks)
    for chunk in chunks:
        found += _sent(chunk.model_dump_json(), "a chunk")
    if isinstance(made, Broken):
        return [*found, *problem(made.problem)]
    for call in made.message.tool_calls:
        found += tells(call.args, "a call's arguments")
    return [*found, *_sent(made.message.model_dump_json(), "the turn")]


def _sent(text: str, what: str) -> list[str]:
    held = unsayable(json.loads(text))
    return [] if held is None else [f"{what} holds {held}"]


async def _called(wire: str, script: Script) -> list[str]:
    """An agent: an answer or an error of ours, and its tool gets arguments of its own types only."""
    given: list[object] = []

    @tool
    def lookup(query: str) -> str:
        """Look something up."""
        given.append(query)
        return "found"

    async with FakeLLM(script) as llm:
        retry = Retry(attempts=_ATTEMPTS, initial=0.001, max=0.001, jitter=0)
        agent = Agent(
            f"{wire}:any", api_key="fake", base_url=address(llm, wire), tools=[lookup], retry=retry
        )
        async with agent:
            try:
                found = await _talk(agent)
            except AgentFailed as error:
                found = [*problem(error.problem)]
        asks = len(llm.calls)
    found += [f"the tool was given {query!r}" for query in given if not isinstance(query, str)]
    if asks > _ATTEMPTS * _TURNS:
        found.append(f"the model was asked {asks} times")
    return found


async def _talk(agent: Agent) -> list[str]:
    result = await agent.call("hello")
    found = [] if str(result).strip() else ["an empty answer is taken for one"]
    for message in result.messages:
        found += _sent(message.model_dump_json(), f"a message of the {message.role}")
    return found


def _reply(draw: Draw, wire: str) -> Reply:
    if draw.chance(0.1):
        status = draw.one((400, 401, 403, 404, 418, 429, 500, 503, 529))
        return Deny(
            status,
            draw.one(("rate_limited", "overloaded", "auth", "quota")),
            draw.text(),
            {"retry-after": draw.one(("0", "x", "-1", "1e999"))} if draw.chance(0.3) else {},
        )
    steps = tuple(draw.some(lambda: _step(draw, wire), 0, 5))
    end: tuple[Step, ...] = (Finish(draw.one(_STOPS)),) if draw.chance(0.85) else ()  # type: ignore[arg-type]
    cut = draw.count(0, 1500) if draw.chance(0.2) else None
    return Answer((*steps, *end), cut, draw.one(("end", "drop", "reset")))


def _step(draw: Draw, wire: str) -> Step:
    match draw.count(0, 15):
        case 0:
            return Think(draw.text())
        case 1:
            return Seal(draw.one(("c2VhbGVk", "no base64!", "")), redacted=draw.chance(0.3))
        case 2:
            return Refuse(draw.text())
        case 3:
            return Event(
                draw.one(
                    (
                        {"type": draw.text()},
                        {"type": "error", "error": None},
                        {"type": "x", "choices": None},
                        {"type": "y", "deep": draw.nested(draw.one((150, 400)))},
                        {"type": "z", "candidates": [{}]},
                        {"type": "w", "odd": draw.sane()},
                    )
                )
            )
        case 4:
            return Bytes(
                draw.one(
                    (
                        b"data: {\n\n",
                        b"data: null\n\n",
                        b"data: [DONE]\n\n",
                        b": comment\n\n",
                        b"event: x\ndata: 7\n\n",
                        b"\xff\xfe\n\n",
                        b"\n\n\n",
                        b"data: []\n\n",
                    )
                )
            )
        case 5:
            ends: tuple[Step, ...] = (Cut(), Cut(torn=True), Drop(), Reset(), Break())
            return draw.one((*ends, Break("server", draw.one(("", "\x1b[2J", "x" * 5000)))))
        case 6 | 7 | 8 | 9 | 10:
            return Call(
                draw.one(("lookup", "lookup", "lookup", "nobody", "", "look up", "lookup\n")),
                _arguments(draw, wire),
                draw.one(("call_1", "call_1", "call_2", "", "x" * 300, "a/b:c")),
                draw.count(1, 5),
            )
        case _:
            return Say(draw.text())


def _arguments(draw: Draw, wire: str) -> str:
    """A call's arguments, as models write them."""
    match draw.count(0, 9):
        case 0:
            return draw.one(
                (
                    "",
                    "null",
                    "[]",
                    "7",
                    '"text"',
                    "{",
                    "}{",
                    '{"query": "a"',
                    '{"query": "a"}}',
                    "{'query': 'a'}",
                    '{"query": NaN}',
                    "```json\n{}\n```",
                )
            )
        case 1 if not wire.startswith("google"):  # there, the fake has to read them
            return '{"query": ' + "[" * (n := draw.one((50, 200, 3000))) + "]" * n + "}"
        case 2:
            return '{"query": "a", "n": ' + "9" * 5000 + "}"
        case 3:
            return '{"query": "a", "query": 7}'
        case 4:
            return draw.one(
                (
                    '{"query": "\\ud800"}',
                    '{"query": "a\\u0000b"}',
                    '{"\\u0000": 1}',
                    '{"query": 1e999}',
                )
            )
        case _:
            given: tuple[JsonValue, ...] = ("a", "", 7, None, ["a"], {"a": 1}, True, 10**30)
            made = {draw.one(("query", "query", "Query", "q")): draw.one((*given, draw.sane()))}
            return json.dumps(made)
