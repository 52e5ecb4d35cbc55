"""A whole platform on one machine: the embedded NATS, then every service as a process of its own.

A service that dies is started again, after a wait that grows while it keeps dying; one that lives and does not answer is
replaced. Nothing outlives this process: children are told by the kernel when it dies, even by kill -9.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from partsong.cli.child import Child
from partsong.cli.environments import environment_of
from partsong.cli.reloading import SourceWatch
from partsong.cli.repairs import carried
from partsong.cli.restarts import Restarts
from partsong.cli.supervision import SILENCE, START, Supervisor
from partsong.contracts.counts import number_of
from partsong.contracts.errors import Conflict, PartsongError, Unavailable
from partsong.contracts.services import SERVICES, TOOL_RUNNER
from partsong.contracts.wire.subjects import Subjects
from partsong.runtime import clock
from partsong.runtime.nats.directory_lock import Claim, claim_directory
from partsong.runtime.nats.server import FAST_SYNC, LEAST_FREE, EmbeddedNats, start_embedded
from partsong.runtime.progress import Patience, born, stopped, used
from partsong.runtime.visible import has_password, without_password

__all__ = ["Platform"]


_LOOK, _SAY = 0.5, 5.0
"""Seconds between two looks at services that start, and between two words about them."""
_POLL = 0.2
_NOTE = "up.json"
_FULL, _ROOM = LEAST_FREE, 16 * 1024**2
"""Bytes free on the data directory's disk below which it counts as full, and above which there is room again."""
_MUTE = 10.0
"""Seconds in which the server has neither answered nor done anything, after which it is started again."""
_LOOK_AT_WRITES, _LONGEST_PAUSE = 1.0, 30.0
"""Seconds between two looks at whether the server could write: as a rule, and at most while it cannot."""


