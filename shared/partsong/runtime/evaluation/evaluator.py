"""`Evaluator`: asks a small process of its own what is not cheap to answer, and starts it anew when it had to die."""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import json
import logging
import os
import select
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import IO, Protocol, TypeVar

from pydantic import JsonValue

from partsong.contracts.errors import Problem
from partsong.contracts.foreign.question import Answers, Evaluate, NotAnswered, Question
from partsong.runtime.evaluation.child import BUDGET
from partsong.runtime.progress import Patience

__all__ = ["Evaluator", "Settle", "evaluate", "settle"]

_log = logging.getLogger("partsong.evaluation")
T = TypeVar("T")

_LONGEST = 30.0
"""Seconds without any work after which the small process counts as stuck; its own limit is of processor time.

By the clock alone a machine that is busy would make an answer wrong: what is decided on it is decided for good.
"""
_LOOK = 0.5
_LAST_WORD = 1.0
_PIECE = 64 * 1024
_KEPT = ("PATH", "PYTHONPATH", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "SYSTEMROOT")
"""What the small process is told of the environment: no keys of anybody."""


class Evaluator:
    """Answers questions within a budget, one at a time; for one process, whatever threads and loops it has."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._asking = threading.Lock()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="partsong evaluation")

    def ask(self, asked: NotAnswered) -> JsonValue | Problem:
        """The answer, waited for; a problem if there is none, or it took more than it may."""
        with self._asking:
            said = self._said(asked.wire)
        if isinstance(said, str):
            _log.warning(
                "question over its budget", extra={"why": said, "question": asked.wire[:300]}
            )
            return asked.question.over_budget(said)
        if "problem" in said:
            return Problem.model_validate(said["problem"])
        if "over" in said:
            return asked.question.over_budget(str(said["over"]))
        return said["answer"]

    async def answer(self, asked: NotAnswered) -> JsonValue | Problem:
        """The answer; meanwhile the loop goes on."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, self.ask, asked)

    @property
    def pid(self) -> int | None:
        """The small process; None if there is none now."""
        return self._process.pid if self._process is not None else None

    def close(self) -> None:
        """Let the small process end."""
        with self._asking:
            self._end()

    def _said(self, wire: str) -> dict[str, JsonValue] | str:
        """What the small process says; a text is why it says nothing. One that died of something else is asked anew."""
        for again in (True, False):
            process = self._running()
            try:
                line = _spoken(process, wire.encode() + b"\n")
            except TimeoutError:
                self._end()
                return f"no answer, and no work on one for {_LONGEST:g} s"
            except OSError:
                line = b""
            if line:
                answer: dict[str, JsonValue] = json.loads(line)
                return answer
            code = self._end()
            if code == -signal.SIGPROF:
                return f"it takes more than {BUDGET:g} s of a processor"
            if not again:
                return f"the process that evaluates it died twice, with code {code}"
        raise AssertionError

    def _running(self) -> subprocess.Popen[bytes]:
        if self._process is not None and self._process.poll() is not None:
            self._end()  # it died while nobody asked; its pipes are to be closed
        if self._process is None:
            command = (sys.executable, "-P", "-m", "partsong.runtime.evaluation.child")
            self._process = subprocess.Popen(  # noqa: S603  # this interpreter
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                env={key: os.environ[key] for key in _KEPT if key in os.environ},
                start_new_session=True,  # what is meant for the service's group is not meant for it
            )
            os.set_blocking(_fd(self._process.stdin), False)
        return self._process

    def _end(self) -> int | None:
        """Let the small process end, or have it end; its exit code."""
        process, self._process = self._process, None
        if process is None:
            return None
        with contextlib.suppress(OSError):
            if process.stdin is not None:
                process.stdin.close()
        try:
            code = process.wait(_LAST_WORD)
        except subprocess.TimeoutExpired:
            process.kill()
            code = process.wait()
        if process.stdout is not None:
            process.stdout.close()
        return code


def _fd(pipe: IO[bytes] | None) -> int:
    assert pipe is not None, "it was started with pipes"  # noqa: S101
    return pipe.fileno()


def _spoken(process: subprocess.Popen[bytes], line: bytes) -> bytes:
    """The line that answers a line; empty if the process has ended.

    Raises:
        TimeoutError: it does not listen, or does not answer.
        OSError: it has ended.
    """
    ask, hear = _fd(process.stdin), _fd(process.stdout)
    patience = Patience(_LONGEST, lambda: (process.pid,))
    left = memoryview(line)
    while left:
        _wait(ask, select.POLLOUT, patience)
        left = left[os.write(ask, left[:_PIECE]) :]
    heard: list[bytes] = []
    while not heard or not heard[-1].endswith(b"\n"):
        _wait(hear, select.POLLIN, patience)
        piece = os.read(hear, _PIECE)
        if not piece:
            return b""
        heard.append(piece)
    return b"".join(heard)


def _wait(fd: int, event: int, patience: Patience) -> None:
    poll = select.poll()
    poll.register(fd, event)
    while not poll.poll(_LOOK * 1000):
        if patience.over:
            raise TimeoutError


class Settle(Protocol):
    """Has something decided whose questions are answered meanwhile."""

    async def __call__(self, decide: Callable[[Evaluate], T], /) -> T:
        """See `settle`."""
        ...


_EVALUATOR = Evaluator()
"""The one of this process: its small process starts with the first question, and ends with this one."""
atexit.register(_EVALUATOR.close)


def evaluate(question: Question) -> JsonValue:
    """Answer a question; one that is not cheap is waited for, at most as long as it may take. See `Evaluate`."""
    answers = Answers()
    try:
        return answers(question)
    except NotAnswered as asked:
        answers.learn(asked, _EVALUATOR.ask(asked))
        return answers(question)


async def settle(decide: Callable[[Evaluate], T]) -> T:
    """What is decided when all that it asks is answered; it is decided anew after each answer that was waited for."""
    answers = Answers()
    while True:
        try:
            return decide(answers)
        except NotAnswered as asked:
            answers.learn(asked, await _EVALUATOR.answer(asked))
