"""Wiring of the graph engine."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import replace
from functools import partial

from faststream.nats import NatsBroker
from nats.aio.msg import Msg
from pydantic import JsonValue

from partsong.bus.dead import dead_letter
from partsong.bus.faststream import Command, command_broker, on_command, on_query
from partsong.bus.handling import Handling
from partsong.bus.nats_feed import NatsFeed
from partsong.bus.parts import Parts
from partsong.bus.pull import Delivery, PullLoop
from partsong.bus.queued import AtTheDoor, the_beginning
from partsong.contracts.damage import DAMAGED, Damaged, damage_error
from partsong.contracts.errors import InvalidInput, PartsongError, Problem, Unavailable
from partsong.contracts.requests import Accepted, AdmitRequest, Rejected
from partsong.contracts.subjects import LANES, OURS, PARTITIONS
from partsong.graph_engine.admission import Admission
from partsong.graph_engine.arrivals import Arrivals
from partsong.graph_engine.bucket import NatsBucket
from partsong.graph_engine.catch_up import CatchUp
from partsong.graph_engine.checkpoints import Checkpoints, Life
from partsong.graph_engine.children import Children
from partsong.graph_engine.commands import Commands
from partsong.graph_engine.door import Door, request_id
from partsong.graph_engine.graphs import Graphs
from partsong.graph_engine.losses import Losses
from partsong.graph_engine.others import Relations
from partsong.graph_engine.outbox import NatsOutbox
from partsong.graph_engine.ownership import Ownership
from partsong.graph_engine.preparing import Preparing, past_of
from partsong.graph_engine.processor import Processor
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
from partsong.log.stored import BLOB
from partsong.log.whole import NatsWholeLog
from partsong.plugins.shelf import Shelf
from partsong.runtime import clock
from partsong.runtime.serve import Context
from partsong.runtime.settings import Settings
from partsong.runtime.streams import CONTROL, STARTS, lane_of

__all__ = ["GraphEngine", "service"]

_log = logging.getLogger("partsong.graph_engine")

_CREDIT = 8
"""Requests of one lane that this engine holds or has asked for."""


class GraphEngine:
    """Decides what happens next in every run."""

    name = "graph-engine"

    def __init__(self) -> None:
        self._engine: Engine | None = None
        self._broker: NatsBroker | None = None
        self._admission: Admission | None = None
        self._processors: Sequence[Processor] = ()
        self._stack = AsyncExitStack()

    @property
    def in_flight(self) -> int:
        """Runs being decided on now."""
        return sum(processor.runs.busy for processor in self._processors)

    @property
    def problem(self) -> Problem | None:
        """Why this engine does not look after all that belongs to it; None if it does."""
        return self._engine.problem if self._engine is not None else None

    async def start(self, context: Context) -> None:
        """Begin to follow the log; the door opens last."""
        snapshots = await self._stack.enter_async_context(
            open_snapshots(context.settings.snapshots, nc=context.nc, name=context.names.snapshots)
        )
        log = GroupCommit(context.log)
        commands = Commands(log, context.subjects)
        graphs = Graphs(context.nc, context.names.graphs)
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
        self._admission = self._open_lanes(context, door)
        self._broker = _doors(context, self.name, door, schedules)
        await context.nc.subscribe(
            context.subjects.requests(),
            queue=self.name,
            cb=partial(_unknown, context, door, self.name),
        )
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

    def _open_lanes(self, context: Context, door: Door) -> Admission:
        """Requests to begin a run, of each lane by turns, as far as there is room for one more."""

        async def buried(delivery: Delivery, problem: Problem) -> None:
            id_ = request_id(delivery.data, delivery.headers)
            await _answer(context, Rejected(id=id_, error=problem))

        handling = Handling(
            context.nc, context.subjects, self.name, fault="command.fault", buried=buried
        )

        async def carry_out(delivery: Delivery) -> None:
            d = delivery
            command = Command(d.subject, d.data, d.headers, d.stream_seq, d.num_delivered)
            await handling.answer(d, _request(context, door, self.name, command, d.stored_ns))

        requests, work = context.names.requests, context.names.work
        return Admission(
            [
                partial(PullLoop, context.nc, requests, name, credit=_CREDIT, auto_credit=False)
                for name in ("starts", *map(lane_of, range(LANES)))
            ],
            carry_out,
            busy=lambda: self.in_flight,
            readings=partial(readings, context.nc, work, ("agent-gateway", "tool-runner")),
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


def _doors(context: Context, name: str, door: Door, schedules: Schedules) -> NatsBroker:
    """Requests about runs have a consumer of their own, so that they never wait behind runs that begin."""
    broker = command_broker(context.nc, context.subjects, name)

    async def list_schedules(_command: Command) -> list[dict[str, JsonValue]]:
        return await schedules.list()

    async def request(command: Command) -> None:
        await _request(context, door, name, command)

    on_query(broker, context.subjects, name, "schedules", list_schedules)
    on_command(broker, context.names.requests, "control", context.subjects.requests(), request)
    return broker


async def _request(context: Context, door: Door, name: str, command: Command, at: int = 0) -> None:
    """Take one request, which was stored `at` so many nanoseconds; one that is refused is answered, and kept as a dead letter."""
    body = command.body
    try:
        if (damage := context.monitor.damage) is not None and context.monitor.read_only:
            raise damage_error(damage)  # whatever is asked: what is unknown here may be lost
        if (blob := command.headers.get(BLOB)) is not None:
            body = await context.blobs.get(blob)
        where = context.subjects.parse_request(command.subject)
        if where.lane is not None and not command.seq:
            raise InvalidInput(
                "subject.invalid",
                f"{command.subject} is how requests are stored, not where they are published",
                where="subject",
                fix=f"publish to {context.subjects.beginning(where.verb, where.caller, where.run_id)}",
            )
        reply = await door.request(where.verb, body, where.run_id, stored_ns=at)
    except Unavailable as error:
        if error.problem.code not in DAMAGED:
            raise
        reply = Rejected(id=request_id(body, command.headers), error=error.problem)
    except PartsongError as error:
        reply = Rejected(id=request_id(body, command.headers), error=error.problem)
        await _bury(context, name, command, error.problem)
    if reply is not None:
        await _answer(context, reply)


async def _unknown(context: Context, door: Door, name: str, msg: Msg) -> None:
    """Answer requests of a kind that nobody knows; no stream takes them."""
    with contextlib.suppress(InvalidInput):
        where = context.subjects.parse_request(msg.subject)
        if where.lane is None and where.verb in {*STARTS, *CONTROL}:
            return
    await _request(context, door, name, Command(msg.subject, msg.data, msg.headers or {}, 0, 1))


async def _answer(context: Context, reply: Accepted | Rejected) -> None:
    if reply.id:
        body = reply.model_dump_json(exclude_none=True).encode()
        await context.nc.publish(context.subjects.reply(reply.id), body)


async def _bury(context: Context, name: str, command: Command, problem: Problem) -> None:
    _log.warning("request refused", extra={"subject": command.subject, "problem": problem.code})
    await dead_letter(
        context.nc,
        context.subjects,
        name,
        problem,
        subject=command.subject,
        seq=command.seq,
        deliveries=command.deliveries,
        body=command.body,
    )


async def _at_the_door(context: Context, run_id: str) -> AtTheDoor | None:
    """The request by which a run is to begin, with its body."""
    found = await the_beginning(context.nc, context.subjects, run_id)
    if found is None or found.blob is None:
        return found
    return replace(found, body=await context.blobs.get(found.blob))


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
