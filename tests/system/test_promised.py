"""What was promised to users before there was any code, line for line: the lines below are theirs, and not to be bent.

Whoever changes one breaks a promise: an older form stays beside the new one.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from partsong.agents import AgentRole, RoleBasedAgent, RoleLibrary
from partsong.models.routing.complexity import ComplexityAnalyzer
from partsong.models.routing.features import Task as Question
from partsong.tools import ToolRegistry
from partsong.workflow import Task, TaskScheduler, WorkflowGraph


def analyze(state: dict[str, object]) -> dict[str, object]:
    if not state["text"]:
        raise ValueError("nothing to analyze")
    return {"analyzed": True}


def path_a(state: dict[str, object]) -> dict[str, object]:
    return {"path": "A"}


def path_b(state: dict[str, object]) -> dict[str, object]:
    return {"path": "B"}


@pytest.mark.parametrize(("initial_state", "path"), [({"text": "x"}, "A"), ({"text": ""}, "B")])
async def test_a_graph(initial_state: dict[str, str], path: str) -> None:
    graph = WorkflowGraph()
    graph.add_node("analyze", analyze)
    graph.add_node("path_A", path_a)
    graph.add_node("path_B", path_b)
    graph.add_conditional_edge("analyze", {"success": "path_A", "failure": "path_B"})
    result = await graph.execute(initial_state)
    assert (result.status, result["path"]) == ("completed", path)
    assert [item async for item in graph.stream(initial_state)]


async def test_tasks_with_checkpoints(tmp_path: Path) -> None:
    scheduler = TaskScheduler({"writer": "scripted:echo"}, log=tmp_path / "tasks.jsonl")
    tasks = [
        Task(id="draft", description="tea"),
        Task(id="final", description="{{draft}}", depends_on=["draft"]),
    ]
    result = await scheduler.execute_with_checkpointing(tasks)
    assert result.status == "completed"
    checkpoints = scheduler.list_checkpoints()
    for cp in (checkpoints[0], checkpoints[-1]):
        result = await scheduler.resume_from_checkpoint(cp)
        assert (result.status, "tea" in str(result["final"])) == ("completed", True)


async def test_a_task_that_streams_and_one_that_needs_approval() -> None:
    async def approve(request: object) -> bool:
        asked.append(request)
        return True

    asked: list[object] = []
    scheduler = TaskScheduler({"writer": "scripted:echo"}, approve=approve)
    task, agent_name = Task(id="draft", description="tea"), "writer"
    seen = [item async for item in scheduler.execute_task_stream(task, agent_name)]
    assert any(getattr(item, "kind", None) == "text" for item in seen)
    result = await scheduler.execute_task_with_approval(task, agent_name, require_approval=True)
    assert (result.status, len(asked)) == ("completed", 1)
    result = await scheduler.execute_task_with_approval(task, agent_name, require_approval=False)
    assert (result.status, len(asked)) == ("completed", 1)


@pytest.mark.parametrize(
    "role",
    [
        RoleLibrary.PRODUCT_MANAGER,
        RoleLibrary.ARCHITECT,
        RoleLibrary.DEVELOPER,
        RoleLibrary.QA_ENGINEER,
        RoleLibrary.DEVOPS_ENGINEER,
    ],
)
async def test_a_role(role: AgentRole) -> None:
    agent = RoleBasedAgent(role=role)
    result = await agent.call("Define requirements for login feature")
    assert result.output is not None


def test_a_role_of_ones_own() -> None:
    role = AgentRole(name="Editor", goal="Make texts short.", backstory="Once a poet.")
    assert "Make texts short." in role.prompt()


def test_tools() -> None:
    registry = ToolRegistry()
    assert registry.get("calculator").name == "calculator"


def test_complexity() -> None:
    analyzer = ComplexityAnalyzer()
    easy = analyzer.score(Question("What is the capital of France?"))
    hard = analyzer.score(Question("Design a distributed database, prove it, and migrate to it."))
    assert easy.value < hard.value
