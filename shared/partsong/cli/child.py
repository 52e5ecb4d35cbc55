"""One service as a child process that is kept alive: started, watched, started again, replaced, ended.

Why its output goes through here: the line that says `ready` comes on stdout, and so does whatever a user's function
prints. All of it ends up in the child's log file. The pipe is ours, not asyncio's: what a user's function has started
may hold it open after the service is gone, and must not keep it from being started again.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import functools
import os
import re
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import BinaryIO

from partsong.cli.output import EXIT
from partsong.cli.restarts import HEALTHY, Restarts
from partsong.contracts.errors import PartsongError, Unavailable
from partsong.runtime import clock

__all__ = ["Child", "last_words"]

_GRACE = 15.0
"""Seconds to drain; more than what a service gives itself."""
_LAST_CHANCE = 5.0
"""Seconds in which one that fell silent may still end by itself."""
_REST = 1.0
"""Seconds for what the pipe still holds when the process has ended."""
_MOST_LOG = 64 * 2**20
"""Bytes of a log; beyond them it is kept beside as the one before, and begins anew."""
_PART = 2**20
_LOOK = 1.0
"""Seconds between two looks at its size."""
_PR_SET_PDEATHSIG = 1
_LAST_WORDS = 2000
_LOGGED = re.compile(r"\d{4}-\d\d-\d\dT\S+ (?:debug|info|warning|error|critical) |\{\"time\": ")
"""A line of a service's log, in each of its forms."""
_FIX = re.compile(r"  fix:? +(.*)")
_REFUSALS = {EXIT["usage"], EXIT["not_found"], EXIT["damaged"]}
"""Exit codes of a service that was told something wrong, or stands on what is not fit."""


