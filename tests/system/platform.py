"""All services over a real NATS, in the test's own process: quick to start, and every function call can be counted."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

import partsong.agent_gateway.app
import partsong.graph_engine.app
import partsong.tool_runner.app
from partsong.client import Client
from partsong.contracts import events as e
from partsong.contracts.events.envelope import encode_report
from partsong.runtime import clock
from partsong.runtime.serve import Running, open_context
from partsong.runtime.settings import Settings
from partsong.testing.nats import Bus

__all__ = ["Platform", "a_platform", "cli", "decide"]


@dataclass(frozen=True)
class Platform:
    """What a test needs of it."""

    client: Client
    settings: Settings
    services: dict[str, Running]


@asynccontextmanager
async def a_platform(bus: Bus, settings: Settings | None = None) -> AsyncIterator[Platform]:
    """Engine, gateway and tool-runner on a fresh corner of a NATS server."""
    settings = replace(
        settings or Settings(),
        nats_url=bus.url,
        prefix=bus.subjects.prefix,
        loads=("tests.system.nodes", "tests.system.steps", "tests.system.worlds"),
        drain=5.0,
    )
    services: dict[str, Running] = {}
    async with AsyncExitStack() as stack:
        if settings.data_dir == Settings().data_dir:
            folder = stack.enter_context(TemporaryDirectory())
            settings = replace(settings, data_dir=Path(folder))
        for app in (
            partsong.graph_engine.app,
            partsong.tool_runner.app,
            partsong.agent_gateway.app,
        ):
            running = await open_context(settings, app.service(settings))
            services[running.service.name] = running
            stack.push_async_callback(_stop, services, running.service.name)
        client = await stack.enter_async_context(Client(bus.url, prefix=bus.subjects.prefix))
        yield Platform(client, settings, services)


async def cli(bus: Bus, settings: Settings, *words: str) -> None:
    """The command line, as an operator uses it."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "partsong.cli.main", *words),
        *("--nats", bus.url, "--prefix", bus.subjects.prefix, "--data", str(settings.data_dir)),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    said, _ = await process.communicate()
    assert process.returncode == 0, said.decode()


async def _stop(services: dict[str, Running], name: str) -> None:
    """Stop a service, or what a test has put in its place."""
    await services[name].stop()


async def decide(bus: Bus, platform: Platform, run_id: str, *, approve: bool) -> None:
    """Answer the run's first approval, as the approval service does: under the guard of the call's subject."""
    async for placed in platform.client.events(run_id, follow=True):
        if isinstance(placed.event, e.ApprovalRequested):
            call_id = placed.event.call_id
            decided = e.ApprovalDecided(
                id=f"{run_id}.{call_id}.decided",
                time=clock.now_text(),
                cause=placed.event.id,
                call_id=call_id,
                decision="approve" if approve else "reject",
                by="test",
            )
            await platform.client.log.append(
                bus.subjects.call(run_id, call_id),
                encode_report(run_id, decided),
                id=decided.id,
                expect=0,
            )
            return
