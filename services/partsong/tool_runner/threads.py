"""Threads for sync functions: as many as are busy, and a stuck one costs nothing but itself.

Python cannot stop a thread. When a call's time is over, its thread is left behind: the caller goes on, a new thread
takes its place, and whatever the stuck function does or returns later is dropped. `abandoned` counts the threads that
are left behind right now; one whose function ends after all serves again. All threads are daemons, so a stuck one never
keeps the process from ending.
"""

from __future__ import annotations

import asyncio
import contextvars
import threading
from collections.abc import Callable
from dataclasses import dataclass
from queue import SimpleQueue
from typing import TypeVar, cast

__all__ = ["Threads"]

T = TypeVar("T")


class Threads:
    """Runs sync functions off the event loop. Not itself thread-safe: use it from one event loop."""

    def __init__(self, name: str = "partsong-call") -> None:
        self._name = name
        self._jobs: SimpleQueue[_Job | None] = SimpleQueue()
        self._idle = 0
        self._started = 0
        self._closed = False
        self.abandoned = 0
        """Threads that a call left behind and that have not come back."""

    async def run(self, function: Callable[[], T]) -> T:
        """Call it in a thread, with the caller's context variables. Cancelled, it leaves the thread behind."""
        loop = asyncio.get_running_loop()
        job = _Job(function, loop, loop.create_future(), contextvars.copy_context())
        self._hand_over(job)
        try:
            return cast("T", await job.result)
        finally:
            if not job.done:
                job.left = True
                self.abandoned += 1

    def close(self) -> None:
        """Let idle threads end; busy ones end after their call. Nothing is waited for."""
        self._closed = True
        for _ in range(self._idle):
            self._jobs.put(None)
        self._idle = 0

    def _hand_over(self, job: _Job) -> None:
        if self._idle:
            self._idle -= 1
        else:
            self._started += 1
            name = f"{self._name}-{self._started}"
            threading.Thread(target=self._serve, name=name, daemon=True).start()
        self._jobs.put(job)

    def _serve(self) -> None:
        """In a thread: take jobs until told to end, or until the loop that sent one is gone."""
        while (job := self._jobs.get()) is not None:
            job.make()
            try:
                job.loop.call_soon_threadsafe(self._returned, job)
            except RuntimeError:  # the loop is closed, and nobody waits
                return
            del job

    def _returned(self, job: _Job) -> None:
        """In the loop: hand the outcome to the caller, and count the thread as idle again."""
        job.done = True
        if job.left:
            self.abandoned -= 1
        elif not job.result.done():
            job.settle()
        if self._closed:
            self._jobs.put(None)
        else:
            self._idle += 1


@dataclass(slots=True, eq=False)
class _Job:
    """One call, and what became of it."""

    function: Callable[[], object]
    loop: asyncio.AbstractEventLoop
    result: asyncio.Future[object]
    context: contextvars.Context
    value: object = None
    error: BaseException | None = None
    done: bool = False
    left: bool = False

    def make(self) -> None:
        """In the thread: call the function and keep what it returns or raises."""
        try:
            self.value = self.context.run(self.function)
        except StopIteration as error:  # a future refuses it
            self.error = RuntimeError(f"StopIteration: {error.value!r}")
        except BaseException as error:  # SystemExit ends a call here, not the thread
            self.error = error

    def settle(self) -> None:
        """In the loop: the future gets what the thread kept."""
        if self.error is not None:
            self.result.set_exception(self.error)
        else:
            self.result.set_result(self.value)
