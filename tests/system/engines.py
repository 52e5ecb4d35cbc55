"""Engines that come and go while runs are open."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing, asynccontextmanager

import partsong.graph_engine.app
from partsong.client.requests import ask
from partsong.contracts.events import Event
from partsong.contracts.events.envelope import decode
from partsong.contracts.state.fold import fold_all, fold_message
from partsong.contracts.state.state import RunState
from partsong.contracts.wire.requests import Accepted, SignalRequest
from partsong.engine.decide import decide
from partsong.engine.ledger import Ledger
from partsong.log.port import WrongSequence
from partsong.runtime import clock
from partsong.runtime.serve import Running, open_context
from partsong.runtime.settings import Settings
from partsong.testing.nats import Bus
from tests.system.platform import Platform

__all__ = ["an_engine", "dies_after", "events_until", "replace_engine", "signal", "until"]


@asynccontextmanager
async def an_engine(settings: Settings) -> AsyncIterator[Running]:
    """One more engine."""
    running = await open_context(settings, partsong.graph_engine.app.service(settings))
    try:
        yield running
    finally:
        await running.stop()


async def replace_engine(platform: Platform) -> None:
    """The platform's engine goes, and another one comes."""
    await platform.services["graph-engine"].stop()
    settings = platform.settings
    platform.services["graph-engine"] = await open_context(
        settings, partsong.graph_engine.app.service(settings)
    )


Tell = Callable[[RunState, str], tuple[Event, ...]]
"""What an engine commits for a run as it stands, at a time."""


async def dies_after(bus: Bus, run_id: str, tell: Tell) -> None:
    """An engine commits what `tell` means for a run, and dies before anything follows from it."""
    log = bus.log()
    ledger = Ledger(log, bus.subjects, run_id)
    while True:
        await ledger.refresh()
        now = clock.now_text()
        news = tell(ledger.state, now)
        decision = decide(fold_all(ledger.state, news), now)
        try:
            await ledger.commit((*news, *decision.events), decision.state)
        except WrongSequence:
            continue
        break
    await log.close()


async def signal(platform: Platform, run_id: str, name: str = "go") -> Accepted:
    """Send a run a signal, as any program does."""
    client = platform.client
    request = SignalRequest(id=f"q_{clock.new_id()}", run_id=run_id, name=name)
    return await ask(client.nats, client.subjects, "signal", request.id, request, within=20)


async def events_until(platform: Platform, run_id: str, kind: str) -> list[Event]:
    """The run's events up to the first message that holds one of this type; what follows it there is left out."""
    client, found = platform.client, list[Event]()
    async with (
        asyncio.timeout(30),
        aclosing(client.log.tail(client.subjects.run(run_id))) as records,
    ):
        async for record in records:
            for event in decode(record.body).events:
                found.append(event)
                if event.type == kind:
                    return found
    raise AssertionError("a tail does not end")


async def until(platform: Platform, run_id: str, *statuses: str) -> RunState:
    """The run at the first moment at which it has one of these statuses; it need not have begun."""
    client, state = platform.client, RunState(run_id)
    async with (
        asyncio.timeout(30),
        aclosing(client.log.tail(client.subjects.run(run_id))) as records,
    ):
        async for record in records:
            state = fold_message(state, decode(record.body), record.seq)
            if state.phase in statuses:
                return state
    raise AssertionError("a tail does not end")
