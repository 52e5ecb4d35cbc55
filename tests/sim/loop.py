"""The event loop of a simulation: virtual time, a seeded order of callbacks, and processes that can be killed.

Of what is ready, a random generator picks what runs next; when nothing is ready, time jumps to the next timer. A
process is a context: tasks and callbacks that begin in it belong to it, and read its clock. When it is killed, nothing
of it runs any more, not even what would clean up: that is what kill -9 is.
"""

from __future__ import annotations

import asyncio
import heapq
import inspect
import random
from asyncio import events
from collections.abc import Callable, Coroutine
from contextvars import Context, ContextVar, copy_context
from typing import Any, TypeVarTuple, cast

from partsong.runtime import clock

__all__ = ["EPOCH", "Process", "SimLoop", "Stuck", "new_loop"]

EPOCH = 1_767_225_600.0
"""2026-01-01T00:00:00Z: when every simulation begins."""

Ts = TypeVarTuple("Ts")

_process: ContextVar[Process | None] = ContextVar("process", default=None)


class Stuck(Exception):
    """A simulation took more steps than it may: something goes on for ever."""


class Process:
    """One simulated process: its name, its clock, whether it lives and whether it reaches the broker."""

    def __init__(self, loop: SimLoop, name: str, *, skew: float = 0.0) -> None:
        self.name, self._loop, self.skew = name, loop, skew
        self.alive = True
        self.began = loop.time()
        self.died = 0.0
        self.cut_since: float | None = None
        """Since when it does not reach the broker."""
        self.linked_since = loop.time()
        self._held: dict[str, set[int]] = {}
        self._context: Context = copy_context()
        self._context.run(_process.set, self)
        self._context.run(clock.set_source, self)

    @property
    def connections(self) -> int:
        """Another number each time that it reaches the broker again."""
        return int(self.linked_since * 1e6)

    def held(self, queue: str) -> set[int]:
        """What it holds of a work queue: it says that it is at it, as long as it lives and is connected."""
        return self._held.setdefault(queue, set())

    def wall(self) -> float:
        """See `clock.Source`."""
        return EPOCH + self._loop.time() + self.skew

    def monotonic(self) -> float:
        """See `clock.Source`."""
        return self._loop.time()

    def randbits(self, bits: int, /) -> int:
        """See `clock.Source`."""
        return self._loop.random.getrandbits(bits)

    @property
    def linked(self) -> bool:
        return self.alive and self.cut_since is None

    def cut(self) -> None:
        if self.cut_since is None:
            self.cut_since = self._loop.time()

    def heal(self) -> None:
        if self.cut_since is not None:
            self.cut_since, self.linked_since = None, self._loop.time()

    def kill(self) -> None:
        if self.alive:
            self.alive, self.died = False, self._loop.time()

    def call(self, callback: Callable[..., object], *args: object) -> None:
        """Let the process run a callback soon."""
        self._loop.call_soon(callback, *args, context=self._context)

    def spawn(self, work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        """Let the process run a task; whatever it raises is a finding."""
        return self._loop.create_task(work, context=self._context)


class SimLoop(asyncio.AbstractEventLoop):
    """An event loop without threads, sockets and real time. One simulation each."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self._now = 0.0
        self._ready: list[asyncio.Handle] = []
        self._timers: list[tuple[float, int, asyncio.TimerHandle]] = []
        self._count = 0
        self.steps, self.most_steps = 0, 3_000_000
        self.broken: list[str] = []
        """What escaped from callbacks and tasks."""
        self._kept: list[asyncio.Task[Any]] = []

    # --- what asyncio asks of a loop ------------------------------------------------------------------------------

    def time(self) -> float:
        return self._now

    def call_soon(
        self,
        callback: Callable[[*Ts], object],
        *args: *Ts,
        context: Context | None = None,
    ) -> asyncio.Handle:
        handle = asyncio.Handle(callback, args, self, context)
        self._ready.append(handle)
        return handle

    call_soon_threadsafe = call_soon

    def call_later(
        self,
        delay: float,
        callback: Callable[[*Ts], object],
        *args: *Ts,
        context: Context | None = None,
    ) -> asyncio.TimerHandle:
        return self.call_at(self._now + delay, callback, *args, context=context)

    def call_at(
        self,
        when: float,
        callback: Callable[[*Ts], object],
        *args: *Ts,
        context: Context | None = None,
    ) -> asyncio.TimerHandle:
        handle = asyncio.TimerHandle(when, callback, args, self, context)
        self._count += 1
        heapq.heappush(self._timers, (when, self._count, handle))
        return handle

    def _timer_handle_cancelled(self, handle: asyncio.TimerHandle) -> None:
        """It is dropped when its time comes."""

    def create_future(self) -> asyncio.Future[Any]:
        return asyncio.Future(loop=self)

    def create_task(
        self,
        coro: Any,
        *,
        name: str | None = None,
        context: Context | None = None,
        **_: Any,
    ) -> asyncio.Task[Any]:
        task: asyncio.Task[Any] = asyncio.Task(coro, loop=self, name=name, context=context)
        self._kept.append(task)
        if len(self._kept) > 2_000:
            self._kept = [kept for kept in self._kept if not kept.done()]
        return task

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        self.broken.append(f"{context.get('message')}: {context.get('exception')!r}")

    def get_debug(self) -> bool:
        return False

    def is_running(self) -> bool:
        return True

    def is_closed(self) -> bool:
        return False

    # --- running --------------------------------------------------------------------------------------------------

    def run(self, work: Coroutine[Any, Any, Any]) -> Any:
        """Run a task to its end.

        Raises:
            Stuck: it needed too many steps, or nothing was left that could go on.
        """
        before = events._get_running_loop()
        events._set_running_loop(self)
        try:
            task = self.create_task(work)
            while not task.done():
                self._step()
            return task.result()
        finally:
            self._forget()
            events._set_running_loop(before)

    def _step(self) -> None:
        if not self._ready:
            self._jump()
        at = self.random.randrange(len(self._ready)) if len(self._ready) > 1 else 0
        handle, last = self._ready[at], self._ready.pop()
        if handle is not last:
            self._ready[at] = last
        process = handle._context.get(_process)  # type: ignore[attr-defined]  # asyncio keeps it there
        if handle.cancelled() or (process is not None and not process.alive):
            return
        self.steps += 1
        if self.steps > self.most_steps:
            raise Stuck(f"no end after {self.most_steps} steps, at {self._now:.1f} s")
        handle._run()

    def _jump(self) -> None:
        """To the next timer, and all that are due with it."""
        while not self._ready:
            if not self._timers:
                raise Stuck(f"nothing is left to do at {self._now:.1f} s")
            self._now = max(self._now, self._timers[0][0])
            while self._timers and self._timers[0][0] <= self._now:
                handle = heapq.heappop(self._timers)[2]
                if not handle.cancelled():
                    self._ready.append(handle)

    def _forget(self) -> None:
        """What was killed, or runs for ever, is dropped without a word."""
        for task in self._kept:
            task._log_destroy_pending = False  # type: ignore[attr-defined]
            coroutine = task.get_coro()
            if (
                inspect.iscoroutine(coroutine)
                and inspect.getcoroutinestate(coroutine) == "CORO_CREATED"
            ):
                coroutine.close()
        self._kept.clear()
        self._ready.clear()
        self._timers.clear()


def new_loop(seed: int) -> SimLoop:
    """A loop for one simulation; of what a loop can do it has only what is needed without sockets and threads."""
    return cast("SimLoop", cast("Any", SimLoop)(seed))
