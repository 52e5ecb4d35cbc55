"""Which tasks are a graph, and which graph they are."""

from __future__ import annotations

import pytest

from partsong.contracts.errors import InvalidInput
from partsong.contracts.graph import AgentNode, ApprovalNode, SubgraphNode
from partsong.workflow import AgentSpec, Task, TaskScheduler


def scheduler() -> TaskScheduler:
    return TaskScheduler({"writer": AgentSpec(model="scripted:echo"), "shout": str.upper})


def problem(*tasks: Task) -> tuple[str, str]:
    with pytest.raises(InvalidInput) as found:
        scheduler().graph(tasks)
    return found.value.problem.code, found.value.problem.message


def test_a_cycle_names_its_tasks() -> None:
    code, said = problem(
        Task(id="free", agent="writer"),
        Task(id="a", agent="writer", depends_on=("c",)),
        Task(id="b", agent="writer", depends_on=("a",)),
        Task(id="c", agent="writer", depends_on=("b",)),
    )
    assert code == "task.cycle"
    assert all(f"{name} →" in said for name in "abc")
    assert "free" not in said


def test_a_dependency_that_is_no_task_is_named_and_one_that_comes_close_is_proposed() -> None:
    tasks = [Task(id="research", agent="writer"), Task(id="write", depends_on=("reserch",))]
    with pytest.raises(InvalidInput) as found:
        scheduler().graph(tasks)
    assert found.value.problem.code == "task.unknown_dependency"
    assert found.value.problem.message.startswith("write depends on 'reserch'")
    assert found.value.problem.fix == "did you mean research?"


@pytest.mark.parametrize(
    ("tasks", "code"),
    [
        ((), "task.none"),
        ((Task(id="a", agent="writer"), Task(id="a", agent="writer")), "task.duplicate"),
        ((Task(id="tasks", agent="writer"),), "task.reserved_id"),
        (
            (Task(id="a", agent="writer"), Task(id="b", agent="writer", output="a")),
            "task.duplicate_output",
        ),
        ((Task(id="a", agent="writer", inputs={"prompt": 1}),), "task.input_clash"),
        ((Task(id="a", agent="writr"),), "task.unknown_agent"),
        ((Task(id="a"),), "task.unknown_agent"),
    ],
)
def test_tasks_that_make_no_graph_are_refused(tasks: tuple[Task, ...], code: str) -> None:
    assert problem(*tasks)[0] == code


def test_agents_need_names_that_nodes_can_have() -> None:
    for name in ("Product Manager", "approval", ""):
        with pytest.raises(InvalidInput) as found:
            TaskScheduler({name: "scripted:echo"})
        assert found.value.problem.code == "agent.bad_name"


def test_no_task_could_begin_with_a_limit_of_none_at_once() -> None:
    with pytest.raises(InvalidInput) as found:
        TaskScheduler({"writer": "scripted:echo"}, max_concurrency=0)
    assert found.value.problem.where == "max_concurrency"


def test_a_task_is_a_subgraph_with_who_does_it_and_who_is_asked() -> None:
    made = scheduler().graph(
        [
            Task(id="a", description="Find {{topic}}", agent="writer", requires_approval=True),
            Task(id="b", agent="writer", depends_on=["a"], output="text", timeout="2s"),
        ]
    )
    graph = made.spec()
    assert {(edge.source, edge.to) for edge in graph.edges} == {("tasks", "a"), ("a", "b")}
    first, second = graph.nodes["a"], graph.nodes["b"]
    assert isinstance(first, SubgraphNode)
    assert isinstance(second, SubgraphNode)
    assert isinstance(first.graph.nodes["approval"], ApprovalNode)
    assert first.inputs == {"prompt": "Find {{topic}}", "inputs": {}}
    assert second.inputs == {"prompt": "", "inputs": {"a": "{{a}}"}}
    assert second.outputs == {"text": "output"}
    writer = second.graph.nodes["writer"]
    assert isinstance(writer, AgentNode)
    assert (writer.timeout, writer.agent.model) == (2.0, "scripted:echo")


def test_tasks_of_functions_do_not_travel() -> None:
    with pytest.raises(InvalidInput) as found:
        scheduler().graph([Task(id="a", agent="shout")]).spec()
    assert found.value.problem.code == "task.not_portable"
