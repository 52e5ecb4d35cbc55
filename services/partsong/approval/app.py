"""Wiring of the approval service."""

from __future__ import annotations

import logging

from faststream.nats import NatsBroker

from partsong.approval import database
from partsong.approval.desk import Desk
from partsong.approval.http import create_app
from partsong.approval.hub import Hub
from partsong.approval.projector import Projector
from partsong.approval.store import DatabaseMarks, Store
from partsong.approval.worker import Questions
from partsong.bus.faststream import command_broker, on_query
from partsong.contracts.errors import Problem
from partsong.contracts.services import APPROVAL, GRAPH_ENGINE
from partsong.contracts.wire.damage import Hit
from partsong.runtime.log_answers import ask_services
from partsong.runtime.serve import Context
from partsong.runtime.settings import Settings
from partsong.web.origin import is_loopback
from partsong.web.server import Server

__all__ = ["ApprovalService", "service"]

log = logging.getLogger("partsong.approval")

_FIRST_READ = 60.0
"""Seconds to wait at the start for the inbox to show all that the log holds."""
_QUIET = 0.1
"""Seconds without another answer after which all engines have been heard."""


class ApprovalService:
    """Shows what waits for a person, and takes decisions."""

    name = APPROVAL

    def __init__(self, store: Store, host: str, port: int) -> None:
        self._store, self._host, self._port = store, host, port
        self.marks = DatabaseMarks(store)
        """A third place for marks of the log."""
        self._hub = Hub()
        self._projector: Projector | None = None
        self._desk: Desk | None = None
        self._server: Server | None = None
        self._broker: NatsBroker | None = None

    @property
    def in_flight(self) -> int:
        """Decisions under way."""
        return self._desk.in_flight if self._desk else 0

    async def start(self, context: Context) -> None:
        """Read the log, listen on HTTP, answer questions on the bus.

        A long log may take longer than a start should: after a minute the service is up, and `/readyz` says when it is
        ready.

        Raises:
            Unavailable: the database or the port cannot be used.
        """
        await self._store.open()
        source, subjects = context.log, context.subjects

        def hit() -> Hit:
            return Hit(context.restores(), context.monitor.damage)

        projector = self._projector = Projector(
            source, subjects, self._store, self._hub, damaged=lambda: hit().runs
        )
        desk = self._desk = Desk(
            source, subjects, self._store, projector, hit=hit, telemetry=context.telemetry
        )

        async def engine_problem() -> Problem | None:
            """Why one of the engines does not look after all that belongs to it; None if all do that answer."""
            said = await ask_services(context.nc, subjects, (GRAPH_ENGINE,), quiet=_QUIET)
            for one in said:
                if one.problem is not None:
                    who = one.worker.partition("~")[0]
                    message = f"{who}: {one.problem.message}"
                    return one.problem.model_copy(update={"message": message})
            return None

        app = create_app(
            desk,
            projector,
            self._hub,
            loopback=is_loopback(self._host),
            log_problem=lambda: context.monitor.problem,
            log_note=lambda: (
                "; ".join(filter(None, (context.monitor.note, projector.note))) or None
            ),
            engine_problem=engine_problem,
        )
        projector.start()
        self._server = Server(app, self._host, self._port)
        context.heart.url = url = await self._server.start()
        self._broker = command_broker(context.nc, context.subjects, self.name)
        on_query(self._broker, subjects, self.name, "list", Questions(desk).list)
        await self._broker.start()
        if not await projector.catch_up(_FIRST_READ):
            log.warning("still reading the log", extra={"position": projector.position})
        log.info("listening", extra={"url": url, "position": projector.position})

    async def drain(self) -> None:
        """Send the viewers away, finish what was asked, let go of everything."""
        await self._hub.close()
        if self._server is not None:
            await self._server.stop()
        if self._broker is not None:
            await self._broker.stop()
        if self._projector is not None:
            await self._projector.stop()
        await self._store.close()


def service(settings: Settings) -> ApprovalService:
    """The service, with the database and the address that the settings name.

    Raises:
        InvalidInput: `settings.invalid`; the database's URL is none.
        Unavailable: `approval.no_driver`.
    """
    engine = database.connect(settings.database_url, settings.data_dir)
    return ApprovalService(Store(engine), settings.http_host, settings.http_port)
