"""DBOS with its SQLite system database: a step's result is stored before the next one starts."""

from __future__ import annotations

import asyncio
import statistics
import time
from pathlib import Path

from dbos import DBOS, SetWorkflowID
from report import FIGURE_SECONDS, KILOBYTE, Sizes, bytes_on_disk, percentile, play, say, timed


@DBOS.step()
async def replace() -> str:
    """A no-op step whose result is 1 KB."""
    return KILOBYTE


@DBOS.workflow()
async def chain(steps: int) -> int:
    """`steps` steps, one after the other."""
    for _ in range(steps):
        await replace()
    return steps


class Launched:
    """DBOS over a fresh database in a folder, until the block ends."""

    def __init__(self, folder: Path, stem: str) -> None:
        self._url = f"sqlite:///{folder / stem}.db"

    async def __aenter__(self) -> None:
        DBOS(
            config={
                "name": "peer",
                "system_database_url": self._url,
                "log_level": "ERROR",
                "notification_listener_polling_interval_sec": 0.05,
            }
        )
        DBOS.launch()

    async def __aexit__(self, *_: object) -> None:
        await asyncio.to_thread(DBOS.destroy)


async def run(name: str, steps: int) -> None:
    with SetWorkflowID(name):
        await chain(steps)


async def sequential_step(sizes: Sizes, folder: Path) -> None:
    async with Launched(folder, "seq"):
        await run("warm", sizes.chain)
        took = []
        for index in range(sizes.rounds):
            with timed() as seconds:
                await run(f"r{index}", sizes.chain)
            took.append(seconds() * 1000 / sizes.chain)
    say("sequential_step", statistics.median(took), "ms")


async def concurrent_runs(sizes: Sizes, folder: Path) -> None:
    """100 at a time, so that the figure can stop in time (all 1,000 at once run at the same rate)."""
    async with Launched(folder, "many"):
        await run("warm", sizes.run_nodes)
        ended: list[float] = []
        start = time.perf_counter()
        door = asyncio.Semaphore(100)

        async def one(index: int) -> None:
            async with door:
                if time.perf_counter() - start < FIGURE_SECONDS - 10:
                    await run(f"r{index}", sizes.run_nodes)
                    ended.append(time.perf_counter() - start)

        await asyncio.gather(*(one(index) for index in range(sizes.runs)))
    short = len(ended) < sizes.runs
    note = (
        f"{len(ended)} of {sizes.runs} runs begun within {FIGURE_SECONDS - 10} s" if short else ""
    )
    say("concurrent_runs", len(ended) / max(ended), "runs/s", note)
    say("concurrent_p99", percentile(ended, 0.99), "s", note)


async def disk_per_step(sizes: Sizes, folder: Path) -> None:
    for size, steps in (("short", sizes.short), ("long", sizes.long)):
        async with Launched(folder, size):
            empty = bytes_on_disk(folder, f"{size}.db")
            await run("r", steps)
        grown = (bytes_on_disk(folder, f"{size}.db") - empty) / steps / 1024
        say(f"disk_replace_{size}", grown, "KB/step", f"{steps} steps")


async def history(sizes: Sizes, folder: Path) -> None:
    """Every recorded step of one long run (DBOS keeps results of steps, not states)."""
    async with Launched(folder, "long"):
        await run("r", sizes.long)
    async with Launched(folder, "long"):
        with timed() as seconds:
            steps = await DBOS.list_workflow_steps_async("r")
        say("history", seconds() * 1000, "ms", f"{len(steps)} steps")


if __name__ == "__main__":
    figures = {
        "sequential_step": sequential_step,
        "concurrent_runs": concurrent_runs,
        "disk_per_step": disk_per_step,
        "history": history,
    }
    asyncio.run(play("DBOS + SQLite", "dbos", figures))
