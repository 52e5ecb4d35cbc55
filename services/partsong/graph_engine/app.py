"""Wiring of the graph engine."""

from __future__ import annotations

import logging
from contextlib import AsyncExitStack

from faststream.nats import NatsBroker
from pydantic import JsonValue

from partsong.bus.dead import dead_letter
from partsong.bus.faststream import Command, command_broker, on_command, on_query
from partsong.contracts.damage import DAMAGED
from partsong.contracts.errors import PartsongError, Problem, Unavailable
from partsong.contracts.requests import Accepted, Rejected
from partsong.graph_engine.bucket import Bucket
from partsong.graph_engine.children import Children
from partsong.graph_engine.door import Door, request_id
from partsong.graph_engine.graphs import Graphs
from partsong.graph_engine.losses import Losses
from partsong.graph_engine.mail import Wake
from partsong.graph_engine.others import Relations
from partsong.graph_engine.outbox import NatsOutbox
from partsong.graph_engine.runs import Runs
from partsong.graph_engine.schedules import Schedules
from partsong.graph_engine.threads import Threads
from partsong.graph_engine.worker import Engine
from partsong.log.jetstream import JetStreamLog
from partsong.log.snapshots.open import open_snapshots
from partsong.log.snapshots.port import Snapshots
from partsong.log.stored import BLOB
from partsong.plugins.shelf import Shelf
from partsong.runtime.serve import Context
from partsong.runtime.settings import Settings

__all__ = ["GraphEngine", "service"]

_log = logging.getLogger("partsong.graph_engine")


class GraphEngine:
    """Decides what happens next in every run."""

    name = "graph-engine"

    def __init__(self) -> None:
        self._engine: Engine | None = None
        self._broker: NatsBroker | None = None
        self._context: Context | None = None
        self._door: Door | None = None
        self._runs: Runs | None = None
        self._children: Children | None = None
        self._schedules: Schedules | None = None
        self._stack = AsyncExitStack()

    @property
    def in_flight(self) -> int:
        """Runs being decided on now."""
        return self._runs.busy if self._runs else 0

    async def start(self, context: Context) -> None:
        """Begin to listen; the door opens last."""
        self._context = context
        outbox = NatsOutbox(context.nc, context.subjects, context.blobs)
        snapshots = await self._stack.enter_async_context(
            open_snapshots(context.settings.snapshots, nc=context.nc, name=context.names.snapshots)
        )
        chunks = JetStreamLog(
            context.nc, stream=context.names.chunks, attempt=1.0, deadline=2.0, forgets=True
        )
        self._stack.push_async_callback(chunks.close)
        self._runs = Runs(
            context.log,
            context.subjects,
            outbox,
            context.worker,
            silent=context.watch.silent,
            telemetry=context.telemetry,
            snapshots=snapshots,
            losses=Losses(chunks, context.subjects),
        )
        self._children = Children(context.nc, context.log, context.subjects)
        threads = self._threads(context, self._runs, snapshots)
        self._runs.others = Relations(self._children, threads, self._runs.hear)
        graphs = Graphs(context.nc, context.names.graphs)
        self._schedules = Schedules(
            context.nc,
            context.subjects,
            Bucket(context.nc, context.names.schedules),
            context.log,
            stream=context.names.timers,
        )
        self._door = Door(
            self._runs,
            graphs.resolve,
            self._past,
            threads,
            self._schedules,
            Shelf.load(context.settings.plugins).refs,
        )
        self._engine = Engine(
            context.nc,
            context.log,
            context.subjects,
            self._runs,
            start_scheduled=self._door.start_scheduled,
            restore=self._schedules.restore,
            affinity=context.settings.affinity,
        )
        self._broker = command_broker(context.nc, context.subjects, self.name)
        on_query(self._broker, context.subjects, self.name, "schedules", self._list_schedules)
        on_command(
            self._broker,
            context.names.requests,
            "engine",
            context.subjects.requests(),
            self._request,
        )
        await self._engine.start()
        await self._broker.start()

    async def drain(self) -> None:
        """Close the door, finish what has been heard."""
        if self._broker is not None:
            await self._broker.stop()
        if self._engine is not None:
            await self._engine.drain()
        await self._stack.aclose()

    @staticmethod
    def _threads(context: Context, runs: Runs, snapshots: Snapshots) -> Threads:
        return Threads(
            Bucket(context.nc, context.names.threads),
            context.log,
            context.subjects,
            snapshots,
            lambda run_id: runs.hear(run_id, Wake()),
        )

    async def _list_schedules(self, _command: Command) -> list[dict[str, JsonValue]]:
        assert self._schedules is not None  # noqa: S101
        return await self._schedules.list()

    async def _past(self, run_id: str) -> list[tuple[int, bytes]]:
        assert self._context is not None  # noqa: S101
        records = self._context.log.read(self._context.subjects.run(run_id))
        return [(record.seq, record.body) async for record in records]

    async def _request(self, command: Command) -> None:
        """Carry out one request and answer it; a refused one is also kept as a dead letter."""
        assert self._context is not None  # noqa: S101
        assert self._door is not None  # noqa: S101
        assert self._children is not None  # noqa: S101
        verb, body = command.subject.rpartition(".")[2], command.body
        if (blob := command.headers.get(BLOB)) is not None:
            body = await self._context.blobs.get(blob)
        try:
            reply: Accepted | Rejected = await self._door.request(verb, body)
        except Unavailable as error:
            if error.problem.code not in DAMAGED:
                raise
            reply = Rejected(id=request_id(body, command.headers), error=error.problem)
        except PartsongError as error:
            reply = Rejected(id=request_id(body, command.headers), error=error.problem)
            await self._bury(command, error.problem)
            if verb == "run":
                await self._children.refused(body, error.problem)
        if reply.id:
            body = reply.model_dump_json(exclude_none=True).encode()
            await self._context.nc.publish(self._context.subjects.reply(reply.id), body)

    async def _bury(self, command: Command, problem: Problem) -> None:
        assert self._context is not None  # noqa: S101
        _log.warning("request refused", extra={"subject": command.subject, "problem": problem.code})
        await dead_letter(
            self._context.nc,
            self._context.subjects,
            self.name,
            problem,
            subject=command.subject,
            seq=command.seq,
            deliveries=command.deliveries,
            body=command.body,
        )


def service(_settings: Settings) -> GraphEngine:
    """The graph engine."""
    return GraphEngine()
