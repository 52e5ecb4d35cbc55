"""The quality bars: what is promised, and which of the peers' figures stands beside it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

__all__ = ["BARS", "Bar", "PeerFigure"]


@dataclass(frozen=True, slots=True)
class PeerFigure:
    """Where a peer's script reports the same work."""

    group: str
    """What its `--only` takes."""
    name: str


@dataclass(frozen=True, slots=True)
class Bar:
    """One promise."""

    work: str
    unit: str
    limit: float
    better: Literal["less", "more"] = "less"
    peer: PeerFigure | None = None

    def holds(self, value: float) -> bool:
        """Whether a measured value keeps the promise."""
        return value <= self.limit if self.better == "less" else value >= self.limit

    def __str__(self) -> str:
        return f"{'≤' if self.better == 'less' else '≥'} {self.limit:g} {self.unit}"


_STEP = PeerFigure("sequential_step", "sequential_step")
_RUNS = PeerFigure("concurrent_runs", "concurrent_runs")
_RUNS_P99 = PeerFigure("concurrent_runs", "concurrent_p99")

BARS: dict[str, Bar] = {
    "step.one_process": Bar(
        "durable step: 100 function nodes in a row, 1 KB state, engine and functions in one process",
        "ms",
        0.8,
        peer=_STEP,
    ),
    "step.across": Bar(
        "durable step: the same graph, across engine and tool-runner processes",
        "ms",
        2.0,
        peer=_STEP,
    ),
    "step.across_fast": Bar("durable step across processes, with --fast", "ms", 1.2, peer=_STEP),
    "runs.rate": Bar(
        "1,000 concurrent runs of 10 nodes, durable, across processes",
        "runs/s",
        120,
        "more",
        peer=_RUNS,
    ),
    "runs.rate_fast": Bar(
        "1,000 concurrent runs of 10 nodes, with --fast", "runs/s", 400, "more", peer=_RUNS
    ),
    "runs.two_engines": Bar(
        "1,000 concurrent runs of 10 nodes, two engines and two tool-runners",
        "runs/s",
        120,
        "more",
        peer=_RUNS,
    ),
    "runs.conflicts": Bar("commits refused there, because another engine was first", "commits", 0),
    "runs.p99": Bar(
        "1,000 concurrent runs of 10 nodes: request to end, p99", "s", 10, peer=_RUNS_P99
    ),
    "checkpoint.overhead": Bar("a run of 20 ms nodes, durable log against memory log", "%", 5),
    "disk.short": Bar(
        "bytes on disk per step, 1 KB updates, 100 steps",
        "KB/step",
        2,
        peer=PeerFigure("disk_per_step", "disk_replace_short"),
    ),
    "disk.long": Bar(
        "bytes on disk per step, 1 KB updates, 1,000 steps",
        "KB/step",
        2,
        peer=PeerFigure("disk_per_step", "disk_replace_long"),
    ),
    "disk.append_long": Bar(
        "bytes on disk per step, 1 KB appended to the state, 1,000 steps",
        "KB/step",
        2,
        peer=PeerFigure("disk_per_step", "disk_append_long"),
    ),
    "kill.repeated": Bar("steps repeated per run after kill -9 of a service", "steps", 1),
    "kill.lost": Bar("steps lost after kill -9 of a service, 100 runs", "steps", 0),
    "kill.restart": Bar("first new step after a killed service is started again", "s", 1),
    "kill.takeover": Bar("first new step by a live peer of a killed service", "s", 5),
    "chunk.p50": Bar("chunk, provider socket to NATS subscriber, 1,000 chunks/s, median", "ms", 3),
    "chunk.p99": Bar("chunk, provider socket to NATS subscriber, 1,000 chunks/s, p99", "ms", 20),
    "streams.p50": Bar(
        "chunk, provider socket to NATS subscriber, 100 streams at once, median", "ms", 3
    ),
    "streams.p99": Bar(
        "chunk, provider socket to NATS subscriber, 100 streams at once, p99", "ms", 100
    ),
    "fold.run": Bar(
        "fold of a 1,000-event run from the log", "ms", 50, peer=PeerFigure("history", "history")
    ),
    "fold.state_at": Bar(
        "state at any step of that run, with snapshots",
        "ms",
        10,
        peer=PeerFigure("history", "state_at"),
    ),
    "log.loop": Bar(
        "bytes in the log per step, a loop of 1,000 steps that appends 1 KB each, in one process",
        "KB/step",
        2,
        peer=PeerFigure("disk_per_step", "disk_append_long"),
    ),
    "log.chain_short": Bar(
        "bytes in the log per step, 100 nodes in a row, in one process",
        "KB/step",
        2,
        peer=PeerFigure("disk_per_step", "disk_replace_short"),
    ),
    "log.chain_long": Bar(
        "bytes in the log per step, 1,000 nodes in a row, in one process",
        "KB/step",
        2,
        peer=PeerFigure("disk_per_step", "disk_replace_long"),
    ),
    "fan_out.100": Bar(
        "fan-out over 100 items and back, durable, in one process",
        "ms",
        500,
        peer=PeerFigure("fan_out", "fan_out_100"),
    ),
    "fan_out.1000": Bar(
        "fan-out over 1,000 items and back, durable, in one process",
        "ms",
        5000,
        peer=PeerFigure("fan_out", "fan_out_1000"),
    ),
    "past.history": Bar(
        "list all checkpoints of a run of 1,000 steps that appends 1 KB each",
        "ms",
        200,
        peer=PeerFigure("past", "past_history"),
    ),
    "past.state_at": Bar(
        "state at step 500 of that run, with snapshots",
        "ms",
        10,
        peer=PeerFigure("past", "past_state_at"),
    ),
    "past.fork": Bar(
        "fork that run at step 500 with another value, and let it end one step later",
        "ms",
        200,
        peer=PeerFigure("past", "past_fork"),
    ),
    "up.demo": Bar("`partsong up` to the first finished demo run", "s", 5),
    "up.help": Bar("`partsong --help`", "ms", 200),
}
