"""`serve`: start, readiness, drain and exit code of a service process; the same for every service.

Exit codes: 0 drained, 1 failed, 2 told something wrong.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
from dataclasses import dataclass
from typing import Protocol

from nats.aio.client import Client

from partsong.contracts.errors import InvalidInput, PartsongError
from partsong.contracts.subjects import Subjects
from partsong.log.blobs import Blobs
from partsong.log.jetstream import JetStreamLog
from partsong.log.port import Log
from partsong.runtime import logs
from partsong.runtime.alive import Heart, Watch, worker_id
from partsong.runtime.connect import connect, disconnect
from partsong.runtime.settings import Settings
from partsong.runtime.streams import Names, provision
from partsong.runtime.telemetry import Telemetry

__all__ = ["Context", "Running", "Service", "open_context", "serve"]

_log = logging.getLogger("partsong.serve")


@dataclass(frozen=True, slots=True)
class Context:
    """What every service is given."""

    settings: Settings
    nc: Client
    subjects: Subjects
    names: Names
    log: Log
    blobs: Blobs
    worker: str
    """This process's id in claims."""
    watch: Watch
    heart: Heart
    telemetry: Telemetry


class Service(Protocol):
    """One player, wired by its `app.py`."""

    @property
    def name(self) -> str:
        """The role, as it stands in subjects."""
        ...

    @property
    def in_flight(self) -> int:
        """Calls being made now, for the heartbeat."""
        ...

    async def start(self, context: Context) -> None:
        """Become ready: when this returns, the service works."""
        ...

    async def drain(self) -> None:
        """Take nothing new, finish what runs, let go of everything."""
        ...


class Running:
    """A started service and all it stands on."""

    def __init__(self, service: Service, context: Context, jetstream: JetStreamLog) -> None:
        self.service, self.context, self._jetstream = service, context, jetstream

    async def stop(self) -> None:
        """Drain, within the time the settings give, then let go."""
        try:
            async with asyncio.timeout(self.context.settings.drain):
                await self.service.drain()
        except TimeoutError:
            _log.warning("drain cut short", extra={"after": self.context.settings.drain})
        await self.context.watch.stop()
        await self.context.heart.stop()
        await asyncio.to_thread(self.context.telemetry.shutdown)
        await self._jetstream.close()
        await disconnect(self.context.nc)


async def open_context(settings: Settings, service: Service) -> Running:
    """Connect, provision what is missing, start the service."""
    name = settings.worker or service.name
    incarnation, worker = worker_id(name)
    subjects, names = settings.subjects, Names.of(settings.subjects)

    async def again() -> None:
        """A restarted server has forgotten its memory streams."""
        await provision(nc, subjects)

    nc = await connect(settings.nats_url, name=worker, on_reconnect=again)
    await provision(nc, subjects)
    jetstream = JetStreamLog(nc, stream=names.log, blobs=names.blobs)
    watch = Watch(nc, subjects)
    heart = Heart(
        nc, subjects, service.name, name, incarnation, in_flight=lambda: service.in_flight
    )
    telemetry = Telemetry.setup(service.name, settings.otlp_endpoint or None, instance=worker)
    context = Context(
        settings, nc, subjects, names, jetstream, jetstream.blobs, worker, watch, heart, telemetry
    )
    await watch.start()
    running = Running(service, context, jetstream)
    try:
        await service.start(context)
    except BaseException:
        await running.stop()
        raise
    heart.start()
    return running


async def _serve(service: Service, settings: Settings) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    running = await open_context(settings, service)
    print(
        f"ready {service.name} {running.context.worker} {running.context.heart.url or '-'}",
        flush=True,
    )
    await stop.wait()
    _log.info("draining")
    await running.stop()


def serve(service: Service, settings: Settings) -> int:
    """Run a service until it is told to stop; the exit code."""
    logs.set_up(service.name, level=settings.log_level, form=settings.log_format)
    try:
        asyncio.run(_serve(service, settings))
    except InvalidInput as error:
        print(error, file=sys.stderr)
        return 2
    except PartsongError as error:
        print(error, file=sys.stderr)
        return 1
    except Exception:
        _log.exception("service failed", extra={"pid": os.getpid()})
        return 1
    return 0
