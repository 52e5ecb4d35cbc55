"""Models that users make themselves refuse what does not fit as everything else does: `InvalidInput`, with the field."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from pydantic import BaseModel, ValidationError

from partsong.agents import AgentRole
from partsong.contracts.errors import InvalidInput
from partsong.contracts.graph import Graph
from partsong.contracts.graph.validate import parse_graph
from partsong.teams import Plan, PlannedTask
from partsong.workflow import AgentSpec, AtLeast, Retry, Task, WorkflowGraph

NAN = float("nan")
DEEP: list[object] = []
DEEP.append(DEEP)


def step(_state: dict[str, object]) -> dict[str, object]:
    return {}


INNER = WorkflowGraph("inner").add_node("a", step)

# What a type checker refuses is tried as those write it who have none.
MADE: dict[str, tuple[type[BaseModel], dict[str, object], str, str]] = {
    "a set": (Task, {"id": "a", "inputs": {"x": {1}}}, "task.malformed", "inputs.x"),
    "no number": (Task, {"id": "a", "inputs": {"x": [NAN]}}, "task.malformed", "inputs.x[0]"),
    "a NUL": (Task, {"id": "a", "inputs": {"x": "\0"}}, "task.malformed", "inputs.x"),
    "half a character": (
        Task,
        {"id": "a", "inputs": {"x": "\ud800"}},
        "task.malformed",
        "inputs.x",
    ),
    "too large": (Task, {"id": "a", "inputs": {"x": 2**64}}, "task.malformed", "inputs.x"),
    "within itself": (
        Task,
        {"id": "a", "inputs": {"x": DEEP}},
        "task.malformed",
        "inputs.x" + "[0]" * 99,
    ),
    "no name": (Task, {"id": "a b"}, "task.malformed", "id"),
    "no field": (Task, {"id": "a", "inputz": {}}, "task.malformed", "inputz"),
    "turns": (AgentSpec, {"model": "openai:x", "max_turns": -1}, "agent.malformed", "max_turns"),
    "attempts": (Retry, {"attempts": 0}, "graph.malformed", "attempts"),
    "branches": (AtLeast, {"n": 0}, "graph.malformed", "n"),
    "a graph": (Graph, {"name": 7}, "graph.malformed", "name"),
    "a plan": (Plan, {"summary": "s", "tasks": 7}, "plan.malformed", "tasks"),
    "a task of a plan": (PlannedTask, {"id": 7}, "plan.malformed", "id"),
    "a role": (AgentRole, {"name": ""}, "role.malformed", "name"),
}


@pytest.mark.parametrize("what", MADE)
def test_what_does_not_fit_is_invalid_input_that_names_the_field(what: str) -> None:
    kind, fields, code, where = MADE[what]
    with pytest.raises(InvalidInput) as refused:
        kind(**fields)
    problem = refused.value.problem
    assert (problem.code, problem.where) == (code, where)
    assert "pydantic" not in problem.message


BUILT: dict[str, Callable[[WorkflowGraph], object]] = {
    "graph.nodes.m.inputs.s": lambda g: g.add_map(
        "m", INNER, over="l", into="o", inputs={"s": NAN}
    ).add_edge("a", "m"),
    "graph.nodes.t.args.x": lambda g: g.add_tool("t", "calculator", args={"x": NAN}).add_edge(
        "a", "t"
    ),
    "to": lambda g: g.add_edge("a", None),  # type: ignore[arg-type]
    "nodes.t.tool": lambda g: g.add_tool("t", step),  # type: ignore[arg-type]
}


def compiled(build: Callable[[WorkflowGraph], object], graph: WorkflowGraph) -> Graph:
    build(graph)
    return graph.compile()


@pytest.mark.parametrize("where", BUILT)
def test_so_do_graphs_that_are_built(where: str) -> None:
    graph = WorkflowGraph("g").add_node("a", step)
    with pytest.raises(InvalidInput) as refused:
        compiled(BUILT[where], graph)
    assert refused.value.problem.where == where


def test_models_within_models_are_found_with_their_whole_path() -> None:
    with pytest.raises(InvalidInput) as refused:
        parse_graph(
            {
                "name": "g",
                "nodes": {"a": {"type": "function", "function": "m:f", "retry": {"attempts": 0}}},
            }
        )
    assert refused.value.problem.where == "graph.nodes.a.function.retry.attempts"
    with pytest.raises(ValidationError):
        Graph.model_validate({"name": 7})


def test_what_fits_is_made_as_ever() -> None:
    task = Task.model_validate({"id": "a", "inputs": {"x": ({"y": 1},)}})
    assert task.inputs == {"x": [{"y": 1}]}
    assert task == Task(id="a", inputs={"x": [{"y": 1}]})
