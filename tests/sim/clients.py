"""Clients: what they ask for, how often, and what becomes of it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Coroutine, Mapping
from typing import Any

from pydantic import JsonValue

from partsong.contracts.events import RunOptions
from partsong.contracts.graph import Graph
from partsong.contracts.wire.requests import (
    CancelRequest,
    ForkRequest,
    PauseRequest,
    ResumeRequest,
    RetryRequest,
    RunRequest,
    SignalRequest,
)
from tests.sim.graphs import input_of
from tests.sim.loop import Process
from tests.sim.world import Asked, World

__all__ = ["Client"]

_VERBS = {
    "run": RunRequest,
    "cancel": CancelRequest,
    "pause": PauseRequest,
    "resume": ResumeRequest,
    "signal": SignalRequest,
    "retry": RetryRequest,
    "fork": ForkRequest,
}
_PATIENCE = 25.0


class Client:
    """Sends requests, again if no answer comes, and now and then twice for no reason."""

    def __init__(
        self, world: World, process: Process, given: Mapping[str, JsonValue] | None = None
    ) -> None:
        """`given` is the input of all runs; without it, each has what its random graph needs."""
        self._world, self._process, self._given = world, process, given
        self._count = 0

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        """Let the client's process do something beside."""
        self._process.spawn(work)

    async def ask(self, verb: str, run_id: str, **fields: Any) -> None:
        """Send one request; returns when it is answered."""
        self._count += 1
        id_ = f"q{self._count}"
        request = _VERBS[verb](id=id_, run_id=run_id, **fields)
        body = request.model_dump_json(exclude_none=True).encode()
        world = self._world
        world.asked[id_] = Asked(id_, verb, run_id, body, world.broker.log.head, world.loop.time())
        world.say(f"client asks {id_} {verb} {run_id}")
        if world.random.random() < 0.1:
            world.loop.call_later(world.random.uniform(0.0, 20.0), self._send, verb, body)
        answered = world.broker.waiting.setdefault(id_, asyncio.Event())
        while not answered.is_set():
            self._send(verb, body)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_PATIENCE):
                    await answered.wait()

    def _send(self, verb: str, body: bytes) -> None:
        broker = self._world.broker
        broker.net.send(self._process, lambda: broker.requests.put(verb, body))

    async def start(self, run_id: str, graph: Graph, **options: Any) -> None:
        self._world.graphs.setdefault(run_id, graph)
        given = input_of(graph) if self._given is None else dict(self._given)
        await self.ask(
            "run", run_id, graph=graph.spec(), input=given, options=RunOptions(**options)
        )

    async def play(self, run_id: str, graph: Graph, until: float, options: dict[str, Any]) -> None:
        """One run's whole story."""
        rnd = self._world.random
        await asyncio.sleep(rnd.uniform(0.0, 4.0))
        twice = rnd.random()
        if twice < 0.15:
            self._process.spawn(self.start(run_id, graph, **options))
        elif twice < 0.2:
            other = graph.model_copy(update={"name": f"{graph.name}x"})
            self._process.spawn(self._start_late(run_id, other, options))
        await self.start(run_id, graph, **options)
        for _ in range(rnd.choice([0, 2, 6, 12])):
            await asyncio.sleep(rnd.choice([0.05, 0.2, 0.5, 1.0, 4.0]) * rnd.random())
            if self._world.loop.time() > until:
                return
            await self._bother(run_id)

    async def _start_late(self, run_id: str, graph: Graph, options: dict[str, Any]) -> None:
        await asyncio.sleep(self._world.random.uniform(0.0, 3.0))
        await self.start(run_id, graph, **options)

    async def _bother(self, run_id: str) -> None:
        rnd = self._world.random
        match rnd.choice(
            ["pause", "pause", "signal", "signal", "signal", "cancel", "retry", "fork"]
        ):
            case "pause":
                await self.ask("pause", run_id)
                await asyncio.sleep(rnd.uniform(0.0, 0.5))
                await self.ask("resume", run_id)
            case "signal":
                await self.ask("signal", run_id, name="go", payload=1)
            case "cancel" if rnd.random() < 0.3:
                await self.ask("cancel", run_id, reason="enough")
            case "retry":
                await self.ask("retry", run_id)
            case "fork" if rnd.random() < 0.3 and "f" not in run_id:
                await self.ask("fork", run_id, new_run_id=f"{run_id}f")
            case _:
                pass
