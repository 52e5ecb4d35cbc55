"""Tasks as a scheduler takes them, and what becomes of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field, JsonValue

from partsong.contracts.durations import AnySeconds
from partsong.contracts.errors import Problem, RunFailed
from partsong.contracts.graph import NodeName, Retry, SubgraphNode
from partsong.contracts.graph.misfits import refusing
from partsong.contracts.graph.nodes import SpecBase
from partsong.contracts.plain import plain
from partsong.contracts.state.results import failure
from partsong.contracts.state.state import Execution, RunState, Status
from partsong.contracts.state.timeline import Checkpoint

__all__ = ["SchedulerResult", "Task", "TaskResult", "TaskStatus", "result_of"]

TaskStatus = Literal[
    "pending", "running", "waiting", "completed", "failed", "rejected", "cancelled"
]
"""`pending`: not begun. `waiting`: for a person. `cancelled`: given up because another task failed."""

_REJECTED = "approval.rejected"
"""Code of the error of a run that ended because a person said no."""


def _gated(inputs: object) -> object:
    return plain(inputs, "inputs", "task.malformed")


class Task(SpecBase):
    """Something that an agent or a function is to do, perhaps after other tasks.

    It sees the outputs of the tasks that it depends on, and its own `inputs`: an agent after its prompt, as a JSON
    object; a function in the dict that it is called with.
    """

    if not TYPE_CHECKING:  # which see the fields
        __init__ = refusing("task.malformed")

    id: NodeName
    description: str = ""
    """What to do. `{{path}}` is taken from the run's state: its input, and outputs of tasks that come before."""
    agent: str | Callable[..., object] | None = None
    """Who does it: the name of one of the scheduler's agents, or a function. None is the scheduler's only agent."""
    depends_on: Annotated[Sequence[str], AfterValidator(tuple)] = ()
    inputs: Annotated[dict[str, JsonValue], BeforeValidator(_gated)] = Field(default_factory=dict)
    """More to know; texts may hold `{{path}}`."""
    priority: int = 0
    """Of tasks that could begin while others run, the one with the highest number goes first."""
    output: NodeName | None = None
    """Key of the run's state that gets the output; default: the task's id."""
    retry: Retry | None = None
    timeout: AnySeconds | None = None
    """How long one attempt of a function may take, or one turn of an agent: seconds, or text like `30s`."""
    requires_approval: bool = False
    """A person is asked before it begins."""

    @property
    def key(self) -> str:
        """Key of the run's state that gets the output."""
        return self.output or self.id


@dataclass(frozen=True, slots=True)
class TaskResult:
    """How one task stands."""

    id: str
    status: TaskStatus
    output: JsonValue = None
    error: Problem | None = None


@dataclass(frozen=True, slots=True)
class SchedulerResult(Mapping[str, JsonValue]):
    """How all tasks stand. It reads like the outputs of those that are completed: `result["research"]`."""

    run_id: str
    status: Status | Literal["rejected"]
    """`rejected`: a person said no to a task. `waiting`: for somebody outside this process; it can be resumed."""
    tasks: Mapping[str, TaskResult]
    """By task id, in the order in which they were given."""
    error: Problem | None = None
    checkpoints: tuple[Checkpoint, ...] = ()
    """Of this run, oldest first."""
    cause: BaseException | None = field(default=None, compare=False, repr=False)
    """The exception that the run failed of, if it was raised in this process."""

    def __getitem__(self, task_id: str) -> JsonValue:
        """The output of a completed task."""
        task = self.tasks[task_id]
        if task.status != "completed":
            raise KeyError(task_id)
        return task.output

    def __iter__(self) -> Iterator[str]:
        """The ids of completed tasks."""
        return (task.id for task in self.tasks.values() if task.status == "completed")

    def __len__(self) -> int:
        """The number of completed tasks."""
        return sum(1 for _ in self)

    def raise_for_status(self) -> SchedulerResult:
        """This result, if all tasks are completed.

        Raises:
            RunFailed: they are not; with the error of the task that failed, as `RunResult.raise_for_status` has it.
        """
        if self.status == "completed":
            return self
        if self.error is not None:
            raise failure(self.error, self.cause)
        raise RunFailed(
            "run.not_completed", f"run {self.run_id} is {self.status}", where=self.run_id
        )


def result_of(
    state: RunState, checkpoints: tuple[Checkpoint, ...], cause: BaseException | None = None
) -> SchedulerResult:
    """The result of a run of tasks, from its state."""
    tasks = {
        name: _task(state, name, node)
        for name, node in state.root.graph.nodes.items()
        if isinstance(node, SubgraphNode)
    }
    rejected = state.error is not None and state.error.code == _REJECTED
    return SchedulerResult(
        run_id=state.run_id,
        status="rejected" if rejected else state.phase,
        tasks=tasks,
        error=state.error,
        checkpoints=checkpoints,
        cause=cause,
    )


def _task(state: RunState, name: str, node: SubgraphNode) -> TaskResult:
    root = state.root
    if name not in root.visits:
        return TaskResult(name, "pending")
    execution = next((x for x in root.active.values() if x.node == name), None)
    if execution is None:
        key = next(iter(node.outputs or {}), name)
        return TaskResult(name, "completed", root.values.get(key))
    return TaskResult(name, _open(state, execution), error=execution.problem)


def _open(state: RunState, execution: Execution) -> TaskStatus:
    """The status of a task that has begun and is not completed."""
    if execution.problem is not None:
        return "rejected" if execution.problem.code == _REJECTED else "failed"
    if state.ended:
        return "cancelled"
    asked = any(
        call.open and call.kind == "approval" and call.exec.startswith(f"{execution.id}/")
        for call in state.calls.values()
    )
    return "waiting" if asked else "running"
