"""What the gateway's tests share: asking a provider, and reading what it said."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import aclosing, asynccontextmanager
from dataclasses import replace

from pydantic import JsonValue

from partsong.contracts.talk.chunks import TERMINAL, Chunk, Failed
from partsong.contracts.talk.messages import Message, ToolSpec, UserMessage
from partsong.models.core.assemble import Broken, Turn, assemble
from partsong.models.port import Effort, Provider, TurnRequest
from partsong.models.registry import Providers, settings_from
from partsong.testing.fake_llm import Answer, FakeLLM, Step

WIRES = ("anthropic", "openai", "openai-chat", "google")
PATIENCE = 30.0
"""Seconds a test waits for something that takes milliseconds."""

LOOKUP = ToolSpec(
    name="lookup",
    description="Looks something up.",
    parameters={"type": "object", "properties": {"query": {"type": "string"}}},
)
COUNT = ToolSpec(
    name="count",
    description="Counts.",
    parameters={"type": "object", "properties": {"from": {"type": "integer"}}},
)


@asynccontextmanager
async def connected(llm: FakeLLM, wire: str) -> AsyncIterator[Provider]:
    """The provider of a wire format, in front of a fake."""
    providers = Providers(settings_from(llm.env()))
    try:
        yield providers.get(f"{wire}:any")
    finally:
        await providers.aclose()


def asked(
    model: str,
    *messages: Message,
    tools: tuple[ToolSpec, ...] = (),
    idle_timeout: float = 60.0,
    timeout: float = 600.0,
    instructions: str = "",
    temperature: float | None = None,
    output_schema: Mapping[str, JsonValue] | None = None,
    effort: Effort | None = None,
    extra: Mapping[str, JsonValue] | None = None,
) -> TurnRequest:
    """A request; without messages the user just says hello."""
    return TurnRequest(
        model,
        messages or (UserMessage(text="hello there"),),
        tools=tools,
        idle_timeout=idle_timeout,
        timeout=timeout,
        instructions=instructions,
        temperature=temperature,
        output_schema=output_schema,
        effort=effort,
        extra=extra or {},
    )


def then(request: TurnRequest, *messages: Message) -> TurnRequest:
    """The same request with a longer conversation."""
    return replace(request, messages=(*request.messages, *messages))


def scripted(*steps: Step) -> FakeLLM:
    """A server that always says the same."""
    return FakeLLM(lambda _ask: Answer(steps))


async def heard(provider: Provider, request: TurnRequest) -> list[Chunk]:
    """All chunks, of which exactly one is terminal and comes last."""
    async with asyncio.timeout(PATIENCE), aclosing(provider.stream(request)) as stream:
        chunks = [chunk async for chunk in stream]
    assert [isinstance(chunk, TERMINAL) for chunk in chunks].count(True) == 1
    assert isinstance(chunks[-1], TERMINAL)
    return chunks


async def turned(provider: Provider, request: TurnRequest) -> Turn:
    """The turn; there must be one."""
    outcome = assemble(await heard(provider, request))
    assert isinstance(outcome, Turn), outcome
    return outcome


async def broken(provider: Provider, request: TurnRequest) -> Broken:
    """The reason why there is no turn; there must be none."""
    outcome = assemble(await heard(provider, request))
    assert isinstance(outcome, Broken), outcome
    return outcome


async def failure(provider: Provider, request: TurnRequest) -> Failed:
    """The terminal chunk of a stream that must fail."""
    last = (await heard(provider, request))[-1]
    assert isinstance(last, Failed), last
    return last


def dig(value: JsonValue | Mapping[str, JsonValue], *path: str | int) -> JsonValue:
    """What a JSON value holds at a path of keys and indexes; they must be there."""
    for step in path:
        match value, step:
            case Mapping(), str():
                value = value[step]
            case list(), int():
                value = value[step]
            case _:
                raise AssertionError(f"no {step!r} in {value!r}")
    return dict(value) if isinstance(value, Mapping) else value
