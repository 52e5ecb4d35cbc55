"""One call, bounded in time: an async function in a task, a sync one in a thread, and either can be left behind.

In a service the tasks of user code have loops of their own; in the user's own process they run in the user's loop.
Time in which a call could not run is not charged to it: because a function held the interpreter, or another coroutine
blocked the loop of user code; of the latter, not more than five minutes.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

from partsong.execution.outcome import Late, Outcome, Raised, Value
from partsong.execution.threads import Job, Threads
from partsong.execution.user_loops import CallName, UserCall, UserLoops
from partsong.runtime.heartbeat.rule import BLOCKED_LIMIT

__all__ = ["Bounded", "Idle"]

_GRACE = 1.0
"""Seconds a cancelled async function has for its cleanup before it is left behind."""
_STALL = 1.0
"""Seconds that a timer may be late; a later one means that the process stood still."""
_LEAST = 0.05
"""Seconds of a loop that is held up which are worth a new timer."""


@dataclass(frozen=True, slots=True)
class Idle:
    """How long a call may show nothing, and when it last did (in the loop's time)."""

    seconds: float
    last: Callable[[], float]


_Waiter: TypeAlias = "asyncio.Future[Outcome]"


class Bounded:
    """Makes calls and keeps account of those it had to leave behind."""

    def __init__(self, loops: UserLoops | None = None) -> None:
        """Async functions run in `loops`, or in the caller's loop."""
        self._threads, self._loops = Threads(), loops
        self._stray: set[asyncio.Task[None] | UserCall] = set()

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
        name: CallName = CallName(),  # noqa: B008  # a value
    ) -> Outcome:
        """Call `make`, and await what it returns if that can be awaited. Raises nothing but `CancelledError`.

        Cancelled or late, an async function gets a second for its cleanup, and a sync one is left behind at once.
        """
        waiter: _Waiter = asyncio.get_running_loop().create_future()
        running = self._start(make, waiter, is_async=is_async, name=name)
        there = running if isinstance(running, UserCall) else None
        timer = None if within is None else _Deadline(within, waiter, there)
        watch = _Watch(idle, waiter, there) if idle is not None else None
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
                left = None if timer is None else timer.left
                outcome = await self.call(
                    lambda: value, is_async=True, within=left, idle=idle, name=name
                )
                late = isinstance(outcome, Late) and not outcome.idle
                return Late(within or 0.0) if late else outcome
            case _:
                pass
        return outcome

    def _start(
        self, make: Callable[[], object], waiter: _Waiter, *, is_async: bool, name: CallName
    ) -> asyncio.Task[None] | Job | UserCall:
        if not is_async:
            return self._threads.start(lambda: _kept(make), lambda kept: _answer(waiter, kept))
        if self._loops is None:
            return asyncio.get_running_loop().create_task(_awaited(make, waiter))
        return self._loops.start(make, lambda outcome: _answer(waiter, outcome), name)

    def close(self) -> None:
        """Let idle threads end, and cancel once more what was left behind."""
        self._threads.close()
        for task in self._stray:
            task.cancel()

    async def _leave(self, running: asyncio.Task[None] | Job | UserCall) -> None:
        if isinstance(running, Job):
            self._threads.leave(running)
            return
        ended = running.ended if isinstance(running, UserCall) else running
        self._stray.add(running)
        ended.add_done_callback(lambda _: self._stray.discard(running))
        running.cancel()
        await asyncio.wait((ended,), timeout=_GRACE)


class _Deadline:
    """Answers for a call whose time is over. Time in which it could not run is given to it once more."""

    def __init__(self, within: float, waiter: _Waiter, call: UserCall | None) -> None:
        self._within, self._waiter, self._call = within, waiter, call
        self._loop = asyncio.get_running_loop()
        self._due = self._loop.time() + within
        self._given = 0.0
        self._handle = self._loop.call_at(self._due, self._look)

    @property
    def left(self) -> float:
        """Seconds until the time is over."""
        return self._due - self._loop.time()

    def cancel(self) -> None:
        self._handle.cancel()

    def _look(self) -> None:
        late = -self.left
        stolen = min(self._call.stolen, BLOCKED_LIMIT) if self._call is not None else 0.0
        if late > _STALL:  # the process stood still
            self._due += 2 * late
        elif stolen - self._given > _LEAST:
            self._due += stolen - self._given
            self._given = stolen
        else:
            _answer(self._waiter, Late(self._within))
            return
        self._handle = self._loop.call_at(self._due, self._look)


class _Watch:
    """Answers for a call that has shown nothing for too long."""

    def __init__(self, idle: Idle, waiter: _Waiter, call: UserCall | None) -> None:
        self._idle, self._waiter, self._call = idle, waiter, call
        self._loop = asyncio.get_running_loop()
        self._since, self._given = self._loop.time(), 0.0
        self._due = self._since + idle.seconds
        self._handle = self._loop.call_at(self._due, self._look)

    def cancel(self) -> None:
        self._handle.cancel()

    def _look(self) -> None:
        now = self._loop.time()
        stolen = self._call.stolen if self._call is not None else 0.0
        if stolen - self._given > _LEAST or now - self._due > _STALL:  # nothing could be shown
            self._since, self._given = now, stolen
        self._due = max(self._since, self._idle.last()) + self._idle.seconds
        if now >= self._due:
            _answer(self._waiter, Late(self._idle.seconds, idle=True))
        else:
            self._handle = self._loop.call_at(self._due, self._look)


async def _awaited(make: Callable[[], object], waiter: _Waiter) -> None:
    """The body of a call's task. It answers by itself: a done callback would take one more turn of the loop."""
    try:
        value = make()
        if inspect.isawaitable(value):
            value = await value
    except KeyboardInterrupt:  # it is meant for the process, which is the user's
        raise
    except BaseException as error:
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
