"""One simulated engine process: the real parts, wired as `graph_engine.app` wires them, on the simulated broker.

Another implementation of the engine is plugged in here: `start_engine` is all that the simulation knows of it, and
`Engine.held` is what the oracle asks of it.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TypeVar, cast

from pydantic import JsonValue

from partsong.bus.pull import Delivery
from partsong.contracts.errors import NotFound, PartsongError, Unavailable
from partsong.contracts.foreign.question import Evaluate, at_once
from partsong.contracts.graph import Graph
from partsong.contracts.graph.validate import parse_graph
from partsong.contracts.state.state import RunState
from partsong.contracts.wire.requests import Accepted, AdmitRequest, Rejected
from partsong.contracts.wire.subjects import OURS
from partsong.graph_engine.catch_up import CatchUp
from partsong.graph_engine.checkpoints import Checkpoints
from partsong.graph_engine.children import Children
from partsong.graph_engine.commands import Commands
from partsong.graph_engine.door import Door, request_id
from partsong.graph_engine.graphs import Fits
from partsong.graph_engine.others import Relations
from partsong.graph_engine.ownership import Ownership
from partsong.graph_engine.preparing import Preparing, past_of
from partsong.graph_engine.processor import Processor
from partsong.graph_engine.schedules import Schedules
from partsong.graph_engine.threads import Threads
from partsong.graph_engine.turn import Turns
from partsong.graph_engine.worker import Engine as RealEngine
from partsong.log.snapshots.folded import Folded
from partsong.log.snapshots.port import Snapshots
from tests.sim.broker import SUBJECTS
from tests.sim.consumers import Item
from tests.sim.loop import Process
from tests.sim.ports import SimBucket, SimFeed, SimLog, SimOutbox, SimTimers
from tests.sim.world import World
from tests.support.whole_log import WholeLogOf

__all__ = ["Engine", "start_engine"]

T = TypeVar("T")

_FAR = 30
"""Few, so that partitions are caught up with often."""


@dataclass(eq=False)
class Engine:
    """A running engine, as the simulation sees it."""

    process: Process
    processors: Sequence[Processor]
    stop: Callable[[], Awaitable[None]]
    """Finish what is in flight, and leave."""

    def held(self) -> Mapping[str, Folded]:
        """The folds it holds by now, as far as they are sure."""
        slots = (slot for processor in self.processors for slot in processor.runs.slots.items())
        return {id_: slot.ledger.folded for id_, slot in slots if slot.warm}


def start_engine(world: World, process: Process, snapshots: Snapshots) -> Engine:
    """Begin an engine in a process that has just begun."""
    broker = world.broker
    log = SimLog(broker, process)
    commands = Commands(log, SUBJECTS)
    graphs = _Graphs(world, process)

    async def let_in(run_id: str, left: str) -> None:
        id_ = f"{OURS}admit-behind-{left}"
        await commands.append("admit", run_id, id_, AdmitRequest(id=id_, run_id=run_id))

    async def past(run_id: str, upto: int | None) -> list[tuple[int, bytes]]:
        return await past_of(log, SUBJECTS, tuple, run_id, upto)

    async def settle(decide: Callable[[Evaluate], T], /) -> T:
        return decide(at_once)  # a process of its own has a time of its own

    async def answer(reply: Accepted | Rejected) -> None:
        world.say(f"{process.name} answers {reply!r}")
        broker.answer(process, reply)

    children = Children(log, SUBJECTS, snapshots, commands, graphs.resolve)
    threads = Threads(
        SimBucket(broker, process), log, SUBJECTS, snapshots, let_in, lambda: process.connections
    )
    turns = Turns(
        log,
        SUBJECTS,
        SimOutbox(broker, process, children.begin),
        Preparing(graphs.resolve, past, threads, off_loop=_at_once),
        answer,
        silent=lambda worker: world.silent(process, worker),
        snapshots=snapshots,
        settle=settle,
    )
    turns.others = Relations(children, threads, commands)
    checkpoints = Checkpoints(SimBucket(broker, process))
    processors = [
        Processor(
            partition,
            SimFeed(broker, process, partition),
            turns,
            checkpoints,
            log,
            SUBJECTS,
            process.name,
            answer,
        )
        for partition in broker.partitions
    ]

    def timers(fired: Callable[[Delivery], None]) -> SimTimers:
        return SimTimers(broker, process, fired)

    engine = RealEngine(
        log,
        SUBJECTS,
        Ownership(
            processors,
            lambda: world.engines(process),
            process.name,
            catch_up=CatchUp(checkpoints, SUBJECTS, WholeLogOf(log, SUBJECTS), far=_FAR),
            connections=lambda: process.connections,
        ),
        timers,
    )
    door = Door(log, SUBJECTS, commands, graphs.resolve, cast("Schedules", None), settle=settle)
    requests = _Requests(world, process, door)

    async def start() -> None:
        await engine.start()
        broker.requests.join(process, requests.receive)

    async def stop() -> None:
        broker.requests.leave(process)
        await engine.drain()

    process.spawn(start())
    return Engine(process, processors, stop)


class _Requests:
    """Requests from the shared queue, and their answers: what `app.py` and the bus do around the door."""

    def __init__(self, world: World, process: Process, door: Door) -> None:
        self._world, self._process, self._door = world, process, door

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
        if reply is not None:
            self._world.say(f"{self._process.name} answers at the door {reply!r}")
            self._world.broker.answer(self._process, reply)
        item.queue.ack(self._process, item)

    async def _answer(self, verb: str, body: bytes) -> Accepted | Rejected | None:
        try:
            return await self._door.request(verb, body)
        except Unavailable:
            raise
        except PartsongError as error:
            return Rejected(id=request_id(body, {}), error=error.problem)


class _Graphs:
    """The bucket of graphs, by hash."""

    def __init__(self, world: World, process: Process) -> None:
        self._broker, self._process = world.broker, process

    async def resolve(self, wanted: str | dict[str, JsonValue], fits: Fits | None = None) -> Graph:
        kept = self._broker.graphs
        graph = None if isinstance(wanted, str) else _parsed(json.dumps(wanted, sort_keys=True))
        try:
            if graph is not None:
                if fits is not None:
                    await fits(graph)
                await self._broker.net.ask(
                    self._process, lambda: kept.setdefault(graph.hash, graph), 5.0
                )
                return graph
            found = await self._broker.net.ask(self._process, lambda: kept.get(str(wanted)), 5.0)
        except TimeoutError as error:
            raise Unavailable("graph.store", "no answer", retryable=True) from error
        if found is None:
            raise NotFound("graph.unknown", f"no graph {wanted}")
        if fits is not None:
            await fits(found)
        return found


@lru_cache(maxsize=4_096)
def _parsed(spec: str) -> Graph:
    return parse_graph(json.loads(spec))


async def _at_once(work: Callable[[], RunState]) -> RunState:
    return work()
