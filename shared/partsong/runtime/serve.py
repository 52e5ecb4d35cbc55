"""`serve`: start, readiness, drain and exit code of a service process; the same for every service.

Exit codes: 0 drained, 1 failed, 2 told something wrong, 78 what it stands on is not fit and will not mend by itself.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
from contextlib import AsyncExitStack
from dataclasses import dataclass
from functools import partial
from typing import Protocol, runtime_checkable

from nats.aio.client import Client

from partsong.contracts.errors import InvalidInput, PartsongError, Problem
from partsong.contracts.wire.damage import DAMAGED, Damaged, damage_error
from partsong.contracts.wire.marks import Restored
from partsong.contracts.wire.subjects import Subjects
from partsong.log.blobs import Blobs
from partsong.log.jetstream import JetStreamLog
from partsong.log.marks import BucketMarks, FileMarks, MarkStore
from partsong.runtime import logs
from partsong.runtime.broker_clock import BrokerClock
from partsong.runtime.connect import connect, disconnect
from partsong.runtime.garbage import leave_out_modules
from partsong.runtime.heartbeat.identity import default_name, worker_id
from partsong.runtime.heartbeat.monitor import LivenessMonitor
from partsong.runtime.heartbeat.port import Heartbeat, HeartbeatFactory
from partsong.runtime.heartbeat.process import ProcessHeartbeat
from partsong.runtime.heartbeat.task import TaskHeartbeat
from partsong.runtime.log_answers import log_answers
from partsong.runtime.log_monitor import LogMonitor
from partsong.runtime.settings import Settings
from partsong.runtime.streams import Names, log_differences, provision
from partsong.runtime.telemetry.setup import setup
from partsong.runtime.telemetry.telemetry import Telemetry

__all__ = ["Context", "KeepsMarks", "Running", "SaysProblem", "ServiceApp", "open_context", "serve"]

_log = logging.getLogger("partsong.serve")

_RESTORED = "log.restored"
_UNFIT = frozenset({"nats.too_old", "clock.skew", "streams.mismatch", *DAMAGED}) - {_RESTORED}
"""Codes of errors that starting again does not mend: somebody must change what the service stands on."""
_TICK = 1.0
_EX_CONFIG = 78
"""As sysexits.h has it."""


@dataclass(frozen=True, slots=True)
class Context:
    """What every service is given."""

    settings: Settings
    nc: Client
    subjects: Subjects
    names: Names
    log: JetStreamLog
    blobs: Blobs
    worker: str
    """This process's id in claims."""
    watch: LivenessMonitor
    heart: Heartbeat
    telemetry: Telemetry
    monitor: LogMonitor
    """Says how the log stands, and is told of what reading it has found."""

    def restores(self) -> tuple[Restored, ...]:
        """The restores that the log has been through, as far as it is known which log it is."""
        identity = self.monitor.identity
        return () if identity is None else identity.restores

    def reconnects(self) -> int:
        """How often the connection was lost and came back."""
        return int(self.nc.stats["reconnects"])


@runtime_checkable
class KeepsMarks(Protocol):
    """A service that has a place of its own for marks of the log."""

    @property
    def marks(self) -> MarkStore:
        """That place."""
        ...


@runtime_checkable
class SaysProblem(Protocol):
    """A service that may be up and yet not do all of its work."""

    @property
    def problem(self) -> Problem | None:
        """Why it does not; None if it does."""
        ...


class ServiceApp(Protocol):
    """One service, wired by its `app.py`."""

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

    def __init__(self, service: ServiceApp, context: Context, stands_on: AsyncExitStack) -> None:
        self.service, self.context, self._stands_on = service, context, stands_on

    async def stop(self) -> None:
        """Drain, within the time the settings give, then let go."""
        self.context.heart.drains()
        limit = self.context.settings.drain
        async with self._stands_on:
            try:
                async with asyncio.timeout(limit):
                    await self.service.drain()
            except TimeoutError:
                _log.warning("drain cut short", extra={"after": limit})


async def open_context(
    settings: Settings, service: ServiceApp, *, heartbeat: HeartbeatFactory = TaskHeartbeat
) -> Running:
    """Connect, provision what is missing, start the service.

    A process that is one service gives `heartbeat` a process of its own; several services in one process beat in tasks.

    Raises:
        InvalidInput: a setting does not fit.
        Unavailable: NATS did not answer, is too old, or has another idea of what time it is.
        Conflict: a stream is not as it must be.
    """
    async with AsyncExitStack() as stack:
        context = await _context(settings, service, heartbeat, stack)
        running = Running(service, context, stack.pop_all())
    try:
        await service.start(context)
        await context.nc.flush()  # what it subscribed to, it now hears
        context.heart.ready = True
    except BaseException:
        await running.stop()
        raise
    return running


