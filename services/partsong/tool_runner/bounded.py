"""One call, bounded in time: an async function in a task, a sync one in a thread, and either can be left behind."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

from partsong.tool_runner.threads import Threads

__all__ = ["Bounded", "Late", "Outcome", "Raised", "Value"]

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


Outcome: TypeAlias = Value | Raised | Late


class Bounded:
    """Makes calls and keeps account of those it had to leave behind."""

    def __init__(self) -> None:
        self._threads = Threads()
        self._stray: set[asyncio.Task[Value | Raised]] = set()

    @property
    def abandoned(self) -> int:
        """Calls left behind that have not ended yet."""
        return self._threads.abandoned + len(self._stray)

    async def call(
        self, make: Callable[[], object], *, is_async: bool, within: float | None
    ) -> Outcome:
        """Call `make`, and await what it returns if that can be awaited. Raises nothing but `CancelledError`.

        Cancelled or late, an async function gets a second for its cleanup, and a sync one is left behind at once.
        """
        task = asyncio.ensure_future(_here(make) if is_async else self._elsewhere(make))
        try:
            await asyncio.wait((task,), timeout=within)
        except asyncio.CancelledError:
            await self._leave(task)
            raise
        if not task.done():
            await self._leave(task)
            return Late(within or 0.0)
        if task.cancelled():
            return Raised(asyncio.CancelledError("it cancelled itself"))
        return task.result()

    def close(self) -> None:
        """Let idle threads end, and cancel once more what was left behind."""
        self._threads.close()
        for task in self._stray:
            task.cancel()

    async def _elsewhere(self, make: Callable[[], object]) -> Value | Raised:
        outcome = await self._threads.run(lambda: _kept(make))
        if isinstance(outcome, Value) and inspect.isawaitable(outcome.value):
            awaited = outcome.value
            return await _here(lambda: awaited)
        return outcome

    async def _leave(self, task: asyncio.Task[Value | Raised]) -> None:
        self._stray.add(task)
        task.add_done_callback(self._stray.discard)
        task.cancel()
        await asyncio.wait((task,), timeout=_GRACE)


async def _here(make: Callable[[], object]) -> Value | Raised:
    try:
        value = make()
        if inspect.isawaitable(value):
            value = await value
    except (Exception, SystemExit) as error:
        return Raised(error)
    return Value(value)


def _kept(make: Callable[[], object]) -> Value | Raised:
    """In a thread, where no exception may escape: nobody could tell whose it is."""
    try:
        return Value(make())
    except BaseException as error:
        return Raised(error)
