"""One service as a child process that is kept alive: started, watched, started again, ended.

Why its output goes through here: the line that says `ready` comes on stdout, and so does whatever a user's function
prints. All of it ends up in the child's log file.
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
from partsong.contracts.errors import PartsongError, Unavailable
from partsong.runtime import clock

__all__ = ["Child", "last_words"]

_HEALTHY = 10.0
"""Seconds after which a life counts as a good one, and the next start does not wait."""
_FIRST_WAIT, _LONGEST_WAIT = 0.1, 10.0
_GRACE = 15.0
"""Seconds to drain; more than what a service gives itself."""
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
    ) -> None:
        """`advice` puts what a service says is to be done into the words of whoever started this."""
        self.role, self.log = role, log
        self.ready = asyncio.Event()
        """Set when it was ready for the first time."""
        self.url = ""
        """Where it answers HTTP, if it does."""
        self._command, self._env = tuple(command), dict(env)
        self._say, self._changed, self._advice = say, changed, advice
        self._process: asyncio.subprocess.Process | None = None
        self._ending = False

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
        wait = _FIRST_WAIT
        while not self._ending:
            began, said = clock.monotonic(), self.log.stat().st_size if self.log.exists() else 0
            code = await self._live()
            if self._ending:
                return
            if code in _REFUSALS and not self.ready.is_set():
                raise self._refused(code, said)
            healthy = clock.monotonic() - began > _HEALTHY
            wait = _FIRST_WAIT if healthy else min(_LONGEST_WAIT, wait * 2)
            self._say(self.role, f"ended with {_told(code)}, starting again; see {self.log}")
            await asyncio.sleep(wait)

    async def end(self) -> None:
        """Let it drain, and make sure that it is gone."""
        self._ending = True
        process = self._process
        if process is None or process.returncode is not None:
            return
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
        try:
            async with asyncio.timeout(_GRACE):
                await process.wait()
        except TimeoutError:
            self.kill()
            await process.wait()
        self._say(self.role, "stopped")

    def kill(self) -> None:
        """End it at once."""
        self._ending = True
        if self._process is not None and self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                self._process.kill()

    async def _live(self) -> int:
        """One life; its exit code."""
        with self._sink() as sink:
            self._process = await asyncio.create_subprocess_exec(
                *self._command,
                env=self._env,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=sink,
                start_new_session=True,  # Ctrl-C is for the parent, which ends its children in order
                preexec_fn=_dying_with_parent(),
            )
            assert self._process.stdout is not None  # noqa: S101
            await self._listen(self._process.stdout, sink)
            return await self._process.wait()

    def _sink(self) -> BinaryIO:
        """Where its output goes; nowhere if its log cannot be opened, as on a full disk: it is to live all the same."""
        try:
            self.log.parent.mkdir(parents=True, exist_ok=True)
            return self.log.open("ab", buffering=0)
        except OSError as error:
            self._say(self.role, f"its output is lost: {error}")
            return Path(os.devnull).open("ab", buffering=0)

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
                if words[:1] == ["ready"]:
                    ready = True
                    self._is_ready(words[3] if len(words) > 3 and words[3] != "-" else self.url)

    def _is_ready(self, url: str) -> None:
        self.url = url
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