async def _context(
    settings: Settings, service: ServiceApp, heartbeat: HeartbeatFactory, stack: AsyncExitStack
) -> Context:
    name = settings.worker or default_name(service.name)
    incarnation, worker = worker_id(name)
    subjects, names = settings.subjects, Names.of(settings.subjects)

    async def again() -> None:
        """A restarted server has forgotten its memory streams, and perhaps more than that."""
        await monitor.check()
        if not monitor.read_only:
            await provision(nc, subjects, replicas=settings.replicas, create_log=False)

    nc = await connect(settings.nats_url, name=worker, on_reconnect=again)
    stack.push_async_callback(disconnect, nc)
    monitor = _monitor(settings, service, nc)
    stack.push_async_callback(monitor.stop)
    create_log = await monitor.begin()
    await provision(nc, subjects, replicas=settings.replicas, create_log=create_log)
    await monitor.start()
    said = log_answers(
        nc, subjects, service.name, worker, lambda: monitor.problem or _problem_of(service)
    )
    await said.start()
    stack.push_async_callback(said.stop)
    broker_clock = BrokerClock(nc, subjects, names.timers, service.name, worker)
    await broker_clock.start()
    stack.push_async_callback(broker_clock.stop)
    store = JetStreamLog(nc, stream=names.log, blobs=names.blobs, keeper=monitor)
    stack.push_async_callback(store.close)
    telemetry = setup(service.name, settings.otlp_endpoint or None, instance=worker)
    stack.push_async_callback(asyncio.to_thread, telemetry.shutdown)
    watch = LivenessMonitor(nc, subjects)
    await watch.start()
    stack.push_async_callback(watch.stop)
    heart = heartbeat(
        nc,
        subjects,
        service.name,
        name,
        incarnation,
        in_flight=lambda: service.in_flight,
        nats_url=settings.nats_url,
    )
    await heart.start()  # before the first claim, or the claim's worker would be unknown
    stack.push_async_callback(heart.stop)
    return Context(
        settings, nc, subjects, names, store, store.blobs, worker, watch, heart, telemetry, monitor
    )


def _problem_of(service: ServiceApp) -> Problem | None:
    return service.problem if isinstance(service, SaysProblem) else None


def _monitor(settings: Settings, service: ServiceApp, nc: Client) -> LogMonitor:
    subjects, names = settings.subjects, Names.of(settings.subjects)
    return LogMonitor(
        nc,
        subjects,
        names.log,
        file=FileMarks(settings.data_dir / "marks.json", settings.prefix),
        bucket=BucketMarks(nc, names.marks, service.name),
        more=(service.marks,) if isinstance(service, KeepsMarks) else (),
        differences=partial(log_differences, subjects),
        service=service.name,
        sync_interval=settings.sync_interval,
    )


async def _serve(service: ServiceApp, settings: Settings) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    heartbeat = partial(ProcessHeartbeat, ends=settings.when_silent == "end")
    starting = loop.create_task(open_context(settings, service, heartbeat=heartbeat))
    stopping = loop.create_task(stop.wait())
    await asyncio.wait({starting, stopping}, return_when=asyncio.FIRST_COMPLETED)
    if not starting.done():
        _log.info("draining")
        starting.cancel()
        await asyncio.gather(starting, return_exceptions=True)
        return
    running = starting.result()
    leave_out_modules()
    print(
        f"ready {service.name} {running.context.worker} {running.context.heart.url or '-'}",
        flush=True,
    )
    outlived = loop.create_task(_outlived(running.context.monitor))
    await asyncio.wait({stopping, outlived}, return_when=asyncio.FIRST_COMPLETED)
    _log.info("draining")
    await running.stop()
    if outlived.done():
        raise damage_error(outlived.result())
    outlived.cancel()


async def _outlived(monitor: LogMonitor) -> Damaged:
    """Wait until the log has been restored under this service: one that slept meanwhile holds a share of the work.

    What it has in memory is of before, so it may not go on, and nobody takes its share as long as it beats.
    """
    while True:
        if monitor.damage is not None and monitor.damage.code == _RESTORED:
            return monitor.damage
        await asyncio.sleep(_TICK)


def serve(service: ServiceApp, settings: Settings) -> int:
    """Run a service until it is told to stop; the exit code."""
    logs.set_up(service.name, level=settings.log_level, form=settings.log_format)
    try:
        asyncio.run(_serve(service, settings))
    except InvalidInput as error:
        print(error, file=sys.stderr)
        return 2
    except PartsongError as error:
        print(error, file=sys.stderr)
        return _EX_CONFIG if error.problem.code in _UNFIT else 1
    except Exception:
        _log.exception("service failed", extra={"pid": os.getpid()})
        return 1
    return 0
