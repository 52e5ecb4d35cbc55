"""The broker's consumers: a pinned one per partition of the log, and work queues."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass, field

from partsong.log.port import Record
from tests.sim.loop import Process
from tests.sim.network import Network
from tests.sim.stream import WINDOW, Stream

__all__ = ["Item", "Pinned", "Queue", "Receiver"]

_PIN_LAPSES = 2.0
_FEED_WAIT = 10.0


@dataclass(eq=False)
class Receiver:
    """A process that pulls from a pinned consumer."""

    process: Process
    receive: Callable[[Record, int, int, str], None]
    """Record, consumer sequence, how often it was delivered, pin."""
    arrives: float = 0.0
    """When its last delivery arrives: those of one consumer do not overtake each other."""


@dataclass
class _State:
    """What a server writes down of a consumer now and then; after a crash an old copy of it counts."""

    position: int = 0
    """Sequence of the log up to which everything was delivered once."""
    count: int = 0
    pending: dict[int, int] = field(default_factory=dict)
    """Sequence of each unanswered delivery, and how often it was delivered."""


class Pinned:
    """One partition's consumer: in order, to one receiver at a time."""

    def __init__(self, net: Network, stream: Stream, filters: tuple[str, ...]) -> None:
        self._net, self._stream, self._filters = net, stream, filters
        self.receivers: list[Receiver] = []
        self.pin: Receiver | None = None
        self.pin_id = ""
        self._pins = 0
        self._active = 0.0
        self._state = _State()
        self._saved = copy.deepcopy(self._state)
        self._due: dict[int, float] = {}
        """When an unanswered delivery is delivered again."""
        self._again: list[int] = []

    @property
    def unanswered(self) -> int:
        return len(self._state.pending)

    @property
    def holder(self) -> Receiver | None:
        """Who has the pin, if it has not lapsed."""
        if self.pin is not None and self._net.loop.time() - self._active > _PIN_LAPSES:
            self.pin = None
        return self.pin

    def unpin(self) -> None:
        """Takes the pin away: it goes to whoever is next."""
        self.pin = None
        self.pump()

    def save(self) -> None:
        self._saved = copy.deepcopy(self._state)

    def restart(self, *, forgets: bool) -> None:
        """The server comes back: without pins, perhaps with an old picture of what was delivered and acknowledged."""
        self.pin = None
        if forgets:
            self._state = copy.deepcopy(self._saved)
        self._due = dict.fromkeys(self._state.pending, self._net.loop.time() + _FEED_WAIT)
        self._again = []
        for seq in self._state.pending:
            self._net.later(_FEED_WAIT, self._expire, seq)

    def ack(self, seq: int) -> None:
        self._state.pending.pop(seq, None)
        self._due.pop(seq, None)

    def nak(self, seq: int, delay: float) -> None:
        if seq in self._state.pending:
            self._due[seq] = self._net.loop.time() + delay
            self._net.later(delay, self._expire, seq)

    def _expire(self, seq: int) -> None:
        due = self._due.get(seq)
        if due is not None and due <= self._net.loop.time() and seq not in self._again:
            self._again.append(seq)
            self.pump()

    def pump(self) -> None:
        """Deliver what is to be delivered."""
        while self._net.up and (receiver := self._receiver()) is not None:
            record = self._next()
            if record is None:
                return
            self._deliver(receiver, record)

    def _receiver(self) -> Receiver | None:
        """Whoever has the pin gets everything, also when it is gone, until the pin lapses."""
        if self.holder is not None:
            return self.pin
        linked = [one for one in self.receivers if one.process.linked]
        if not linked or not (self._again or self._waiting()):
            return None
        self.pin = self._net.random.choice(linked)
        self._pins += 1
        self.pin_id = f"pin-{self._pins}"
        return self.pin

    def _waiting(self) -> Record | None:
        position = self._state.position
        found = [self._stream.first_behind(one, position) for one in self._filters]
        return min((one for one in found if one is not None), key=lambda r: r.seq, default=None)

    def _next(self) -> Record | None:
        if self._again:
            return self._stream.records[self._again.pop(0) - 1]
        record = self._waiting()
        if record is not None:
            self._state.position = record.seq
        return record

    def _deliver(self, receiver: Receiver, record: Record) -> None:
        now, state = self._net.loop.time(), self._state
        self._active = now
        state.count += 1
        state.pending[record.seq] = state.pending.get(record.seq, 0) + 1
        self._due[record.seq] = now + _FEED_WAIT
        self._net.later(_FEED_WAIT, self._expire, record.seq)
        receiver.arrives = max(receiver.arrives, now + self._net.latency())
        said = record, state.count, state.pending[record.seq], self.pin_id
        self._net.later(receiver.arrives - now, self._arrive, receiver, said)
        self._net.later(_PIN_LAPSES + 0.1, self.pump)

    def _arrive(self, receiver: Receiver, said: tuple[Record, int, int, str]) -> None:
        if receiver.process.linked and self._net.up:
            receiver.process.call(receiver.receive, *said)


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
