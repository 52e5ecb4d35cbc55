"""Tasks that leave a trace; as a program, a process that begins them and is killed in the middle.

python -m tests.system.task_crew FOLDER
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from pydantic import JsonValue

from partsong.workflow import Task, TaskScheduler

TASKS = [
    Task(id="left"),
    Task(id="right"),
    Task(id="middle", depends_on=["left", "right"]),
    Task(id="last", depends_on=["middle"]),
]


def scheduler(folder: Path, *, stuck: bool) -> TaskScheduler:
    """Someone who does these tasks; `stuck`: who never ends the third of them."""

    async def work(inputs: dict[str, JsonValue]) -> int:
        done = sorted(name for name in inputs if name != "prompt")
        with (folder / "done").open("a") as file:
            file.write(f"{','.join(done)}\n")
        if stuck and done == ["left", "right"]:
            print("stuck", flush=True)
            await asyncio.Event().wait()
        return len(done)

    return TaskScheduler({"work": work}, log=folder / "log.jsonl")


if __name__ == "__main__":
    asyncio.run(scheduler(Path(sys.argv[1]), stuck=True).execute_with_checkpointing(TASKS))
