"""Wiring of the tool-runner."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from faststream.nats import NatsBroker

from partsong.bus.bucket import NatsBucket
from partsong.bus.faststream import command_broker, on_query
from partsong.bus.holders import Holders
from partsong.bus.jobs import Jobs
from partsong.bus.vault import BucketVault
from partsong.contracts.services import TOOL_RUNNER
from partsong.execution.executor import Executor
from partsong.execution.functions import Functions
from partsong.execution.hooks import Hooks
from partsong.execution.loaded_tools import registry_of
from partsong.execution.modules import Modules
from partsong.execution.user_loops import UserLoops
from partsong.plugins.shelf import Shelf
from partsong.runtime.serve import Context
from partsong.runtime.settings import Settings
from partsong.tool_runner.offers import Offers
from partsong.tool_runner.worker import CallWorker
from partsong.tools.mcp import McpServers, Pins, Place, place_of
from partsong.tools.mcp.pins import FILE
from partsong.tools.registry import ToolRegistry

__all__ = ["ToolRunner", "service"]


class ToolRunner:
    """Calls functions and tools."""

    name = TOOL_RUNNER

    def __init__(
        self,
        functions: Functions,
        tools: ToolRegistry,
        mcp: Sequence[Place] = (),
        plugins: Shelf | None = None,
    ) -> None:
        self._functions, self._tools, self._places = functions, tools, tuple(mcp)
        self._plugins = plugins or Shelf({})
        self._hooks: Hooks | None = None
        self._mcp: McpServers | None = None
        self._jobs: Jobs | None = None
        self._broker: NatsBroker | None = None
        self._executor: Executor | None = None
        self._loops: UserLoops | None = None
        self._drain = 10.0

    @property
    def in_flight(self) -> int:
        """Calls being made."""
        return self._jobs.in_flight if self._jobs else 0

    async def start(self, context: Context) -> None:
        """Begin to take hints, and to answer which tools there are."""
        pins = Pins(context.settings.data_dir / FILE)
        self._mcp = McpServers(self._places, pins=pins, register=self._tools.register)
        await self._mcp.__aenter__()
        slots = context.settings.concurrency
        self._loops = UserLoops(context.heart.held)
        self._executor = Executor(
            self._functions,
            self._tools,
            slots=slots,
            worker=context.worker,
            loops=self._loops,
            vault=BucketVault(NatsBucket(context.nc, context.names.redacted)),
        )
        self._hooks = Hooks(self._plugins, worker=context.worker, loops=self._loops)
        worker = CallWorker(
            context.nc,
            context.subjects,
            context.log,
            self._executor,
            self._hooks,
            context.worker,
            context.telemetry,
            context.restores,
        )
        self._drain = context.settings.drain
        self._broker = command_broker(context.nc, context.subjects, self.name)
        offers = Offers(self._functions, self._tools, context.worker)
        offers.say()
        asked = self._broker, context.subjects, self.name
        on_query(*asked, "tools", offers.tools, everybody=True)
        on_query(*asked, "offers", offers.offer, everybody=True)
        await self._broker.start()
        self._jobs = Jobs(
            context.nc,
            context.subjects,
            self.name,
            worker.work,
            context.log,
            slots=slots,
            held=context.heart.held,
            worker=context.worker,
            holders=Holders(
                context.nc,
                context.subjects,
                context.watch,
                context.log,
                self.name,
                context.worker,
            ),
        )
        await self._jobs.start()

    async def drain(self) -> None:
        """Finish running calls."""
        if self._jobs is not None:
            await self._jobs.drain(self._drain * 0.8)
        if self._broker is not None:
            await self._broker.stop()
        if self._executor is not None:
            self._executor.close()
        if self._hooks is not None:
            self._hooks.close()
        if self._loops is not None:
            await self._loops.close()
        if self._mcp is not None:
            await self._mcp.__aexit__(None, None, None)


def service(settings: Settings) -> ToolRunner:
    """A tool-runner with the modules and tools that the settings name.

    Raises:
        InvalidInput: a module cannot be imported, two tools have one name, or the place of an MCP server cannot be read.
        NotFound: no installed package has a tool of that name.
    """
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.insert(0, here)
    modules = Modules(settings.loads)
    return ToolRunner(
        Functions(modules),
        registry_of(modules, allow=settings.tools),
        [place_of(text) for text in settings.mcp],
        Shelf.load(settings.plugins),
    )
