"""Providers for the tests of a turn: they play what they are told, and count."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable

from partsong.contracts.graph import AgentSpec
from partsong.contracts.talk.chunks import Chunk, End, Start, Text
from partsong.contracts.talk.messages import UserMessage
from partsong.contracts.wire.work import TurnWork
from partsong.models.catalogue import Catalogue, Entry
from partsong.models.port import Provider, TurnRequest
from partsong.models.registry import Providers, Settings
from partsong.models.turns import Turns

Play = Callable[[TurnRequest], AsyncGenerator[Chunk, None]]


class Player:
    """Plays `play` for every turn, and notes what it was asked."""

    name = "scripted"

    def __init__(self, play: Play) -> None:
        self._play = play
        self.asked: list[TurnRequest] = []

    async def warm(self) -> None:
        return None

    def stream(self, request: TurnRequest) -> AsyncGenerator[Chunk, None]:
        self.asked.append(request)
        return self._play(request)

    async def aclose(self) -> None:
        return None


class Held:
    """A turn that says a word and then waits until it is let go."""

    def __init__(self) -> None:
        self.begun: asyncio.Queue[str] = asyncio.Queue()
        self.go = asyncio.Event()

    async def __call__(self, request: TurnRequest) -> AsyncGenerator[Chunk, None]:
        yield Start(provider="scripted", model=request.model)
        yield Text(text="Hel")
        self.begun.put_nowait(request.model)
        await self.go.wait()
        yield Text(text="lo")
        yield End(stop="stop")


def turns_by(provider: Provider, *models: Entry) -> Turns:
    """A gateway's turns, with this provider as `scripted`, and these models to choose from."""
    return Turns(served_by(provider), Catalogue(models) if models else None)


def served_by(provider: Provider) -> Providers:
    """Providers of which `scripted` is this one."""
    providers = Providers(Settings())
    providers._made["scripted"] = provider
    return providers


def turn(
    *,
    model: str = "scripted:echo",
    tools: tuple[str, ...] = (),
    attempt: int = 1,
    timeout: float | None = None,
) -> TurnWork:
    """The first turn of an agent."""
    return TurnWork(
        run_id="r_1",
        call_id="a:1/t1",
        node="a",
        attempt=attempt,
        timeout=timeout,
        agent=AgentSpec(model=model, tools=tools),
        messages=(UserMessage(text="one two three"),),
    )
