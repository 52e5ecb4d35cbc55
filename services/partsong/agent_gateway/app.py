"""Wiring of the agent gateway."""

from __future__ import annotations

import os

from partsong.agent_gateway.toolbox import Toolbox
from partsong.agent_gateway.worker import TurnWorker
from partsong.bus.bucket import NatsBucket
from partsong.bus.jobs import Jobs
from partsong.bus.vault import BucketVault
from partsong.contracts.services import AGENT_GATEWAY
from partsong.models.turns import Turns
from partsong.plugins.shelf import Shelf
from partsong.runtime.serve import Context
from partsong.runtime.settings import Settings

__all__ = ["Gateway", "service"]


class Gateway:
    """Asks models for turns."""

    name = AGENT_GATEWAY

    def __init__(self, turns: Turns) -> None:
        self._turns = turns
        self._jobs: Jobs | None = None
        self._drain = 10.0

    @property
    def in_flight(self) -> int:
        """Turns being taken."""
        return self._jobs.in_flight if self._jobs else 0

    async def start(self, context: Context) -> None:
        """Begin to take hints."""
        toolbox = Toolbox(context.nc, context.subjects)
        worker = TurnWorker(
            context.nc,
            context.subjects,
            context.log,
            self._turns,
            toolbox,
            BucketVault(NatsBucket(context.nc, context.names.redacted)),
            context.worker,
            context.telemetry,
            Shelf.load(context.settings.plugins),
        )
        self._drain = context.settings.drain
        self._jobs = Jobs(
            context.nc,
            context.subjects,
            self.name,
            worker.work,
            context.log,
            slots=context.settings.concurrency,
            held=context.heart.held,
            worker=context.worker,
        )
        await self._jobs.start()

    async def drain(self) -> None:
        """Finish the turns being taken, close the providers' connections."""
        if self._jobs is not None:
            await self._jobs.drain(self._drain * 0.8)
        await self._turns.aclose()


def service(_settings: Settings) -> Gateway:
    """The gateway, with the keys and addresses of this process's environment."""
    return Gateway(Turns.from_env(os.environ))
