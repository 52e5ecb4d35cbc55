"""A whole platform on one machine: the embedded NATS, then every service as a process of its own.

A service that dies is started again, after a wait that grows while it keeps dying. Nothing outlives this process:
children are told by the kernel when it dies, even by kill -9.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import json
import os
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from partsong.contracts.errors import Unavailable
from partsong.runtime import clock
from partsong.runtime.nats_server import EmbeddedNats, start_embedded

__all__ = ["ROLES", "Platform"]

ROLES = ("graph-engine", "agent-gateway", "tool-runner", "approval")
"""The services, in the order in which they are started."""

_READY = 30.0
_LONGEST = 10.0
_HEALTHY = 10.0
_POLL = 0.2
_PR_SET_PDEATHSIG = 1


def _die_with_parent() -> None:
    """In the child: SIGTERM when the parent is gone."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() == 1:
        os._exit(1)


@dataclass(slots=True, eq=False)
class _Child:
    role: str
    process: asyncio.subprocess.Process | None = None
    ready: asyncio.Event = field(default_factory=asyncio.Event)
    url: str = ""
    restarts: int = 0
    keeper: asyncio.Task[None] | None = None


class Platform:
    """Starts, watches and stops everything, or some `roles` of it. `say` is told each event in one line."""

    def __init__(
        self,
        data: Path,
        *,
        env: Mapping[str, str],
        nats_url: str | None = None,
        fast: bool = False,
        roles: Sequence[str] = ROLES,
        say: Callable[[str, str], None] = lambda _who, _what: None,
    ) -> None:
        self._data, self._env, self._given, self._fast, self._say = (
            data,
            dict(env),
            nats_url,
            fast,
            say,
        )
        self._nats: EmbeddedNats | None = None
        self._nats_keeper: asyncio.Task[None] | None = None
        self._children = [_Child(role) for role in roles]
        self._stopping = False

    @property
    def nats_url(self) -> str:
        """Where NATS listens."""
        return self._nats.url if self._nats is not None else self._given or ""

    @property
    def http_url(self) -> str:
        """Where the approval service listens."""
        return next((child.url for child in self._children if child.url), "")

    @property
    def pids(self) -> dict[str, int]:
        """Process ids of what runs now."""
        found = {c.role: c.process.pid for c in self._children if c.process is not None}
        return {**found, **({"nats": self._nats.pid} if self._nats is not None else {})}

    async def start(self) -> None:
        """Start everything; returns once all services are ready.

        Raises:
            Conflict: a platform already runs on the data directory.
            Unavailable: NATS or a service did not become ready.
        """
        self._data.mkdir(parents=True, exist_ok=True)
        if self._given is None:
            self._nats = start_embedded(self._data / "nats", fast=self._fast)
            await self._nats.start()
            self._say(
                "nats",
                f"ready at {self._nats.url}"
                + (" (fast: the last 100 ms may be lost in a power cut)" if self._fast else ""),
            )
            self._nats_keeper = asyncio.get_running_loop().create_task(self._keep_nats(self._nats))
        for child in self._children:
            child.keeper = asyncio.get_running_loop().create_task(
                self._keep(child), name=child.role
            )
        try:
            async with asyncio.timeout(_READY):
                for child in self._children:
                    await child.ready.wait()
        except TimeoutError:
            missing = [child.role for child in self._children if not child.ready.is_set()]
            raise Unavailable(
                "up.not_ready",
                f"not ready within {_READY:g} s: {', '.join(missing)}",
                fix=f"see {self._data / 'logs'}",
            ) from None

    async def stop(self) -> None:
        """Drain all services, then stop NATS."""
        self._stopping = True
        if self._nats_keeper is not None:
            self._nats_keeper.cancel()
            await asyncio.gather(self._nats_keeper, return_exceptions=True)
        await asyncio.gather(*(self._end(child) for child in self._children))
        if self._nats is not None:
            await self._nats.stop()

    def note(self, file: Path) -> None:
        """Write down where everything is, for programs that wait for it."""
        content = {
            "nats_url": self.nats_url,
            "http_url": self.http_url,
            "pid": os.getpid(),
            "services": self.pids,
        }
        part = file.with_suffix(".part")
        part.write_text(json.dumps(content), encoding="utf-8")
        part.replace(file)

    async def _keep(self, child: _Child) -> None:
        """Run one service, again and again, until the platform stops."""
        wait = 0.1
        while not self._stopping:
            began = clock.monotonic()
            code = await self._run(child)
            if self._stopping:
                return
            child.restarts += 1
            wait = 0.1 if clock.monotonic() - began > _HEALTHY else min(_LONGEST, wait * 2)
            self._say(child.role, f"ended with {code}, starting again; see {self._log(child)}")
            await asyncio.sleep(wait)

    async def _keep_nats(self, nats: EmbeddedNats) -> None:
        """Start the server again if it dies; it keeps its port, and the services find it by themselves."""
        while True:
            await asyncio.sleep(_POLL)
            if not nats.running:
                self._say("nats", f"ended, starting again; see {nats.log_file}")
                await nats.restart()
                self._say("nats", f"ready, pid {nats.pid}")
                self.note(self._data / "up.json")

    async def _run(self, child: _Child) -> int:
        """One life of a service; its exit code."""
        log = self._log(child)
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("ab") as sink:
            child.process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                "partsong.cli.main",
                "worker",
                "start",
                child.role,
                env={
                    **self._env,
                    "PARTSONG_NATS_URL": self.nats_url,
                    "PARTSONG_DATA": str(self._data),
                },
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=sink,
                preexec_fn=_die_with_parent if sys.platform == "linux" else None,
            )
            assert child.process.stdout is not None  # noqa: S101
            async for line in child.process.stdout:
                words = line.decode(errors="replace").split()
                if words[:1] == ["ready"]:
                    child.url = words[3] if len(words) > 3 and words[3] != "-" else child.url
                    child.ready.set()
                    self._say(
                        child.role,
                        f"ready, pid {child.process.pid}" + (f", {child.url}" if child.url else ""),
                    )
                    self.note(self._data / "up.json")
            return await child.process.wait()

    def _log(self, child: _Child) -> Path:
        return self._data / "logs" / f"{child.role}.log"

    async def _end(self, child: _Child) -> None:
        if child.process is not None and child.process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                child.process.terminate()
            try:
                async with asyncio.timeout(15):
                    await child.process.wait()
            except TimeoutError:
                child.process.kill()
                await child.process.wait()
        if child.keeper is not None:
            child.keeper.cancel()
            await asyncio.gather(child.keeper, return_exceptions=True)
        self._say(child.role, "stopped")
