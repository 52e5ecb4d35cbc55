"""Wiring of the graph engine."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import replace
from functools import partial

from faststream.nats import NatsBroker
from pydantic import JsonValue

from partsong.bus.bucket import NatsBucket
from partsong.bus.dead import dead_letter
from partsong.bus.faststream import Command, command_broker, on_command, on_query
from partsong.bus.handling import Handling
from partsong.bus.legible import legible
from partsong.bus.nats_feed import NatsFeed
from partsong.bus.parts import Parts
from partsong.bus.pull import Delivery, PullLoop
from partsong.bus.queued import AtTheDoor, the_beginning
from partsong.contracts.errors import PartsongError, Problem
from partsong.contracts.services import GRAPH_ENGINE, WORKERS
from partsong.contracts.wire.damage import Damaged, damage_error
from partsong.contracts.wire.requests import Accepted, AdmitRequest, Rejected
from partsong.contracts.wire.subjects import LANES, OURS, PARTITIONS
from partsong.graph_engine.admission import Admission
from partsong.graph_engine.arrivals import Arrivals
from partsong.graph_engine.catch_up import CatchUp
from partsong.graph_engine.checkpoints import Checkpoints, Life
from partsong.graph_engine.children import Children
from partsong.graph_engine.commands import Commands
from partsong.graph_engine.deciding import Deciding
from partsong.graph_engine.door import MAX_BODY, Door, request_id
from partsong.graph_engine.graphs import Graphs
from partsong.graph_engine.losses import Losses
from partsong.graph_engine.others import Relations
from partsong.graph_engine.outbox import NatsOutbox
from partsong.graph_engine.ownership import Ownership
from partsong.graph_engine.preparing import Preparing, past_of
from partsong.graph_engine.processor import Processor
from partsong.graph_engine.request_handler import RequestHandler
from partsong.graph_engine.room_watch import RoomWatch
from partsong.graph_engine.schedules import Schedules
from partsong.graph_engine.scrubbing import Scrubber
from partsong.graph_engine.seating import Seating
from partsong.graph_engine.threads import Threads
from partsong.graph_engine.turn import Turns
from partsong.graph_engine.worker import Engine
from partsong.graph_engine.workload import Backlog, readings
from partsong.log.group import GroupCommit
from partsong.log.jetstream import JetStreamLog
from partsong.log.port import Log
from partsong.log.scrub import SLOWLY, Target, scrub
from partsong.log.snapshots.open import open_snapshots
from partsong.log.snapshots.port import Snapshots
from partsong.log.whole import NatsWholeLog
from partsong.plugins.shelf import Shelf
from partsong.runtime import clock
from partsong.runtime.room import full_streams
from partsong.runtime.serve import Context
from partsong.runtime.settings import Settings
from partsong.runtime.streams import lane_of

__all__ = ["GraphEngine", "service"]

_CREDIT = 8
"""Requests of one lane that this engine holds or has asked for."""


class GraphEngine:
    """Decides what happens next in every run."""

    name = GRAPH_ENGINE

    def __init__(self) -> None:
        self._engine: Engine | None = None
        self._broker: NatsBroker | None = None
        self._admission: Admission | None = None
        self._room: RoomWatch | None = None
        self._processors: Sequence[Processor] = ()
        self._stack = AsyncExitStack()

    @property
    def in_flight(self) -> int:
        """Runs being decided on now."""
        return sum(processor.runs.busy for processor in self._processors)

    @property
    def problem(self) -> Problem | None:
        """Why this engine does not look after all that belongs to it, or cannot; None if it does."""
        problem = self._engine.problem if self._engine is not None else None
        return problem or (self._room.problem if self._room is not None else None)

    async def start(self, context: Context) -> None:
        """Begin to follow the log; the door opens last."""
        snapshots = await self._stack.enter_async_context(
            open_snapshots(context.settings.snapshots, nc=context.nc, name=context.names.snapshots)
        )
        log = GroupCommit(context.log)
        commands = Commands(log, context.subjects)
        graphs = Graphs(context.nc, context.subjects)
        children = Children(log, context.subjects, snapshots, commands, graphs.resolve)
        schedules = Schedules(
            context.nc,
            context.subjects,
            NatsBucket(context.nc, context.names.schedules),
            context.log,
            stream=context.names.timers,
        )
        turns = self._turns(context, log, snapshots, commands, children, graphs)
        door = Door(
            log,
            context.subjects,
            commands,
            graphs.resolve,
            schedules,
            partial(_at_the_door, context),
        )
        checkpoints = Checkpoints(
            NatsBucket(context.nc, context.names.partitions), partial(_life, context)
        )
        self._processors = _processors(context, log, turns, checkpoints)
        pull = partial(
            PullLoop, context.nc, context.names.timers, "engine", credit=256, auto_credit=False
        )
        self._engine = Engine(
            log,
            context.subjects,
            self._ownership(context, checkpoints),
            pull,
            start_scheduled=door.start_scheduled,
            restore=schedules.restore,
        )
        handler = _handler(context, door, self.name)
        self._admission = self._open_lanes(context, handler)
        self._broker = _doors(context, self.name, handler, schedules)
        await context.nc.subscribe(
            context.subjects.requests(), queue=self.name, cb=handler.handle_unknown
        )
        self._room = RoomWatch(partial(full_streams, context.nc, context.subjects))
        self._room.start()
        self._stack.push_async_callback(self._room.stop)
        # Or it would take what the others own, and give it back.
        await context.watch.meet(self.name)
        await self._engine.start()
        await self._admission.start()
        await self._broker.start()

    def _ownership(self, context: Context, checkpoints: Checkpoints) -> Ownership:
        whole = NatsWholeLog(context.nc, context.subjects, context.names.log)
        self._stack.push_async_callback(whole.close)
        scrubber = Scrubber(partial(_scrub, context), context.monitor.report)
        scrubber.start()
        self._stack.push_async_callback(scrubber.stop)
        return Ownership(
            self._processors,
            partial(_alive, context, self.name),
            context.worker,
            arrived=Arrivals(context.watch.beats, clock.monotonic),
            epoch=partial(_epoch, context),
            taken=scrubber.taken,
            catch_up=CatchUp(checkpoints, context.subjects, whole),
            connections=context.reconnects,
        )

    def _open_lanes(self, context: Context, handler: RequestHandler) -> Admission:
        """Requests to begin a run, of each lane by turns, as far as there is room for one more."""
        handling = Handling(
            context.nc,
            context.subjects,
            self.name,
            fault="command.fault",
            buried=partial(_buried, context),
        )

        async def carry_out(delivery: Delivery) -> bool:
            d, taken = delivery, False

            async def take() -> None:
                nonlocal taken
                command = Command(d.subject, d.data, d.headers, d.stream_seq, d.num_delivered)
                taken = await handler.handle(command, stored_ns=d.stored_ns)

            await handling.answer(d, take())
            return taken

        requests, work = context.names.requests, context.names.work
        return Admission(
            [
                partial(PullLoop, context.nc, requests, name, credit=_CREDIT, auto_credit=False)
                for name in ("starts", *map(lane_of, range(LANES)))
            ],
            carry_out,
            busy=lambda: self.in_flight,
            readings=partial(readings, context.nc, work, WORKERS),
            worked_on=lambda service: bool(_alive(context, service)),
        )

    def _turns(
        self,
        context: Context,
        log: Log,
        snapshots: Snapshots,
        commands: Commands,
        children: Children,
        graphs: Graphs,
    ) -> Turns:
        async def let_in(run_id: str, left: str) -> None:
            id_ = f"{OURS}admit-behind-{left}"[:200]
            request = AdmitRequest(id=id_, run_id=run_id)
            await commands.append("admit", run_id, id_, request)

        past = partial(past_of, context.log, context.subjects, context.restores)
        threads = Threads(
            NatsBucket(context.nc, context.names.threads),
            context.log,
            context.subjects,
            snapshots,
            let_in,
            context.reconnects,
            Seating(NatsBucket(context.nc, context.names.partitions), context.restores),
        )
        chunks = JetStreamLog(
            context.nc, stream=context.names.chunks, attempt=1.0, deadline=2.0, forgets=True
        )
        self._stack.push_async_callback(chunks.close)
        plugins = Shelf.load(context.settings.plugins).refs
        turns = Turns(
            log,
            context.subjects,
            NatsOutbox(
                context.nc,
                context.subjects,
                Parts(context.blobs.beside(context.names.hints)),
                children.begin,
                Backlog(context.nc, context.names.work).of,
            ),
            Preparing(graphs.resolve, past, threads, plugins),
            partial(_answer, context),
            silent=context.watch.silent,
            stopped=context.watch.told_to_stop,
            holds=context.watch.holds,
            unattended=context.watch.unattended,
            restores=context.restores,
            telemetry=context.telemetry,
            snapshots=snapshots,
            losses=Losses(chunks, context.subjects),
            deciding=Deciding.open(context.settings.data_dir),
        )
        turns.others = Relations(children, threads, commands)
        self._stack.push_async_callback(turns.drain)
        return turns

    async def drain(self) -> None:
        """Close the door, finish what has come."""
        if self._broker is not None:
            await self._broker.stop()
        if self._admission is not None:
            await self._admission.drain()
        if self._engine is not None:
            await self._engine.drain()
        await self._stack.aclose()


def _processors(
    context: Context, log: Log, turns: Turns, checkpoints: Checkpoints
) -> list[Processor]:
    return [
        Processor(
            partition,
            NatsFeed(
                context.nc,
                context.names.log,
                context.subjects.partition(partition),
                context.blobs.get,
            ),
            turns,
            checkpoints,
            log,
            context.subjects,
            context.worker,
            partial(_answer, context),
        )
        for partition in range(PARTITIONS)
    ]


def _doors(
    context: Context, name: str, handler: RequestHandler, schedules: Schedules
) -> NatsBroker:
    """Requests about runs have a consumer of their own, so that they never wait behind runs that begin."""
    broker = command_broker(context.nc, context.subjects, name, buried=partial(_buried, context))

    async def list_schedules(_command: Command) -> list[dict[str, JsonValue]]:
        return await schedules.list()

    async def request(command: Command) -> None:
        await handler.handle(command)

    on_query(broker, context.subjects, name, "schedules", list_schedules)
    on_command(broker, context.names.requests, "control", context.subjects.requests(), request)
    return broker


async def _buried(context: Context, delivery: Delivery, problem: Problem) -> None:
    """Answer a request that nobody will take any more."""
    id_ = request_id(delivery.data, delivery.headers)
    await _answer(context, Rejected(id=id_, error=problem))


def _handler(context: Context, door: Door, name: str) -> RequestHandler:
    """Takes requests, and answers those that are refused."""

    def closed() -> PartsongError | None:
        damage = context.monitor.damage  # whatever is asked: what is unknown here may be lost
        return damage_error(damage) if damage is not None and context.monitor.read_only else None

    async def bury(command: Command, problem: Problem) -> None:
        await dead_letter(
            context.nc,
            context.subjects,
            name,
            problem,
            subject=command.subject,
            seq=command.seq,
            deliveries=command.deliveries,
            body=command.body,
            headers=command.headers,
        )

    return RequestHandler(
        context.subjects,
        door.request,
        partial(_answer, context),
        bury,
        partial(context.blobs.get, most=MAX_BODY),
        closed,
    )


async def _answer(context: Context, reply: Accepted | Rejected) -> None:
    if isinstance(reply, Rejected):
        reply = reply.model_copy(update={"error": legible(reply.error)})
    if reply.id:
        body = reply.model_dump_json(exclude_none=True).encode()
        await context.nc.publish(context.subjects.reply(reply.id), body)


async def _at_the_door(context: Context, run_id: str) -> AtTheDoor | None:
    """The request by which a run is to begin, with its body."""
    found = await the_beginning(context.nc, context.subjects, run_id)
    if found is None or found.blob is None:
        return found
    return replace(found, body=await context.blobs.get(found.blob, most=MAX_BODY))


def _alive(context: Context, service: str) -> set[str]:
    """The workers of a service that are alive, this one or not."""
    watch = context.watch
    beats = (beat for beat in watch.beats.values() if beat.service == service)
    return {b.worker for b in beats if not b.stopped and not watch.silent(b.worker)}


def _epoch(context: Context) -> int | None:
    """In which of its lives the log is; None while it is not to be written to."""
    monitor = context.monitor
    return None if monitor.read_only or monitor.identity is None else monitor.identity.epoch


def _life(context: Context) -> Life:
    """Which log is processed, and in which of its lives."""
    identity = context.monitor.identity
    return ("", 1) if identity is None else (identity.log_id, identity.epoch)


async def _scrub(
    context: Context, targets: Sequence[Target], *, slowly: bool
) -> dict[int, Damaged]:
    identity = context.monitor.identity
    return await scrub(
        context.nc,
        context.subjects,
        targets,
        stream=context.names.log,
        accepted=identity.accepted if identity is not None else 0,
        rate=SLOWLY if slowly else None,
    )


def service(_settings: Settings) -> GraphEngine:
    """The graph engine."""
    return GraphEngine()
