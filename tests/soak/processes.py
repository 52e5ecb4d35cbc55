"""The soak's processes: services of our own, each killed, stopped, ended and started again as the nemesis likes."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

from partsong.runtime.nats.server import EmbeddedNats, start_embedded
from tests.faults.installed import with_tool

__all__ = ["Ended", "Fleet", "Worker", "a_fleet_of"]

_READY = 120.0
"""Seconds for a service to become ready on a machine that is busy."""


class Ended(Exception):
    """A service has ended before it was ready."""


@dataclass(eq=False)
class Worker:
    """One service process under a name that stays."""

    role: str
    name: str
    env: dict[str, str]
    folder: Path
    process: subprocess.Popen[bytes] | None = None
    begun: int = 0
    url: str = ""
    paused: bool = False

    @property
    def log(self) -> Path:
        """What it has said since its first start."""
        return self.folder / f"{self.name}.log"

    @property
    def alive(self) -> bool:
        """Whether it runs, or stands still."""
        return self.process is not None and self.process.poll() is None

    @property
    def was_killed(self) -> bool:
        """Whether a signal has ended it, or it was told to end."""
        return self.process is not None and (self.process.returncode or 0) <= 0

    def start(self) -> None:
        """Start it; `ready` waits until it is."""
        self.begun = self.log.stat().st_size if self.log.exists() else 0
        command = [sys.executable, "-m", "partsong.cli.main", "worker", "start", self.role]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                command, env=self.env, stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )

    async def ready(self) -> None:
        """Return when it says that it is ready.

        Raises:
            Ended: it never will.
        """
        async with asyncio.timeout(_READY):
            while not (line := self._ready_line()):
                if not self.alive:
                    raise Ended(f"{self.name} has ended: {self.log.read_text('utf-8')[-2000:]}")
                await asyncio.sleep(0.05)
        self.url = line.split()[-1]

    def _ready_line(self) -> str:
        said = self.log.read_bytes()[self.begun :].decode(errors="replace")
        return next((line for line in said.splitlines() if line.startswith("ready ")), "")

    def send(self, number: signal.Signals) -> None:
        """Send it a signal; nothing if it has ended."""
        if self.alive and self.process is not None:
            self.process.send_signal(number)

    async def ended(self, within: float) -> bool:
        """Whether it ends in time."""
        try:
            async with asyncio.timeout(within):
                while self.alive:  # noqa: ASYNC110 — a process has no event
                    await asyncio.sleep(0.05)
        except TimeoutError:
            return False
        return True


@dataclass
class Fleet:
    """A NATS server and all services."""

    nats: EmbeddedNats
    workers: list[Worker] = field(default_factory=list)

    def of(self, role: str) -> list[Worker]:
        """The workers of one role."""
        return [worker for worker in self.workers if worker.role == role]

    @property
    def http_url(self) -> str:
        """Where the approval service listened last."""
        return next((worker.url for worker in self.of("approval")), "")

    async def start(self) -> None:
        """Start everything that does not run, and wait until it is ready."""
        missing = [worker for worker in self.workers if not worker.alive]
        for worker in missing:
            worker.start()
        for worker in missing:
            await worker.ready()

    async def stop(self) -> None:
        """End everything, whatever state it is in."""
        for worker in self.workers:
            worker.send(signal.SIGCONT)
            worker.send(signal.SIGTERM)
        for worker in self.workers:
            if not await worker.ended(30):
                worker.send(signal.SIGKILL)
        await self.nats.stop()


async def a_fleet_of(
    folder: Path, engines: int, workers: int, load: str = "tests.soak.work"
) -> Fleet:
    """A fleet that is ready: so many engines, so many gateways and tool-runners, and an approval service."""
    tool = with_tool(folder, "pay", "tests.soak.work:pay")
    nats = start_embedded(folder / "nats", fast=True)
    await nats.start()
    fleet = Fleet(nats)
    counts = {
        "graph-engine": engines,
        "agent-gateway": workers,
        "tool-runner": workers,
        "approval": 1,
    }
    for role, count in counts.items():
        for number in range(1, count + 1):
            name = f"{role}-{number}"
            env = {
                **tool,
                "PARTSONG_LOAD": load,
                "PARTSONG_NATS_URL": nats.url,
                "PARTSONG_WORKER": name,
                "PARTSONG_DATA": str(folder / name),
                "PARTSONG_HTTP_PORT": "0",
            }
            fleet.workers.append(Worker(role, name, env, folder))
    await fleet.start()
    return fleet
