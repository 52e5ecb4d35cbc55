"""What all parts of one simulation share: the broker, the processes, and what is written down of what happened."""

from __future__ import annotations

import random
from collections import Counter
from contextvars import copy_context
from dataclasses import dataclass, field

from partsong.contracts.graph import Graph
from tests.sim.broker import Broker
from tests.sim.loop import Process, SimLoop

__all__ = ["Asked", "World"]


@dataclass
class Asked:
    """A request of a client, as it was sent."""

    id: str
    verb: str
    run_id: str
    body: bytes
    head: int
    """Where the log stood when it was first sent."""
    time: float
    about: dict[str, str] = field(default_factory=dict)


class World:
    """One simulation's world."""

    def __init__(self, loop: SimLoop, broker: Broker) -> None:
        self.loop, self.broker = loop, broker
        self.random: random.Random = loop.random
        self.context = copy_context()
        """Outside all processes."""
        self.effects: Counter[tuple[str, str, str, int]] = Counter()
        """How often each attempt of each call was made: kind, run, call, attempt."""
        self.acted: Counter[str] = Counter()
        """How often each claim was acted on."""
        self.asked: dict[str, Asked] = {}
        self.graphs: dict[str, Graph] = {}
        """By run: the graph it is started with."""
        self.findings: list[str] = []
        self.trace: list[str] | None = None
        self.alone: set[Process] = set()
        """Engines that hear of no other."""
        self.spoiled: set[str] = set()
        """Runs in whose log somebody has written what is no record of ours, and their forks."""
        self.lines_lost: float | None = None
        """When the broker first lost the lines of threads."""
        self.quiet = False
        """Faults have stopped; people answer everything now."""

    def say(self, what: str) -> None:
        """A line of the trace."""
        if self.trace is not None:
            self.trace.append(f"{self.loop.time():9.4f} {self.broker.log.head:5} {what}")

    def find(self, what: str) -> None:
        """Something that must not be."""
        self.say(f"FINDING {what}")
        self.findings.append(what)

    def process(self, name: str, *, skew: float = 0.0) -> Process:
        """A process begins."""
        process = Process(self.loop, name, skew=skew)
        self.broker.processes[name] = process
        self.say(f"{name} begins")
        return process

    def engines(self, watcher: Process) -> set[str]:
        """The engines that one of them takes for alive."""
        if watcher in self.alone:
            return {watcher.name}
        names = (name for name in self.broker.processes if name.startswith("engine"))
        return {name for name in names if not self.silent(watcher, name)}

    def silent(self, watcher: Process, worker: str) -> bool:
        """Whether a worker is to be taken for dead, as `Watch.silent` says it from heartbeats."""
        now, processes = self.loop.time(), self.broker.processes
        if not self.broker.net.up or not watcher.linked:
            return False  # it is we who are cut off
        found = processes.get(worker)
        if found is None:
            return True
        name = worker.partition("~")[0]
        newer = [p for n, p in processes.items() if n.partition("~")[0] == name and p is not found]
        if not found.alive and any(p.linked and now - 1 > p.began > found.began for p in newer):
            return True
        if found.linked:
            return False
        last = found.died if not found.alive else found.cut_since or 0.0
        return now - max(last, watcher.linked_since) > 5.0
