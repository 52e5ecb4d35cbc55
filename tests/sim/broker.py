"""The broker: the log, its consumers, the queues, the timers and the buckets; one object for all simulated processes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from partsong.contracts.graph import Graph
from partsong.contracts.wire.requests import Accepted, Rejected
from partsong.contracts.wire.stop import Stop
from partsong.contracts.wire.subjects import PARTITIONS, Subjects
from partsong.log.port import Record
from tests.sim.consumers import Queue
from tests.sim.loop import EPOCH, Process, SimLoop
from tests.sim.network import Network
from tests.sim.stream import Stream

__all__ = ["SUBJECTS", "Answer", "Broker"]

SUBJECTS = Subjects()


@dataclass(frozen=True)
class Answer:
    """What a request was answered, and where the log stood then."""

    reply: Accepted | Rejected
    head: int
    time: float


class Broker:
    """Everything that outlives the processes."""

    def __init__(self, loop: SimLoop, partitions: tuple[int, ...]) -> None:
        self.loop = loop
        self.net = Network(loop)
        self.log = Stream(loop)
        self.partitions = partitions
        self.grown = {partition: asyncio.Event() for partition in range(PARTITIONS)}
        """Set when a partition has new records; then it has another one."""
        self.graphs: dict[str, Graph] = {}
        """By hash."""
        self.requests = Queue(self.net, "requests", 3.0)
        self.fired = Queue(self.net, "fired", 3.0)
        self.work = {
            service: Queue(self.net, service, 2.0) for service in ("tool-runner", "agent-gateway")
        }
        self.buckets: dict[str, tuple[bytes | None, int]] = {}
        """Value and revision of each key."""
        self.revision = 0
        self.timers: dict[str, str] = {}
        """By subject of the firing: when it is due."""
        self.stopped: list[tuple[str, Stop]] = []
        """All that were broadcast."""
        self.stops: list[tuple[Process, Callable[[str, Stop], None]]] = []
        self.answers: dict[str, list[Answer]] = {}
        self.waiting: dict[str, asyncio.Event] = {}
        """Who waits for the answer to a request."""
        self.processes: dict[str, Process] = {}
        """The newest process of each worker id."""
        self.log.watchers.append(self._appended)

    def _appended(self, record: Record) -> None:
        partition = SUBJECTS.parse_log(record.subject).partition
        grown, self.grown[partition] = self.grown[partition], asyncio.Event()
        self.net.later(self.net.latency(), grown.set)

    def answer(self, process: Process, reply: Accepted | Rejected) -> None:
        """Publish the answer to a request; while there is no connection, it is kept."""
        if process.linked and self.net.up:
            said = Answer(reply, self.log.head, self.loop.time())
            self.answers.setdefault(reply.id, []).append(said)
            if (waiting := self.waiting.get(reply.id)) is not None:
                waiting.set()
        elif process.alive:
            self.loop.call_later(0.5, self.answer, process, reply)

    def set_timer(self, target: str, at: str) -> bool:
        """A firing is due at a time of the broker's clock; set again, the newer one counts."""
        self.timers[target] = at
        due = datetime.fromisoformat(at).timestamp() - EPOCH - self.loop.time()
        self.net.later(max(0.0, due), self._fire, target, at)
        return True

    def _fire(self, target: str, at: str) -> None:
        if self.timers.get(target) != at:
            return
        if not self.net.up:
            self.net.later(0.5, self._fire, target, at)
            return
        del self.timers[target]
        self.fired.put(target, at)

    def stop_run(self, run_id: str, stop: Stop) -> None:
        """Broadcast a stop, and remember it: it may be heard once more."""
        if (run_id, stop) not in self.stopped:
            self.stopped.append((run_id, stop))
        for process, handler in self.stops:
            if process.alive:
                self.net.hand(process, handler, run_id, stop)

    # --- what happens to it ---------------------------------------------------------------------------------------

    def down(self) -> None:
        """The server dies; what is stored stays."""
        self.net.up = False

    def back(self) -> None:
        """The server is there again."""
        self.net.up = True
        for process in self.processes.values():
            process.linked_since = self.loop.time()
