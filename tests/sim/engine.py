"""One simulated engine process: the real parts, wired as `graph_engine.app` wires them, on the simulated broker.

Another implementation of the engine is plugged in here: `start_engine` is all that the simulation knows of it, and
`Engine.held` is what the oracle asks of it.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import cast

from pydantic import JsonValue

from partsong.contracts.errors import PartsongError, Unavailable
from partsong.contracts.graph import Graph
from partsong.contracts.requests import Accepted, Rejected
from partsong.contracts.validate import parse_graph
from partsong.graph_engine.door import Door, request_id
from partsong.graph_engine.mail import Wake
from partsong.graph_engine.others import Relations
from partsong.graph_engine.runs import Runs
from partsong.graph_engine.schedules import Schedules
from partsong.graph_engine.threads import Threads
from partsong.graph_engine.worker import Engine as RealEngine
from partsong.log.snapshots.folded import Folded
from partsong.log.snapshots.port import Snapshots
from tests.sim.broker import SUBJECTS
from tests.sim.consumers import Item
from tests.sim.loop import Process
from tests.sim.ports import (
    SimBucket,
    SimChildren,
    SimFeed,
    SimLog,
    SimOpenRuns,
    SimOutbox,
    SimTimers,
)
from tests.sim.world import World

__all__ = ["ONE_OUTCOME", "Engine", "start_engine"]

ONE_OUTCOME = False
"""Whether the engine promises that a request delivered twice is answered twice in the same way."""


@dataclass(eq=False)
class Engine:
    """A running engine, as the simulation sees it."""

    process: Process
    runs: Runs
    stop: Callable[[], Awaitable[None]]
    """Finish what is in flight, and leave."""

    def held(self) -> Mapping[str, Folded]:
        """The folds it holds by now, as far as they are sure."""
        return {id_: slot.ledger.folded for id_, slot in self.runs._slots.items()}


def start_engine(world: World, process: Process, snapshots: Snapshots) -> Engine:
    """Begin an engine in a process that has just begun."""
    broker = world.broker
    log = SimLog(broker, process)
    runs = Runs(
        log,
        SUBJECTS,
        SimOutbox(broker, process),
        process.name,
        silent=partial(world.silent, process),
        snapshots=snapshots,
    )
    children = SimChildren(broker, process)
    threads = Threads(
        SimBucket(broker, process),
        log,
        SUBJECTS,
        snapshots,
        lambda run_id: runs.hear(run_id, Wake()),
    )
    runs.others = Relations(children, threads, runs.hear)

    async def past(run_id: str) -> list[tuple[int, bytes]]:
        return [(record.seq, record.body) async for record in log.read(SUBJECTS.run(run_id))]

    door = Door(runs, _resolve, past, threads, cast("Schedules", None))
    engine = RealEngine(
        log,
        SUBJECTS,
        runs,
        [SimFeed(broker, process, partition) for partition in broker.feeds],
        SimOpenRuns(broker, process),
        lambda fired: SimTimers(broker, process, fired),
    )
    requests = _Requests(world, process, door, children)

    async def start() -> None:
        await engine.start()
        broker.requests.join(process, requests.receive)

    async def stop() -> None:
        broker.requests.leave(process)
        await engine.drain()

    process.spawn(start())
    return Engine(process, runs, stop)


class _Requests:
    """Requests from the shared queue, and their answers: what `app.py` and the bus do around the door."""

    def __init__(self, world: World, process: Process, door: Door, children: SimChildren) -> None:
        self._world, self._process = world, process
        self._door, self._children = door, children

    def receive(self, item: Item) -> None:
        self._process.spawn(self._carry_out(item))

    async def _carry_out(self, item: Item) -> None:
        body = cast("bytes", item.body)
        try:
            reply = await self._answer(item.subject, body)
        except Unavailable as error:
            self._world.say(f"{self._process.name} {item.subject} again: {error.problem.code}")
            item.queue.nak(self._process, item, min(30.0, 0.4 * 2 ** (item.deliveries - 1)))
            return
        except Exception as error:
            self._world.find(f"request {item.subject} broke: {error!r}")
            item.queue.nak(self._process, item, 5.0)
            return
        self._world.say(f"{self._process.name} answers {reply!r}")
        self._world.broker.answer(self._process, reply)
        item.queue.ack(self._process, item)

    async def _answer(self, verb: str, body: bytes) -> Accepted | Rejected:
        try:
            return await self._door.request(verb, body)
        except Unavailable:
            raise
        except PartsongError as error:
            if verb == "run":
                await self._children.refused(body, error.problem)
            return Rejected(id=request_id(body, {}), error=error.problem)


async def _resolve(wanted: str | dict[str, JsonValue]) -> Graph:
    assert isinstance(wanted, dict), "clients send whole graphs"
    return _parsed(json.dumps(wanted, sort_keys=True))


@lru_cache(maxsize=4_096)
def _parsed(spec: str) -> Graph:
    return parse_graph(json.loads(spec))
