"""Tasks become a graph: one node per task, an edge per dependency, and inside a task who does it.

tasks ─▶ research ─▶ write          research = [ approval ─▶ ] researcher
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter

from pydantic import JsonValue

from partsong.contracts.errors import InvalidInput
from partsong.contracts.graph import AgentSpec, Graph, TransformNode
from partsong.workflow.builder import WorkflowGraph
from partsong.workflow.nodes import Specified
from partsong.workflow.tasks import Task

__all__ = [
    "APPROVAL",
    "INPUTS",
    "OUTPUT",
    "PROMPT",
    "START",
    "Doer",
    "TaskGraph",
    "priorities",
    "task_graph",
]

START = "tasks"
"""The node that leads to all tasks without dependencies, and the state key that it writes: priorities by task id."""
APPROVAL = "approval"
"""The node inside a task that asks a person."""
PROMPT = "prompt"
"""Key of the state inside a task: what is to be done."""
INPUTS = "inputs"
"""Key of the state inside a task: the task's own inputs, and the outputs of the tasks that it depends on."""
OUTPUT = "output"
"""Key of the state inside a task: what comes of it."""


@dataclass(frozen=True, slots=True)
class Doer:
    """Who does a task, and what that node is called."""

    name: str
    work: AgentSpec | Specified | str | Callable[..., object]


class TaskGraph(WorkflowGraph):
    """The graph of some tasks. It runs on a bus if agents do all of them."""

    def spec(self, *, portable_functions: bool = True) -> Graph:
        """The graph as it travels.

        Raises:
            InvalidInput: `task.not_portable`, a function does one of the tasks.
        """
        graph = self.compile()
        if portable_functions and (functions := self.functions):
            raise InvalidInput(
                "task.not_portable",
                f"{', '.join(functions)}: the function of a task is called in the scheduler's own process only",
                where="agent",
                fix="give the task to an agent, or write the graph with `WorkflowGraph.add_node`",
            )
        return graph


def task_graph(name: str, tasks: Sequence[Task], doer: Callable[[Task], Doer]) -> TaskGraph:
    """The graph of tasks, checked.

    Raises:
        InvalidInput: `task.none`, `task.duplicate`, `task.reserved_id`, `task.duplicate_output`, `task.input_clash`,
            `task.unknown_dependency`, `task.cycle`.
    """
    by_id = _by_id(tasks)
    for task in tasks:
        _check_inputs(task, by_id)
    _check_order(by_id)
    graph = TaskGraph(name)
    graph.add_transform(START, {START: json.dumps({task.id: task.priority for task in tasks})})
    for task in tasks:
        given: dict[str, JsonValue] = {
            **task.inputs,
            **{other: f"{{{{{by_id[other].key}}}}}" for other in task.depends_on},
        }
        graph.add_subgraph(
            task.id,
            _inner(task, doer(task), bool(given)),
            inputs={PROMPT: task.description, INPUTS: given},
            outputs={task.key: OUTPUT},
        )
    for task in tasks:
        for other in dict.fromkeys(task.depends_on) or (START,):
            graph.add_edge(other, task.id)
    return graph


def priorities(graph: Graph) -> dict[str, int]:
    """The priorities of a graph of tasks, by task id."""
    start = graph.nodes[START]
    assert isinstance(start, TransformNode)  # noqa: S101
    found: dict[str, int] = json.loads(start.set[START])
    return found


def _inner(task: Task, doer: Doer, informed: bool) -> WorkflowGraph:  # noqa: FBT001
    graph = WorkflowGraph(task.id)
    if task.requires_approval:
        graph.add_approval(
            APPROVAL, title=f"Run the task {task.id}?", detail=f"{{{{{PROMPT}}}}}", show=(INPUTS,)
        )
        graph.add_edge(APPROVAL, doer.name, on="approved")
    match doer.work:
        case AgentSpec() | Specified() | str():
            asked = [f"{{{{{PROMPT}}}}}", *([f"{{{{{INPUTS}}}}}"] if informed else [])]
            return graph.add_agent(
                doer.name,
                doer.work,
                prompt="\n\n".join(asked),
                output=OUTPUT,
                retry=task.retry,
                timeout=task.timeout,
            )
        case _:
            return graph.add_node(doer.name, doer.work, retry=task.retry, timeout=task.timeout)


def _by_id(tasks: Sequence[Task]) -> dict[str, Task]:
    if not tasks:
        raise InvalidInput("task.none", "there are no tasks", where="tasks")
    by_id: dict[str, Task] = {}
    keys: dict[str, str] = {}
    for task in tasks:
        where = f"tasks.{task.id}"
        if START in {task.id, task.key}:
            said = f"{START!r} is the key of the priorities, no task and no output can be called so"
            raise InvalidInput("task.reserved_id", said, where=where)
        if task.id in by_id:
            raise InvalidInput("task.duplicate", f"two tasks are called {task.id!r}", where=where)
        if (other := keys.setdefault(task.key, task.id)) != task.id:
            said = f"{other} and {task.id} both write {task.key!r}"
            raise InvalidInput("task.duplicate_output", said, where=f"{where}.output")
        by_id[task.id] = task
    return by_id


def _check_inputs(task: Task, by_id: Mapping[str, Task]) -> None:
    for other in task.depends_on:
        if other not in by_id:
            close = difflib.get_close_matches(other, by_id, n=1)
            raise InvalidInput(
                "task.unknown_dependency",
                f"{task.id} depends on {other!r}, and there is no such task",
                where=f"tasks.{task.id}.depends_on",
                fix=f"did you mean {close[0]}?" if close else f"tasks are: {', '.join(by_id)}",
            )
    if clash := sorted({*task.inputs} & {PROMPT, *task.depends_on}):
        raise InvalidInput(
            "task.input_clash",
            f"{task.id} has an input {clash[0]!r}, which is the name of something else that it sees",
            where=f"tasks.{task.id}.inputs.{clash[0]}",
            fix="give the input another name",
        )


def _check_order(by_id: Mapping[str, Task]) -> None:
    waits: dict[str, Iterable[str]] = {task.id: task.depends_on for task in by_id.values()}
    try:
        TopologicalSorter(waits).prepare()
    except CycleError as error:
        cycle: list[str] = error.args[1]
        raise InvalidInput(
            "task.cycle",
            f"{' → '.join(cycle)}: each of these tasks waits for the one before it, so none can begin",
            where=f"tasks.{cycle[0]}.depends_on",
            fix="leave out one of these dependencies",
        ) from None