class Platform:
    """Starts, watches and stops everything, or some `roles` of it. `say` is told each event in one line."""

    def __init__(
        self,
        data: Path,
        *,
        env: Mapping[str, str],
        nats_url: str | None = None,
        fast: bool = False,
        roles: Sequence[str] = SERVICES,
        say: Callable[[str, str], None] = lambda _who, _what: None,
        words: Sequence[str] = (),
        silence: float = SILENCE,
        watched: SourceWatch | None = None,
    ) -> None:
        """`words` are the options by which it was started that advice about its log repeats.

        `silence`: seconds without a heartbeat after which a service is replaced. `watched`: files that a tool-runner has
        loaded; when they change, it is started again with them.
        """
        self._data, self._env, self._given = data, dict(env), nats_url
        self._fast, self._roles, self._say = fast, tuple(roles), say
        self._words, self._silence, self._watched = tuple(words), silence, watched
        self._claim: Claim | None = None
        self._nats: EmbeddedNats | None = None
        self._children: list[Child] = []
        self._keepers: list[asyncio.Task[None]] = []
        self._noted: set[Path] = set()
        self._supervisor: Supervisor | None = None
        self._restarts, self._nats_began = Restarts(), 0.0
        self._answered = 0.0
        """When the server was last known to answer, and since then:"""
        self._patience: Patience | None = None

    @property
    def data(self) -> Path:
        """Where everything is kept."""
        return self._data

    @property
    def nats_url(self) -> str:
        """Where NATS listens."""
        return self._nats.url if self._nats is not None else self._given or ""

    @property
    def http_url(self) -> str:
        """Where the approval service listens."""
        return next((child.url for child in self._children if child.url), "")

    async def loaded(self) -> list[str]:
        """What the modules bring that the tool-runner has loaded, a line each; nothing if it was told to load none."""
        if not self._env.get("PARTSONG_LOAD"):
            return []
        from partsong.cli.loaded import loaded

        return await loaded(self.nats_url, self._env.get("PARTSONG_PREFIX", ""), self._data)

    @property
    def pids(self) -> dict[str, int]:
        """Process ids of what runs now."""
        found = {child.role: child.pid for child in self._children if child.pid is not None}
        return {**found, **({"nats": self._nats.pid} if self._nats is not None else {})}

    async def start(self) -> None:
        """Start everything; returns once all services are ready. Whatever becomes of it, call `stop` afterwards.

        Raises:
            Conflict: `up.already_running`, a platform already runs on the data directory.
            Unavailable: NATS or a service did not become ready.
        """
        self._data.mkdir(mode=0o700, parents=True, exist_ok=True)  # logs, states, the log itself
        self._claim = await self._take()
        if self._given is None:
            await self._start_nats()
        self._claim.tell(pid=os.getpid(), url=without_password(self.nats_url))
        self._children = [self._child(role) for role in self._roles]
        loop = asyncio.get_running_loop()
        self._keepers += [loop.create_task(c.keep(), name=c.role) for c in self._children]
        await self._ready_in_time()
        subjects = Subjects(self._env.get("PARTSONG_PREFIX") or "partsong")
        self._supervisor = watch = Supervisor(
            self._children, subjects, silence=self._silence, changed=self._changed
        )
        self._keepers.append(loop.create_task(watch.keep(self.nats_url), name="supervisor"))
        self._changed()
        if self._watched is not None:
            self._keepers.append(loop.create_task(self._reload(self._watched), name="reload"))

    async def _ready_in_time(self) -> None:
        """Wait until all services are ready, as long as any of them gets on with its work; say what is waited for."""
        patience, due = Patience(START, self._working), clock.monotonic() + _SAY
        waiting = asyncio.get_running_loop().create_task(self._all_ready())
        try:
            while not (await asyncio.wait({waiting}, timeout=_LOOK))[0]:
                missing = [child for child in self._children if not child.ready.is_set()]
                if patience.over:
                    raise Unavailable(
                        "up.not_ready",
                        f"not ready, and nothing was done for {START:g} s: "
                        f"{', '.join(child.role for child in missing)}",
                        where=str(self._data / "logs"),
                        fix="the log files there say why",
                    )
                if clock.monotonic() >= due:
                    due = clock.monotonic() + _SAY
                    self._say("up", _waiting_for(missing, patience.idle))
        finally:
            waiting.cancel()
        waiting.result()

    async def _reload(self, watched: SourceWatch) -> None:
        """Start the tool-runner again whenever the code has changed that it has loaded."""
        runner = next((one for one in self._children if one.role == TOOL_RUNNER), None)
        if runner is None:
            return
        self._say("up", f"watching {number_of(len(watched.files), 'file')} of the loaded modules")
        async for changed in watched.changes():
            names = ", ".join(str(path) for path in changed[:3])
            await runner.reload(f"{names} changed" if len(changed) <= 3 else f"{names}, … changed")

    def _working(self) -> list[int]:
        """The processes whose work is waited for; the server's too, for it is what they read a long log from."""
        waited = [child.pid for child in self._children if child.pid and not child.ready.is_set()]
        return [*waited, self._nats.pid] if waited and self._nats is not None else waited

    async def stop(self) -> None:
        """Drain all services, then stop NATS."""
        await asyncio.gather(*(child.end() for child in self._children))
        for keeper in self._keepers:
            keeper.cancel()
        await asyncio.gather(*self._keepers, return_exceptions=True)
        if self._nats is not None:
            await self._nats.stop()
        for file in self._noted:
            file.unlink(missing_ok=True)
        if self._claim is not None:
            self._claim.release()
            self._claim = None

    def kill(self) -> None:
        """End all services at once, without draining; `stop` is still to be called."""
        for child in self._children:
            child.kill()

    def note(self, file: Path) -> None:
        """Write down where everything is, for programs that wait for it; `stop` removes the file.

        A password of the server's URL is not written down, only that there is one.
        """
        content = {
            "nats_url": without_password(self.nats_url),
            "password": has_password(self.nats_url),
            "http_url": self.http_url,
            "pid": os.getpid(),
            "born": born(os.getpid()),
            "ready": self._supervisor is not None,
            "services": self.pids,
            "troubles": {child.role: child.trouble for child in self._children if child.trouble},
            "sync_interval": self._sync_interval,
        }
        part = file.with_name(f"{file.name}.part")
        part.unlink(missing_ok=True)
        with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as written:
            written.write(json.dumps(content))
        part.replace(file)
        self._noted.add(file)

    async def _take(self) -> Claim:
        try:
            return await claim_directory(self._data)
        except Conflict as error:
            raise Conflict(
                "up.already_running",
                error.problem.message,
                where=str(self._data),
                fix="use the one that runs, stop it, or give another --data directory",
            ) from error

    async def _start_nats(self) -> None:
        nats = start_embedded(self._data / "nats", fast=self._fast)
        await nats.start()
        self._nats, self._nats_began = nats, clock.monotonic()
        loss = " (fast: a power cut may lose the last 100 ms)" if self._fast else ""
        self._say("nats", f"ready, pid {nats.pid}, {nats.url}{loss}")
        keeper = asyncio.get_running_loop().create_task(self._keep_nats(nats), name="nats")
        self._keepers.append(keeper)

    async def _keep_nats(self, nats: EmbeddedNats) -> None:
        """Start the server again if it dies or falls silent, and when there is room after a write has failed.

        It keeps its port, and the services find it by themselves. One that could not write stores nothing until then. On a full disk it is not started: it could not even
        say where it listens.
        """
        full, due, pause = False, 0.0, _LOOK_AT_WRITES
        while True:
            await asyncio.sleep(_POLL)
            free, now = shutil.disk_usage(self._data).free, clock.monotonic()
            if full:
                if full := free <= _ROOM:
                    continue
                await self._start_again(nats, "there is room again")
            elif free < _FULL:
                full = True
                told = (
                    f"{free} bytes are free, and a server that could not write stores nothing more"
                )
                self._say("nats", f"the disk of {self._data} is full: {told}; make room")
            elif not nats.running:
                await self._start_again(nats, f"ended; see {nats.log_file}")
            elif mute := self._mute(nats):
                await self._start_again(nats, mute)
            elif now >= due:
                # Whoever fills a disk may empty it before anybody looks; only the server knows that a write failed.
                failed = await nats.write_error()
                pause = min(_LONGEST_PAUSE, pause * 2) if failed else _LOOK_AT_WRITES
                due = now + pause
                if failed:
                    await self._start_again(nats, f"stores nothing more: {failed}")

    def _mute(self, nats: EmbeddedNats) -> str:
        """Why the server is to be started again although its process lives; empty if it answers, or does something."""
        if self._supervisor is None:
            return ""
        if self._supervisor.answered != self._answered or self._patience is None:
            self._answered = self._supervisor.answered
            self._patience = Patience(_MUTE, lambda: (nats.pid,))
        if not self._patience.over:
            return ""
        self._patience = None
        how = "its process was stopped by a signal" if stopped(nats.pid) else "it did nothing"
        return f"no answer for {clock.monotonic() - self._answered:.0f} s, {how}"

    async def _start_again(self, nats: EmbeddedNats, why: str) -> None:
        self._say("nats", f"{why}; starting again")
        wait = self._restarts.died(clock.monotonic() - self._nats_began, why)
        if self._restarts.trouble:
            self._say("nats", self._restarts.trouble)
        await asyncio.sleep(wait)
        try:
            await nats.restart()
        except PartsongError as error:
            self._say("nats", f"does not start: {error.problem.message}")
        else:
            self._say("nats", f"ready, pid {nats.pid}")
            self._changed()
        self._nats_began = clock.monotonic()

    def _child(self, role: str) -> Child:
        env = {
            **environment_of(role, self._env),
            "PARTSONG_NATS_URL": self.nats_url,
            "PARTSONG_DATA": str(self._data),
            "PARTSONG_WORKER": role,
        }
        if self._sync_interval:
            env["PARTSONG_SYNC_INTERVAL"] = self._sync_interval
        command = (sys.executable, "-P", "-m", "partsong.cli.main", "worker", "start", role)
        log = self._data / "logs" / f"{role}.log"
        words = (*self._words, "--offline") if self._given is None else self._words
        advice = partial(carried, given=words)  # the embedded server ends with this
        return Child(
            role,
            command,
            env,
            log,
            say=self._say,
            changed=self._changed,
            advice=advice,
            umask=-1 if role == TOOL_RUNNER else 0o077,  # what a function writes is its user's
        )

    @property
    def _sync_interval(self) -> str:
        """After how many seconds the server syncs, as far as that is known; empty if nobody said so."""
        if self._nats is not None and self._fast:
            return str(FAST_SYNC)
        return self._env.get("PARTSONG_SYNC_INTERVAL", "")

    def _changed(self) -> None:
        """Note where everything is; that the disk is full must not end whoever looks after a service."""
        for file in {self._data / _NOTE, *self._noted}:
            try:
                self.note(file)
            except OSError as error:
                self._say("up", f"{file.name} is not up to date: {error}")

    async def _all_ready(self) -> None:
        """Wait for every service; the first that cannot start at all ends the wait."""
        waiting = asyncio.gather(*(child.ready.wait() for child in self._children))
        try:
            pending: set[asyncio.Future[Any]] = {waiting, *self._keepers}
            await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
            for keeper in self._keepers:
                if keeper.done():
                    keeper.result()
            await waiting
        finally:
            waiting.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await waiting


def _waiting_for(missing: Sequence[Child], idle: float) -> str:
    """What is waited for, what has been done so far, and when the wait would end."""
    what = ", ".join(
        f"{child.role} (process {child.pid}, {used(child.pid):.1f} s of a processor so far)"
        if child.pid
        else child.role
        for child in missing
    )
    still = f"; nothing was done for {idle:.0f} of at most {START:g} s" if idle > _SAY else ""
    return f"waiting for {what}{still}"