class Child:
    """A service of one role. `say` is told what becomes of it, and `changed` is called when it is ready (again)."""

    def __init__(
        self,
        role: str,
        command: Sequence[str],
        env: Mapping[str, str],
        log: Path,
        *,
        say: Callable[[str, str], None],
        changed: Callable[[], None],
        advice: Callable[[str], str] = str,
        umask: int = -1,
    ) -> None:
        """`advice` puts what a service says is to be done into the words of whoever started this.

        `umask` is that of what it writes; default: that of this process.
        """
        self.role, self.log = role, log
        self.ready = asyncio.Event()
        """Set when it was ready for the first time."""
        self.url = ""
        """Where it answers HTTP, if it does."""
        self.worker = ""
        """The id that its heartbeats carry; empty while it starts."""
        self.since = clock.monotonic()
        """When it was started, or became ready."""
        self._command, self._env = tuple(command), dict(env)
        self._say, self._changed, self._advice = say, changed, advice
        self._umask = umask
        self._process: asyncio.subprocess.Process | None = None
        self._restarts = Restarts()
        self._ending = False
        self._replaced = ""
        self._again = asyncio.Event()
        """Set when it is to be started (again) at once."""

    @property
    def trouble(self) -> str:
        """Why it does not run, or not for long; empty if it does."""
        lasts = self.worker and clock.monotonic() - self.since > HEALTHY
        return "" if lasts else self._restarts.trouble

    @property
    def running(self) -> bool:
        """Whether its process lives."""
        return self._process is not None and self._process.returncode is None

    @property
    def pid(self) -> int | None:
        """Its process id; None before the first start."""
        return self._process.pid if self._process else None

    async def keep(self) -> None:
        """Run it, again and again, until `end` is called.

        Raises:
            Unavailable: it will not start however often it is tried: `up.refused`: it was told something wrong;
                `up.unfit`: what it stands on, like a damaged log, does not mend by itself.
        """
        while not self._ending:
            began, said = clock.monotonic(), self.log.stat().st_size if self.log.exists() else 0
            self._replaced, self.since = "", began
            try:
                code = await self._live()
            finally:
                self.worker = ""
            if self._ending:
                return
            if code in _REFUSALS and not self.ready.is_set():
                raise self._refused(code, said)
            if self._again.is_set():
                self._again.clear()
                continue
            if code in _REFUSALS:
                self._say(self.role, self._refused(code, said).problem.message)
            wait = self._wait(code, clock.monotonic() - began)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(wait):
                    await self._again.wait()
            self._again.clear()

    async def reload(self, why: str) -> None:
        """Start it again at once, with what it finds now; what it works on is finished before."""
        if self._ending:
            return
        self._say(self.role, f"{why}; starting again")
        self._again.set()
        if self.running:
            await self._end_within(_GRACE)

    async def replace(self, why: str) -> None:
        """End a life that does not answer, and say why; `keep` starts the next one."""
        if self._ending or not self.running:
            return
        self._replaced = why
        self._say(self.role, f"{why}; replacing process {self.pid}, see {self.log}")
        await self._end_within(_LAST_CHANCE)

    def _wait(self, code: int, lived: float) -> float:
        """How long to wait before the next start, having said what there is to say."""
        known = self._restarts.trouble and not self._replaced
        if self._replaced:
            wait = self._restarts.replaced(clock.monotonic(), self._replaced)
        else:
            wait = self._restarts.died(lived, _told(code))
            self._say(self.role, f"ended with {_told(code)}, starting again; see {self.log}")
        if self.trouble and not known:
            self._say(self.role, self.trouble)
            self._changed()
        return wait

    async def end(self) -> None:
        """Let it drain, and make sure that it is gone."""
        self._ending = True
        if not self.running:
            return
        await self._end_within(_GRACE)
        self._say(self.role, "stopped")

    async def _end_within(self, seconds: float) -> None:
        """Tell it to end, and have it end if it does not in time."""
        process = self._process
        assert process is not None  # noqa: S101
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
        try:
            async with asyncio.timeout(seconds):
                await process.wait()
        except TimeoutError:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()

    def kill(self) -> None:
        """End it at once."""
        self._ending = True
        if self._process is not None and self.running:
            with contextlib.suppress(ProcessLookupError):
                self._process.kill()

    async def _live(self) -> int:
        """One life; its exit code."""
        loop = asyncio.get_running_loop()
        ours, its = os.pipe()
        with self._sink() as sink, os.fdopen(ours, "rb", buffering=0) as pipe:
            stdout = asyncio.StreamReader()
            try:
                transport, _ = await loop.connect_read_pipe(
                    lambda: asyncio.StreamReaderProtocol(stdout), pipe
                )
                self._process = await self._spawned(its, sink)
            finally:
                os.close(its)
            listening = loop.create_task(self._listen(stdout, sink))
            bounding = loop.create_task(self._bound_log())
            try:
                code = await self._process.wait()
                await asyncio.wait({listening}, timeout=_REST)
            finally:
                for task in (listening, bounding):
                    task.cancel()
                await asyncio.gather(listening, bounding, return_exceptions=True)
                transport.close()
            return code

    async def _spawned(self, stdout: int, stderr: BinaryIO) -> asyncio.subprocess.Process:
        return await asyncio.create_subprocess_exec(
            *self._command,
            env=self._env,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=stdout,
            stderr=stderr,
            start_new_session=True,  # Ctrl-C is for the parent, which ends its children in order
            preexec_fn=_dying_with_parent(),
            umask=self._umask,
        )

    def _sink(self) -> BinaryIO:
        """Where its output goes; nowhere if its log cannot be opened, as on a full disk: it is to live all the same."""
        try:
            self.log.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            if not self.log.exists():
                self.log.touch(mode=0o600)
            return self.log.open("ab", buffering=0)
        except OSError as error:
            self._say(self.role, f"its output is lost: {error}")
            return Path(os.devnull).open("ab", buffering=0)

    async def _bound_log(self) -> None:
        """Let the log begin anew when it is full; functions print what they like.

        The process holds it open as its stderr, so it is copied and emptied, not renamed.
        """
        before = self.log.with_name(f"{self.log.name}.1")
        while True:
            await asyncio.sleep(_LOOK)
            with contextlib.suppress(OSError):  # a full disk, or no file
                if self.log.is_file() and self.log.stat().st_size > _MOST_LOG:
                    await asyncio.to_thread(_begin_anew, self.log, before)

    async def _listen(self, stdout: asyncio.StreamReader, sink: BinaryIO) -> None:
        """Copy what it prints to its log, and notice the line that says it is ready."""
        line = b""
        ready = False
        while chunk := await stdout.read(64 * 1024):
            with contextlib.suppress(OSError):  # a full disk: what is not read would hold it up
                sink.write(chunk)
            if ready:
                continue
            *lines, line = (line + chunk).split(b"\n")
            for words in (line.decode(errors="replace").split() for line in lines):
                if (
                    words[:2] == ["ready", self.role] and len(words) == 4
                ):  # a function may say so, too
                    ready = True
                    self._is_ready(words[2], words[3] if words[3] != "-" else self.url)

    def _is_ready(self, worker: str, url: str) -> None:
        self.worker, self.url, self.since = worker, url, clock.monotonic()
        self._say(self.role, f"ready, pid {self.pid}" + (f", {url}" if url else ""))
        self._changed()
        self.ready.set()

    def _refused(self, code: int, after: int) -> PartsongError:
        with self.log.open("rb") as log:
            log.seek(after)
            why, fix = last_words(log.read().decode(errors="replace"))
        return Unavailable(
            "up.unfit" if code == EXIT["damaged"] else "up.refused",
            f"{self.role} cannot start: {why or 'it did not say why'}",
            where=str(self.log),
            fix=self._advice(fix) if fix else None,
            fault="caller",
        )


def _begin_anew(log: Path, before: Path) -> None:
    """Keep the end of a log beside it, and empty it; both of its writers append."""
    try:
        with log.open("rb") as full, before.open("wb") as kept:
            before.chmod(0o600)
            full.seek(-_MOST_LOG, os.SEEK_END)
            left = _MOST_LOG  # and no more: who prints faster than this copies would have it go on for ever
            while left > 0 and (part := full.read(min(left, _PART))):
                kept.write(part)
                left -= len(part)
    finally:  # also where there is no room for a copy
        os.truncate(log, 0)


def last_words(said: str) -> tuple[str, str]:
    """Of what a service wrote before it ended, why it did, and what to do about that; its log is left out."""
    why, fix = list[str](), ""
    for line in said.splitlines():
        if (found := _FIX.match(line)) is not None:
            fix = found[1]
        elif not _LOGGED.match(line):
            why.append(line.removeprefix("error: ").strip())
    return "\n".join(filter(None, why))[-_LAST_WORDS:], fix


def _told(code: int) -> str:
    return f"exit code {code}" if code >= 0 else signal.Signals(-code).name


def _dying_with_parent() -> Callable[[], None] | None:
    """To be called in the child between fork and exec: the kernel kills it when this thread is gone.

    Not with SIGTERM: whoever would drain then has lost its parent and, as a rule, the NATS server too.
    """
    if sys.platform != "linux":
        return None
    return functools.partial(_ask_for_signal, ctypes.CDLL(None), os.getpid())


def _ask_for_signal(libc: ctypes.CDLL, parent: int) -> None:
    libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(EXIT["failure"])
