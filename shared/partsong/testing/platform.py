"""`a_platform`: all services over a real NATS, in the test's own process, in a corner of the server of their own."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from pydantic import JsonValue

import partsong.agent_gateway.app
import partsong.graph_engine.app
from partsong.client import Client
from partsong.contracts import events as e
from partsong.contracts.events.envelope import encode_report
from partsong.execution.functions import Functions
from partsong.execution.loaded_tools import registry_of
from partsong.execution.modules import Modules
from partsong.log.port import Record, WrongSequence
from partsong.runtime import clock
from partsong.runtime.serve import ServiceApp, open_context
from partsong.runtime.settings import Settings
from partsong.testing.nats import a_bus, fresh_subjects
from partsong.tool_runner.app import ToolRunner
from partsong.tools.tool import AnyTool, as_tool

__all__ = ["Platform", "a_platform"]


@dataclass(frozen=True, slots=True)
class Platform:
    """A running platform."""

    client: Client
    settings: Settings
    """What its services were told: address of the server, prefix of the subjects."""
    http_url: str = ""
    """Where the approval service answers, if it runs."""

    async def records(self, run_id: str) -> list[Record]:
        """What the log holds of a run, for replays."""
        subject = self.settings.subjects.run(run_id)
        return [record async for record in self.client.log.read(subject)]

    async def decide(
        self,
        run_id: str,
        decision: Literal["approve", "reject"] = "approve",
        *,
        by: str = "test",
        reason: str | None = None,
        edit: JsonValue = None,
        within: float = 30.0,
    ) -> None:
        """Wait until a run asks for an approval that nobody has decided, and decide it, as the approval service would.

        Raises:
            AssertionError: the run ended without asking.
            TimeoutError: it has not asked within so many seconds.
        """
        async with (
            asyncio.timeout(within),
            aclosing(self.client.events(run_id, follow=True)) as placed,
        ):
            async for found in placed:
                if isinstance(found.event, e.ApprovalRequested):
                    cause, call_id = found.event.id, found.event.call_id
                    event = e.ApprovalDecided(
                        id=f"{run_id}.{call_id}.decided.{clock.new_id()}",
                        time=clock.now_text(),
                        cause=cause,
                        call_id=call_id,
                        decision=decision,
                        by=by,
                        reason=reason,
                        edited=edit,
                    )
                    if await self._first(run_id, event):
                        return
        raise AssertionError(f"run {run_id} ended without an approval to decide")

    async def _first(self, run_id: str, event: e.ApprovalDecided) -> bool:
        """Whether the decision is the first one: the log's guard lets no other in."""
        subject = self.settings.subjects.call(run_id, event.call_id)
        body = encode_report(run_id, event)
        try:
            await self.client.log.append(subject, body, id=event.id, expect=0)
        except WrongSequence:
            return False
        return True


@asynccontextmanager
async def a_platform(
    nats_url: str,
    *,
    loads: Iterable[str] = (),
    tools: Iterable[AnyTool | Callable[..., object]] = (),
    approval: bool = False,
    settings: Settings | None = None,
) -> AsyncIterator[Platform]:
    """Engine, gateway and tool-runner under a fresh prefix, and a client; all gone afterwards, the streams too.

    `loads` are modules with functions that graphs call, `tools` those of the tool-runner beside the built-in ones.
    `approval` starts the approval service as well, which takes a second or two; without it `Platform.decide` decides.
    The gateway takes keys and addresses from the environment as it is now.
    """
    async with AsyncExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="partsong-test-"))
        bus = await stack.enter_async_context(a_bus(nats_url, fresh_subjects()))
        settings = replace(
            settings or Settings(),
            nats_url=nats_url,
            prefix=bus.subjects.prefix,
            loads=tuple(loads),
            data_dir=Path(folder),
            http_port=0,
            drain=5.0,
        )
        url = ""
        for service in _services(settings, tools, approval=approval):
            running = await open_context(settings, service)
            stack.push_async_callback(running.stop)
            url = running.context.heart.url or url
        client = Client(nats_url, prefix=settings.prefix)
        yield Platform(await stack.enter_async_context(client), settings, url)


def _services(
    settings: Settings, tools: Iterable[AnyTool | Callable[..., object]], *, approval: bool
) -> Iterator[ServiceApp]:
    modules = Modules(settings.loads)
    yield partsong.graph_engine.app.service(settings)
    yield ToolRunner(Functions(modules), registry_of(modules, map(as_tool, tools)))
    yield partsong.agent_gateway.app.service(settings)
    if approval:
        from partsong.approval import app  # loads a web framework and a database

        yield app.service(settings)
