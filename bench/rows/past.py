"""Long runs and wide ones, in one process on a durable file: bytes, fan-out, history, the past, forks."""

from __future__ import annotations

import statistics
from collections.abc import Awaitable, Callable
from pathlib import Path

from bench.row import Context, Row
from bench.work import ROUNDS, chain, loop
from partsong.contracts.graph import Graph
from partsong.contracts.graph.validate import parse_graph
from partsong.contracts.state.results import RunResult
from partsong.contracts.state.state import RunState
from partsong.contracts.wire.subjects import Subjects
from partsong.engine.local.player import Player, open_player
from partsong.log.file import FileLog
from partsong.log.snapshots.file import FileSnapshots
from partsong.log.snapshots.folded import Folded, due, fold_to, pack
from partsong.runtime.clock import monotonic

__all__ = ["measure"]


async def measure(context: Context) -> list[Row]:
    """Everything that costs LangGraph more the longer a run is."""
    long = context.size(1000, 200)
    rows = [
        await _bytes(context, "log.loop", loop(growing=True).compile(), long),
        await _bytes(context, "log.chain_short", chain(context.size(100, 50)).compile(), 0),
        await _bytes(context, "log.chain_long", chain(long).compile(), 0),
        await _wide(context, "fan_out.100", 100),
        await _wide(context, "fan_out.1000", context.size(1000, 300)),
    ]
    return [*rows, *await _past(context, long)]


async def _bytes(context: Context, bar: str, graph: Graph, rounds: int) -> Row:
    """What the log of one run weighs, per step."""
    file = context.folder / bar
    async with open_player(graph, {}, log=str(file)) as player:
        _completed(await player.execute({ROUNDS: rounds}))
    steps = rounds or len(graph.nodes)
    return context.promised(bar, _size(file) / steps / 1024, note=f"{steps} steps")


def _size(path: Path) -> int:
    files = path.rglob("*") if path.is_dir() else path.parent.glob(f"{path.name}*")
    return sum(file.stat().st_size for file in files if file.is_file())


async def _wide(context: Context, bar: str, width: int) -> Row:
    inner = {
        "name": "item",
        "entry": "step",
        "nodes": {"step": {"type": "function", "function": "bench.work:step"}},
    }
    each = {"type": "map", "graph": inner, "over": "items", "into": "results", "inputs": {}}
    graph = parse_graph({"name": "wide", "entry": "each", "nodes": {"each": each}})
    took: list[float] = []
    for index in range(context.size(3, 1)):
        async with open_player(graph, {}, log=str(context.folder / f"{bar}-{index}")) as player:
            start = monotonic()
            _completed(await player.execute({"items": list(range(width))}))
            took.append((monotonic() - start) * 1000)
    return context.promised(bar, statistics.median(took), note=f"{width} items, 1 KB each")


async def _past(context: Context, rounds: int) -> list[Row]:
    graph = loop(growing=True).compile()
    folder = context.folder / "past"
    snapshots = FileSnapshots(context.folder / "snapshots")
    async with (
        await FileLog.open(folder) as log,
        open_player(graph, {}, log=log) as player,
    ):
        _completed(await player.execute({ROUNDS: rounds}, run_id="r_long"))
        await _kept(log, snapshots, "r_long")
        checkpoints = await player.history("r_long")
        middle = checkpoints[len(checkpoints) // 2].seq
        listed = await _timed(lambda: player.history("r_long"))
        then = await _timed(lambda: fold_to(log, Subjects(), "r_long", snapshots, middle))
        forked = await _timed(lambda: _fork(player, middle))
    note = f"{rounds} steps of 1 KB, {len(checkpoints)} checkpoints"
    return [
        context.promised("past.history", listed, note=note),
        context.promised("past.state_at", then, note=f"{note}, at the middle"),
        context.promised("past.fork", forked, note=f"{note}, at the middle, one step to its end"),
    ]


async def _kept(log: FileLog, snapshots: FileSnapshots, run_id: str) -> None:
    """Snapshots as an engine on a bus would have kept them."""
    folded = Folded(RunState(run_id))
    records = size = last = 0
    subjects = Subjects()
    async for record in log.read(subjects.run(run_id)):
        folded, records, size = folded.after(record, subjects), records + 1, size + len(record.body)
        if due(records, size, last):
            packed, cost = pack(folded)
            await snapshots.put(packed)
            records, size, last = 0, 0, cost


async def _fork(player: Player, seq: int) -> RunResult:
    return _completed(await player.fork("r_long", seq, values={ROUNDS: 1}))


async def _timed(work: Callable[[], Awaitable[object]]) -> float:
    """Milliseconds, the median of five after one that warms up."""
    await work()
    took: list[float] = []
    for _ in range(5):
        start = monotonic()
        await work()
        took.append((monotonic() - start) * 1000)
    return statistics.median(took)


def _completed(result: RunResult) -> RunResult:
    if result.status != "completed":
        raise RuntimeError(f"run {result.run_id} is {result.status}: {result.error}")
    return result
