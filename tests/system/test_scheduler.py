"""A scheduler's runs outlive the process that began them, and its tasks run on a bus as they are."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from partsong.testing.nats import Bus
from partsong.workflow import AgentSpec, Task, TaskScheduler
from tests.house.sources import ROOT
from tests.system.platform import a_platform, decide
from tests.system.task_crew import TASKS, scheduler

WITHIN = 60.0
"""Seconds a test waits for something that takes less than two."""


async def test_a_run_whose_process_was_killed_goes_on_and_no_finished_task_runs_again(
    tmp_path: Path,
) -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "tests.system.task_crew",
        str(tmp_path),
        cwd=ROOT,
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None
    try:
        assert await asyncio.wait_for(process.stdout.readline(), WITHIN) == b"stuck\n"
    finally:
        process.kill()
        await process.wait()
    later = scheduler(tmp_path, stuck=False)
    interrupted = later.list_checkpoints()[-1]
    assert interrupted.status == "running"
    result = await asyncio.wait_for(later.resume_from_checkpoint(interrupted), WITHIN)
    assert (result.status, result.run_id) == ("completed", interrupted.run_id)
    assert dict(result) == {"left": 0, "right": 0, "middle": 2, "last": 1}
    assert list(result) == [task.id for task in TASKS]
    # Only what was in flight was done twice.
    assert (tmp_path / "done").read_text().split("\n") == [
        "",
        "",
        "left,right",
        "left,right",
        "middle",
        "",
    ]


async def test_tasks_of_agents_run_on_the_bus_as_they_do_in_one_process(bus: Bus) -> None:
    tasks = [
        Task(id="draft", description="Say hello to {{who}}"),
        Task(id="send", description="Send it", depends_on=["draft"], requires_approval=True),
    ]
    here = TaskScheduler({"writer": AgentSpec(model="scripted:echo")}, approve=_agree)
    local = await here.execute_with_checkpointing(tasks, input={"who": "Ann"})
    async with a_platform(bus) as platform:
        run_id = await platform.client.start(here.graph(tasks), {"who": "Ann"})
        await asyncio.wait_for(decide(bus, platform, run_id, approve=True), WITHIN)
        result = await platform.client.result(run_id, timeout=WITHIN)
    assert result.status == "completed"
    assert {task.id: result[task.id] for task in tasks} == dict(local)


async def _agree(_request: object) -> bool:
    return True
