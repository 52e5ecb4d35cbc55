"""`TaskScheduler`: lists of tasks with dependencies, done by agents and functions, durably."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import JsonValue

from partsong.contracts.errors import InvalidInput, NotFound
from partsong.contracts.graph import Graph
from partsong.contracts.state.timeline import Checkpoint, checkpoints, state_at
from partsong.runtime import clock
from partsong.runtime.blocking import blocking
from partsong.workflow.doers import AgentLike, Doers
from partsong.workflow.task_graph import TaskGraph, priorities, task_graph
from partsong.workflow.task_log import TaskLog
from partsong.workflow.tasks import SchedulerResult, Task, result_of

if TYPE_CHECKING:
    from partsong.contracts.events import Event
    from partsong.contracts.talk.chunks import Chunk
    from partsong.engine.local.engine import Approver
    from partsong.engine.local.player import Player
    from partsong.log.port import Log
    from partsong.tools.registry import ToolRegistry

__all__ = ["TaskScheduler"]


class TaskScheduler:
    """Runs tasks in this process, each as soon as the tasks that it depends on are completed.

    The first task that fails, or that a person rejects, ends the run; what is completed stays so, and the run can be
    resumed. Runs may go on side by side; `max_concurrency` is how many tasks of one run may work at the same time.
    """

    def __init__(
        self,
        agents: Mapping[str, AgentLike] | None = None,
        *,
        max_concurrency: int | None = None,
        log: str | Path | Log | None = None,
        approve: Approver | None = None,
        tools: ToolRegistry | None = None,
        name: str = "tasks",
    ) -> None:
        """Take the agents: as objects, as data, as `provider:model`, or functions.

        `log` makes runs durable: a file, `redis://host:6379/0`, or any log; by default they are kept in memory. Without `approve`, a
        task that needs approval waits. `tools` are those that agents find by name, beside the built-in ones; an agent
        object has its own. `name` tells the runs of this scheduler from others in the log.

        Raises:
            InvalidInput: `scheduler.max_concurrency`, `agent.bad_name`.
        """
        if max_concurrency is not None and max_concurrency < 1:
            raise InvalidInput(
                "scheduler.max_concurrency",
                f"max_concurrency is {max_concurrency}, so no task could ever begin",
                where="max_concurrency",
            )
        self._doers = Doers(agents or {})
        self._most, self._approve, self._tools, self._name = max_concurrency, approve, tools, name
        self._log = TaskLog(log)

    def graph(self, tasks: Sequence[Task]) -> TaskGraph:
        """The graph of these tasks; with agents only, `Client.start` takes it.

        Each output is a key of the run's state.

        Raises:
            InvalidInput: `task.none`, `task.duplicate`, `task.unknown_dependency`, `task.cycle`, `task.unknown_agent`
                and others, naming the tasks.
        """
        return task_graph(self._name, tasks, self._doers.of)

    async def execute_with_checkpointing(
        self,
        tasks: Sequence[Task],
        *,
        input: Mapping[str, JsonValue] | None = None,
        run_id: str | None = None,
    ) -> SchedulerResult:
        """Do all tasks. With the id of a run that the log already holds, that run goes on.

        `input` is what the tasks' texts may refer to as `{{key}}` beside the outputs.

        Raises:
            InvalidInput: see `graph`.
            Conflict: `run.exists`, the log holds a run of that id with other tasks.
        """
        graph = self._compiled(tasks)
        run_id = run_id or clock.new_run_id()
        async with self._playing(graph, run_id, self._approve) as (player, log):
            await player.execute(dict(input or {}), run_id=run_id)
            return await self._result(log, run_id, player)

    def execute_with_checkpointing_sync(
        self,
        tasks: Sequence[Task],
        *,
        input: Mapping[str, JsonValue] | None = None,
        run_id: str | None = None,
    ) -> SchedulerResult:
        """Do all tasks as `execute_with_checkpointing` does and wait for them, in a script or a notebook.

        Raises:
            InvalidInput: `sync.running_loop`, this is inside a coroutine.
        """
        return blocking(
            lambda: self.execute_with_checkpointing(tasks, input=input, run_id=run_id),
            name="scheduler.execute_with_checkpointing_sync",
            instead="scheduler.execute_with_checkpointing(…)",
        )

    async def execute_task_with_approval(
        self,
        task: Task | str,
        agent_name: str | None = None,
        *,
        require_approval: bool = True,
        run_id: str | None = None,
    ) -> SchedulerResult:
        """Do one task, after a person has agreed.

        Status `rejected`: the person did not. Status `waiting`: there is nobody to ask; resume the result's last
        checkpoint when there is. A task that itself requires approval needs it in any case.
        """
        task = _single(task, agent_name)
        if require_approval:
            task = task.model_copy(update={"requires_approval": True})
        return await self.execute_with_checkpointing([task], run_id=run_id)

    async def execute_task_stream(
        self, task: Task | str, agent_name: str | None = None, *, run_id: str | None = None
    ) -> AsyncGenerator[Event | Chunk, None]:
        """Do one task, and yield every event and every chunk as it happens. Leaving early cancels what is under way."""
        graph = self._compiled([_single(task, agent_name)])
        run_id = run_id or clock.new_run_id()
        async with (
            self._playing(graph, run_id, self._approve) as (player, _),
            aclosing(player.stream({}, run_id=run_id)) as items,
        ):
            async for item in items:
                yield item

    def list_checkpoints(self) -> list[Checkpoint]:
        """The checkpoints of all runs of this scheduler, in the order of the log; of a file or Redis, those of earlier processes too."""
        found: list[Checkpoint] = []
        for run_id, records in self._log.past().items():
            graph = state_at(run_id, records[:1]).graph
            if graph is not None and graph.name == self._name:
                found += checkpoints(run_id, records)
        return sorted(found, key=lambda checkpoint: checkpoint.seq)

    async def resume_from_checkpoint(
        self, checkpoint: Checkpoint, *, approve: Approver | None = None
    ) -> SchedulerResult:
        """Go on from a checkpoint; what was completed by then is not done again.

        From the last one of a run, that run goes on: one that was interrupted, waits, failed or was rejected. If it is
        completed, this is its result. From an earlier one begins a new run, and the old one stays as it is. `approve`
        stands in for the scheduler's.

        Raises:
            NotFound: `run.unknown`; `task.unknown_agent`, nobody here can do a task of the run.
        """
        run_id = checkpoint.run_id
        async with self._log.opened() as log:
            records = await self._log.records(log, run_id)
            state = state_at(run_id, records)
            if state.graph is None:
                raise NotFound("run.unknown", f"the log holds no run {run_id}", where="checkpoint")
            last = max(point.seq for point in checkpoints(run_id, records))
            going_on = run_id if checkpoint.seq >= last else clock.new_run_id()
            async with self._playing(state.graph, going_on, approve or self._approve) as (
                player,
                _,
            ):
                if going_on != run_id:
                    await player.fork(run_id, checkpoint.seq, new_run_id=going_on)
                elif not state.ended:
                    await player.execute({}, run_id=run_id)
                elif state.status != "completed":
                    await player.retry(run_id)
                return await self._result(log, going_on, player)

    def _compiled(self, tasks: Sequence[Task]) -> Graph:
        graph = self.graph(tasks)
        self._doers.learn(graph.functions)
        return graph.compile()

    async def _result(self, log: Log, run_id: str, player: Player) -> SchedulerResult:
        records = await self._log.records(log, run_id)
        state = state_at(run_id, records)
        cause = player.cause_of(state.error)
        return result_of(state, tuple(checkpoints(run_id, records)), cause)

    @asynccontextmanager
    async def _playing(
        self, graph: Graph, run_id: str, approve: Approver | None
    ) -> AsyncIterator[tuple[Player, Log]]:
        """A player for one run, and the log it writes."""
        from partsong.engine.local.performers import Performers, routed
        from partsong.engine.local.player import Player
        from partsong.engine.local.slots import Slots

        functions = self._doers.functions_of(graph)
        async with AsyncExitStack() as stack:
            log = await stack.enter_async_context(self._log.opened())
            stack.push_async_callback(self._log.note, log, run_id)
            shared = await stack.enter_async_context(Performers.open(graph, functions, self._tools))
            own = {
                name: await stack.enter_async_context(agent.performing())
                for name, agent in self._doers.equipped(graph).items()
            }
            perform = routed(shared, own, lambda work: work.node)
            if self._most is None:
                yield Player(graph, perform, log, approve, causes=shared), log
                return
            slots = Slots(perform, self._most, priorities(graph).__getitem__)
            yield Player(graph, slots, log, approve, slots.see, causes=shared), log


def _single(task: Task | str, agent_name: str | None) -> Task:
    if isinstance(task, str):
        task = Task(id="task", description=task)
    return task if agent_name is None else task.model_copy(update={"agent": agent_name})
