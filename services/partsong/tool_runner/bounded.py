"""One call, bounded in time: an async function in a task, a sync one in a thread, and either can be left behind."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

from partsong.tool_runner.threads import Job, Threads

__all__ = ["Bounded", "Idle", "Late", "Outcome", "Raised", "Value"]

_GRACE = 1.0
"""Seconds a cancelled async function has for its cleanup before it is left behind."""


@dataclass(frozen=True, slots=True)
class Value:
    """It returned."""

    value: object


@dataclass(frozen=True, slots=True)
class Raised:
    """It raised."""

    error: BaseException


@dataclass(frozen=True, slots=True)
class Late:
    """Its time was over; it has been cancelled, or left behind."""

    seconds: float
    idle: bool = False
    """It had that long to show something, and did not."""


@dataclass(frozen=True, slots=True)
class Idle:
    """How long a call may show nothing, and when it last did (in the loop's time)."""

    seconds: float
    last: Callable[[], float]


Outcome: TypeAlias = Value | Raised | Late
_Waiter: TypeAlias = "asyncio.Future[Outcome]"


class Bounded:
    """Makes calls and keeps account of those it had to leave behind."""

    def __init__(self) -> None:
        self._threads = Threads()
        self._stray: set[asyncio.Task[None]] = set()

    @property
    def abandoned(self) -> int:
        """Calls left behind that have not ended yet."""
        return self._threads.abandoned + len(self._stray)

    async def call(
        self,
        make: Callable[[], object],
        *,
        is_async: bool,
        within: float | None,
        idle: Idle | None = None,
    ) -> Outcome:
        """Call `make`, and await what it returns if that can be awaited. Raises nothing but `CancelledError`.

        Cancelled or late, an async function gets a second for its cleanup, and a sync one is left behind at once.
        """
        loop = asyncio.get_running_loop()
        end = None if within is None else loop.time() + within
        waiter: _Waiter = loop.create_future()
        running: asyncio.Task[None] | Job
        if is_async:
            running = loop.create_task(_awaited(make, waiter))
        else:
            running = self._threads.start(lambda: _kept(make), lambda kept: _answer(waiter, kept))
        timer = None if end is None else loop.call_at(end, _answer, waiter, Late(within or 0.0))
        watch = _Watch(idle, waiter) if idle is not None else None
        try:
            outcome = await waiter
        except asyncio.CancelledError:
            await self._leave(running)
            raise
        finally:
            for handle in (timer, watch):
                if handle is not None:
                    handle.cancel()
        match outcome:
            case Late():
                await self._leave(running)
            case Value(value) if not is_async and inspect.isawaitable(value):
                left = None if end is None else end - loop.time()
                outcome = await self.call(lambda: value, is_async=True, within=left, idle=idle)
                late = isinstance(outcome, Late) and not outcome.idle
                return Late(within or 0.0) if late else outcome
            case _:
                pass
        return outcome

    def close(self) -> None:
        """Let idle threads end, and cancel once more what was left behind."""
        self._threads.close()
        for task in self._stray:
            task.cancel()

    async def _leave(self, running: asyncio.Task[None] | Job) -> None:
        if isinstance(running, Job):
            self._threads.leave(running)
            return
        self._stray.add(running)
        running.add_done_callback(self._stray.discard)
        running.cancel()
        await asyncio.wait((running,), timeout=_GRACE)


class _Watch:
    """Answers for a call that has shown nothing for too long."""

    def __init__(self, idle: Idle, waiter: _Waiter) -> None:
        self._idle, self._waiter = idle, waiter
        self._loop = asyncio.get_running_loop()
        self._since = self._loop.time()
        self._handle = self._loop.call_later(idle.seconds, self._look)

    def cancel(self) -> None:
        self._handle.cancel()

    def _look(self) -> None:
        due = max(self._since, self._idle.last()) + self._idle.seconds
        if self._loop.time() >= due:
            _answer(self._waiter, Late(self._idle.seconds, idle=True))
        else:
            self._handle = self._loop.call_at(due, self._look)


async def _awaited(make: Callable[[], object], waiter: _Waiter) -> None:
    """The body of a call's task. It answers by itself: a done callback would take one more turn of the loop."""
    try:
        value = make()
        if inspect.isawaitable(value):
            value = await value
    except (Exception, SystemExit, asyncio.CancelledError) as error:
        _answer(waiter, Raised(error))
    else:
        _answer(waiter, Value(value))


def _answer(waiter: _Waiter, outcome: Outcome) -> None:
    """The first answer counts."""
    if not waiter.done():
        waiter.set_result(outcome)


def _kept(make: Callable[[], object]) -> Value | Raised:
    """In a thread, where no exception may escape: nobody could tell whose it is."""
    try:
        return Value(make())
    except BaseException as error:
        return Raised(error)
