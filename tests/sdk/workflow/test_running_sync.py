"""Graphs and tasks that a script runs to their end without `await`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from partsong.contracts.errors import InvalidInput
from partsong.workflow import Task, TaskScheduler, WorkflowGraph


def double(state: dict[str, Any]) -> dict[str, Any]:
    return {"n": state["n"] * 2}


def answer(task: str) -> str:
    return "done"


def graph() -> WorkflowGraph:
    return WorkflowGraph("doubled").add_node("double", double)


def test_a_script_runs_a_graph_and_goes_on_with_the_result(tmp_path: Path) -> None:
    log = str(tmp_path / "runs.jsonl")
    first = graph().execute_sync({"n": 21}, run_id="r_1", log=log, labels={"of": "script"})
    assert (first.status, first["n"]) == ("completed", 42)
    assert graph().execute_sync({"n": 21}, run_id="r_1", log=log)["n"] == 42


def test_a_script_does_tasks() -> None:
    tasks = [Task(id="a", description="one"), Task(id="b", description="two", depends_on=["a"])]
    scheduler = TaskScheduler({"who": answer})
    done = scheduler.execute_with_checkpointing_sync(tasks, input={"x": 1}, run_id="r_2")
    assert (done.run_id, done.status) == ("r_2", "completed")


async def test_a_coroutine_is_told_to_await() -> None:
    with pytest.raises(InvalidInput, match=r"await graph\.execute") as caught:
        graph().execute_sync({"n": 1})
    assert caught.value.problem.code == "sync.running_loop"
    with pytest.raises(InvalidInput, match=r"await scheduler\.execute_with_checkpointing"):
        TaskScheduler({"who": answer}).execute_with_checkpointing_sync([])
