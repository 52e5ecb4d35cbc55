"""The broker's work queues."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass

from partsong.graph_engine.workload import Reading
from tests.sim.loop import Process
from tests.sim.network import Network
from tests.sim.stream import WINDOW

__all__ = ["Item", "Queue"]


@dataclass(eq=False)
class Item:
    """A message of a work queue, as one worker holds it."""

    queue: Queue
    seq: int
    subject: str
    body: object
    stored: float
    deliveries: int = 0
    holder: Process | None = None
    due: float = 0.0
    done: bool = False


class Queue:
    """A work queue: each message to one worker, again and again until one acknowledges it."""

    def __init__(self, net: Network, name: str, ack_wait: float) -> None:
        self._net, self.name, self._wait = net, name, ack_wait
        self.workers: list[tuple[Process, Callable[[Item], None]]] = []
        self.items: dict[int, Item] = {}
        self._ids: dict[str, float] = {}
        self._count = 0

    def put(self, subject: str, body: object, id: str = "") -> None:
        """Store a message; one whose id is known from the last two minutes vanishes."""
        now = self._net.loop.time()
        if id and now - self._ids.get(id, -WINDOW) < WINDOW:
            return
        if id:
            self._ids[id] = now
        self._count += 1
        item = self.items[self._count] = Item(self, self._count, subject, body, now)
        self._deliver(item)

    def join(self, process: Process, handler: Callable[[Item], None]) -> None:
        def receive(item: Item) -> None:
            process.held(self.name).add(item.seq)
            handler(item)

        self.workers = [found for found in self.workers if found[0].alive]
        self.workers.append((process, receive))

    def leave(self, process: Process) -> None:
        self.workers = [found for found in self.workers if found[0] is not process]

    @property
    def reading(self) -> Reading:
        """How it stands."""
        waiting = sum(not item.deliveries for item in self.items.values())
        return Reading(self.name, waiting, len(self.items) - waiting)

    def _deliver(self, item: Item) -> None:
        if item.done:
            return
        now = self._net.loop.time()
        linked = [found for found in self.workers if found[0].linked]
        if not linked or not self._net.up:
            self._net.later(0.25, self._deliver, item)
            return
        process, handler = self._net.random.choice(linked)
        item.deliveries += 1
        item.holder, item.due = process, now + self._wait
        self._net.hand(process, handler, copy.copy(item))
        self._net.later(self._wait, self._expire, item, item.deliveries)

    def _expire(self, item: Item, delivery: int) -> None:
        """Deliver again, unless the holder says that it is at it: it does as long as it lives and is connected."""
        if item.done or item.deliveries != delivery:
            return
        holder = item.holder
        if holder is not None and holder.linked and item.seq in holder.held(self.name):
            self._net.later(self._wait, self._expire, item, delivery)
            return
        self._deliver(item)

    def ack(self, process: Process, item: Item) -> None:
        """The worker is done with it; a lost acknowledgement brings it back."""
        process.held(self.name).discard(item.seq)
        self._net.send(process, lambda: self._ack(item.seq))

    def _ack(self, seq: int) -> None:
        if (item := self.items.pop(seq, None)) is not None:
            item.done = True

    def nak(self, process: Process, item: Item, delay: float) -> None:
        process.held(self.name).discard(item.seq)
        self._net.send(process, lambda: self._nak(item, delay))

    def _nak(self, given: Item, delay: float) -> None:
        item = self.items.get(given.seq)
        if item is not None and item.deliveries == given.deliveries:
            item.deliveries += 1  # what was to expire does not
            self._net.later(delay, self._deliver, item)
