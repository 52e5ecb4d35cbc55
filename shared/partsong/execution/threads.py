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
from typing import TypeVar

__all__ = ["Job", "Threads"]

T = TypeVar("T")


@dataclass(slots=True, eq=False)
class Job:
    """One call in a thread; opaque to whoever started it."""

    run: Callable[[Job], bool]
    done: bool = False
    left: bool = False


class Threads:
    """Runs sync functions off the event loop. Not itself thread-safe: use it from one event loop."""

    def __init__(self, name: str = "partsong-call") -> None:
        self._name = name
        self._jobs: SimpleQueue[Job | None] = SimpleQueue()
        self._idle = 0
        self._started = 0
        self._closed = False
        self.abandoned = 0
        """Threads that a call left behind and that have not come back."""

    def start(self, function: Callable[[], T], then: Callable[[T], None]) -> Job:
        """Call `function`, which must not raise, in a thread; in the loop, `then` gets what it returns.

        The function sees the caller's context variables. After `leave`, `then` is not called.
        """
        loop = asyncio.get_running_loop()
        context = contextvars.copy_context()

        def run(job: Job) -> bool:
            """In the thread; whether the loop still lives, so that another job may come."""
            value = context.run(function)
            try:
                loop.call_soon_threadsafe(self._returned, job, then, value)
            except RuntimeError:  # the loop is closed, and nobody waits
                return False
            return True

        job = Job(run)
        if self._idle:
            self._idle -= 1
        else:
            self._started += 1
            name = f"{self._name}-{self._started}"
            threading.Thread(target=self._serve, name=name, daemon=True).start()
        self._jobs.put(job)
        return job

    def leave(self, job: Job) -> None:
        """Nobody waits for it any more; if it still runs, its thread is abandoned."""
        if not job.done and not job.left:
            job.left = True
            self.abandoned += 1

    def close(self) -> None:
        """Let idle threads end; busy ones end after their call. Nothing is waited for."""
        self._closed = True
        for _ in range(self._idle):
            self._jobs.put(None)
        self._idle = 0

    def _serve(self) -> None:
        while (job := self._jobs.get()) is not None:
            if not job.run(job):
                return
            del job

    def _returned(self, job: Job, then: Callable[[T], None], value: T) -> None:
        job.done = True
        if job.left:
            self.abandoned -= 1
        else:
            then(value)
        if self._closed:
            self._jobs.put(None)
        else:
            self._idle += 1
