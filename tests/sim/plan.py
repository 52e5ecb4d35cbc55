"""What a seed amounts to: how many engines, workers and runs there are, and which faults happen to them."""

from __future__ import annotations

import random
import shlex
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import JsonValue

from partsong.contracts.graph import Graph, SubgraphNode
from partsong.contracts.wire.subjects import PARTITIONS, partition_of
from tests.sim.graphs import random_graph
from tests.sim.network import Chaos

__all__ = ["FAULTS", "Knobs", "OwnGraph", "Plan", "plan_of"]

FAULTS = (
    "kill engine", "kill worker", "kill people", "cut engine", "cut worker", "doubt", "doubt", "restart", "outage",
    "stop engine", "old stops", "bad record", "lost streams",
)  # fmt: skip


@dataclass(frozen=True)
class OwnGraph:
    """A user's graph, which takes the place of the random ones."""

    graph: Graph
    input: Mapping[str, JsonValue]
    """What its runs are started with."""
    arguments: tuple[str, ...]
    """What names both on the command line."""


@dataclass(frozen=True)
class Knobs:
    """What a caller may hold fixed; the seed chooses the rest."""

    engines: int | None = None
    runs: int | None = None
    faults: int | None = None
    chaos: bool = True
    """Whether messages are lost and late."""
    skew: bool = True
    """Whether clocks may be wrong."""
    own: OwnGraph | None = None

    def line(self) -> str:
        """As arguments of the command line."""
        said = [
            f"--{name} {n}"
            for name in ("engines", "runs", "faults")
            if (n := getattr(self, name)) is not None
        ]
        return " ".join(
            [
                *said,
                *([] if self.chaos else ["--no-chaos"]),
                *([] if self.skew else ["--no-skew"]),
                *([shlex.join(self.own.arguments)] if self.own is not None else []),
            ]
        )


@dataclass(frozen=True)
class Plan:
    """One simulation, before it runs."""

    engines: int
    runners: int
    gateways: int
    runs: tuple[tuple[str, Graph, dict[str, Any]], ...]
    """Id, graph and options of each."""
    partitions: tuple[int, ...]
    faults: tuple[tuple[float, str], ...]
    """When, and what."""
    chaos: Chaos
    skew: float
    lasts: float
    """Seconds until faults stop, and clients no longer interfere."""

    @property
    def alone(self) -> frozenset[str]:
        """Runs that no other one waits for, and that wait for no other one."""
        return frozenset(
            run_id
            for run_id, graph, options in self.runs
            if "thread" not in options
            and not any(isinstance(node, SubgraphNode) for node in graph.nodes.values())
        )


def plan_of(seed: int, knobs: Knobs) -> Plan:
    """The plan of a seed. What is held fixed does not move what is chosen after it."""
    rnd = random.Random(seed * 7919 + 17)
    engines = rnd.choice([1, 2, 2, 2, 3, 3, 4])
    count = rnd.choice([1, 2, 3, 4, 6])
    lasts = rnd.choice([8.0, 15.0, 30.0])
    faults = _faults(rnd, lasts)
    chaos = Chaos(lost=rnd.choice([0, 0, 0.002, 0.02]), late=rnd.choice([0, 0, 0.002, 0.02]))
    skew = rnd.choice([0.0, 0.0, 0.2, 3.0])
    runners, gateways = rnd.choice([1, 2, 3]), rnd.choice([1, 2])
    runs = _runs(
        rnd, count if knobs.runs is None else knobs.runs, knobs.own.graph if knobs.own else None
    )
    return Plan(
        engines=engines if knobs.engines is None else knobs.engines,
        runners=runners,
        gateways=gateways,
        runs=runs,
        partitions=_partitions(runs),
        faults=faults if knobs.faults is None else faults[: knobs.faults],
        chaos=chaos if knobs.chaos else Chaos(),
        skew=skew if knobs.skew else 0.0,
        lasts=lasts,
    )


def _partitions(runs: Iterable[tuple[str, Graph, dict[str, Any]]]) -> tuple[int, ...]:
    """Those that the runs can be in, and their forks; those of detached runs are not worked out."""
    if any(isinstance(n, SubgraphNode) for _, graph, _ in runs for n in graph.nodes.values()):
        return tuple(range(PARTITIONS))
    return tuple(sorted({partition_of(id_ + tail) for id_, _, _ in runs for tail in ("", "f")}))


def _faults(rnd: random.Random, lasts: float) -> tuple[tuple[float, str], ...]:
    count = rnd.choice([0, 1, 2, 4, 8, 16])
    return tuple((rnd.uniform(0.0, lasts), rnd.choice(FAULTS)) for _ in range(count))


def _runs(
    rnd: random.Random, count: int, graph: Graph | None
) -> tuple[tuple[str, Graph, dict[str, Any]], ...]:
    threaded = rnd.random() < 0.25
    busy = rnd.choice(["enqueue", "enqueue", "reject", "cancel_previous", "allow"])
    runs = []
    for n in range(count):
        options: dict[str, Any] = {"max_steps": 200}
        if threaded and n < 3:
            options |= {"thread": "t", "on_busy": busy}
        runs.append((f"r_{n}", graph or random_graph(rnd, f"g{n}"), options))
    return tuple(runs)
