"""The network between processes and the broker: latency, loss, and answers that never come.

What a process sends arrives or does not, soon or late, whether the process still lives then or not. An operation that
arrived has happened, even if its answer is lost.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextvars import copy_context
from dataclasses import dataclass
from typing import TypeVar

from tests.sim.loop import Process, SimLoop

__all__ = ["Chaos", "Network"]

T = TypeVar("T")


@dataclass
class Chaos:
    """How bad the network is now."""

    lost: float = 0.0
    """Share of messages that do not arrive."""
    late: float = 0.0
    """Share of messages that take seconds."""


class Network:
    """Carries messages both ways."""

    def __init__(self, loop: SimLoop) -> None:
        self.loop, self.random = loop, loop.random
        self.chaos = Chaos()
        self.up = True
        """Whether the broker runs."""
        self._context = copy_context()

    def later(self, delay: float, callback: Callable[..., object], *args: object) -> None:
        """Something of the broker's own happens after a while, whichever process asked for it."""
        self.loop.call_later(delay, callback, *args, context=self._context)

    def latency(self) -> float:
        """Seconds one way."""
        if self.chaos.late and self.random.random() < self.chaos.late:
            return self.random.uniform(0.5, 12.0)
        base = self.random.uniform(0.0002, 0.003)
        return base * 30 if self.random.random() < 0.05 else base

    def _lost(self) -> bool:
        return self.chaos.lost > 0 and self.random.random() < self.chaos.lost

    def send(self, process: Process, arrive: Callable[[], object]) -> None:
        """From a process to the broker."""
        if process.linked and not self._lost():
            self.later(self.latency(), self._arrive, arrive)

    def _arrive(self, arrive: Callable[[], object]) -> None:
        if self.up:
            arrive()

    def hand(self, process: Process, receive: Callable[..., object], *args: object) -> None:
        """From the broker to a process."""
        if not self._lost():
            self.later(self.latency(), self._hand, process, receive, args)

    def _hand(
        self, process: Process, receive: Callable[..., object], args: tuple[object, ...]
    ) -> None:
        if process.linked and self.up:
            process.call(receive, *args)

    async def ask(self, process: Process, operate: Callable[[], T], within: float) -> T:
        """A question of a process, and its answer.

        Raises:
            TimeoutError: there came none; perhaps it was done.
        """
        answered: asyncio.Future[T] = self.loop.create_future()

        def settle(result: T) -> None:
            if not answered.done():
                answered.set_result(result)

        self.send(process, lambda: self.hand(process, settle, operate()))
        async with asyncio.timeout(within):
            return await answered
