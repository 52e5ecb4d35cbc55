"""Running a graph in this process, and going back to what it did."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterable, Mapping
from contextlib import AbstractAsyncContextManager, aclosing
from typing import TYPE_CHECKING

from pydantic import JsonValue

from partsong.contracts.events import RunOptions
from partsong.runtime.blocking import blocking
from partsong.workflow.draft import Draft
from partsong.workflow.options import checked

if TYPE_CHECKING:
    from partsong.contracts.deadlines import Deadline
    from partsong.contracts.events import Event
    from partsong.contracts.state.results import RunResult
    from partsong.contracts.state.timeline import Checkpoint
    from partsong.contracts.talk.chunks import Chunk
    from partsong.engine.local.engine import Approver
    from partsong.engine.local.player import Player
    from partsong.plugins import Plugin
    from partsong.plugins.shelf import Shelf
    from partsong.tools.registry import ToolRegistry
    from partsong.tools.tool import AnyTool

__all__ = ["Running"]


class Running(Draft):
    """Methods that run the graph in this process. `log` makes runs durable: a file's path, or `redis://host:6379/0`.

    Without `approve`, a run stops at an approval with the status `waiting`, as it does at a signal that was not sent;
    executed again with the same run id and log, it goes on where it was.
    """

    async def execute(
        self,
        input: Mapping[str, JsonValue] | None = None,
        *,
        run_id: str | None = None,
        log: str | None = None,
        approve: Approver | None = None,
        signals: Mapping[str, JsonValue] | None = None,
        labels: Mapping[str, str] | None = None,
        max_steps: int | None = None,
        max_cost: float | None = None,
        deadline: Deadline | None = None,
    ) -> RunResult:
        """Run to the end, or to where only somebody outside this process can go on.

        `signals` (name, or `name:key`, to payload) are sent as soon as it runs. `max_cost` is in US dollars, `deadline` a
        moment, or the time that the run has, like `1h30m`; a run that meets a limit can be retried with a larger one.

        Raises:
            InvalidInput: the graph, the input or a limit is not valid, or no node waits for a signal.
            Conflict: `run.exists`, the log holds a run of that id with another graph.
        """
        options = _options(RunOptions(), labels, max_steps, max_cost, deadline)
        async with self._player(log, approve) as player:
            return await player.execute(
                dict(input or {}), run_id=run_id, options=options, signals=signals
            )

    def execute_sync(
        self,
        input: Mapping[str, JsonValue] | None = None,
        *,
        run_id: str | None = None,
        log: str | None = None,
        approve: Approver | None = None,
        signals: Mapping[str, JsonValue] | None = None,
        labels: Mapping[str, str] | None = None,
        max_steps: int | None = None,
        max_cost: float | None = None,
        deadline: Deadline | None = None,
    ) -> RunResult:
        """Run as `execute` does and wait for the end, in a script or a notebook; Ctrl-C stops the run where it is.

        Raises:
            InvalidInput: `sync.running_loop`, this is inside a coroutine: `await graph.execute(…)` there.
        """
        return blocking(
            lambda: self.execute(
                input,
                run_id=run_id,
                log=log,
                approve=approve,
                signals=signals,
                labels=labels,
                max_steps=max_steps,
                max_cost=max_cost,
                deadline=deadline,
            ),
            name="graph.execute_sync",
            instead="graph.execute(…)",
        )

    async def stream(
        self,
        input: Mapping[str, JsonValue] | None = None,
        *,
        run_id: str | None = None,
        log: str | None = None,
        approve: Approver | None = None,
        signals: Mapping[str, JsonValue] | None = None,
        labels: Mapping[str, str] | None = None,
        max_steps: int | None = None,
        max_cost: float | None = None,
        deadline: Deadline | None = None,
    ) -> AsyncGenerator[Event | Chunk, None]:
        """Like `execute`, but yields every event and every chunk as it happens.

        Whoever leaves early stops the run where it is: its calls are cancelled, and with a `log` it can go on later.
        `async with aclosing(graph.stream(…))` waits for that; a plain `break` does not.
        """
        options = _options(RunOptions(), labels, max_steps, max_cost, deadline)
        async with self._player(log, approve) as player:
            items = player.stream(
                dict(input or {}), run_id=run_id, options=options, signals=signals
            )
            async with aclosing(items):
                async for item in items:
                    yield item

    async def retry(
        self,
        run_id: str,
        *,
        log: str,
        approve: Approver | None = None,
        max_steps: int | None = None,
        max_cost: float | None = None,
        deadline: Deadline | None = None,
    ) -> RunResult:
        """Go on with a run of the log that failed, was cancelled or met a limit: only what is unfinished runs.

        It goes on with this graph, which may have been mended. Limits that are given take the place of the old ones; an
        old deadline does not hold any more.

        Raises:
            NotFound: `run.unknown`.
            Conflict: `run.not_ended`, `run.completed`, `graph.node_missing`.
        """
        async with self._player(log, approve) as player:
            old = (await player.state(run_id)).options.model_copy(update={"deadline": None})
            options = _options(old, None, max_steps, max_cost, deadline)
            return await player.retry(run_id, options=options)

    async def fork(
        self,
        run_id: str,
        seq: int | None = None,
        *,
        log: str,
        approve: Approver | None = None,
        new_run_id: str | None = None,
        values: Mapping[str, JsonValue] | None = None,
        outputs: Mapping[str, Mapping[str, JsonValue]] | None = None,
    ) -> RunResult:
        """Run anew from where a run of the log was at `seq` (default: its end), perhaps with other values.

        `values` are keys of the state, `sub:1/key` inside what is open; `outputs` what function executions are taken
        to have returned, by id like `a:1`. The old run stays as it is.

        Raises:
            NotFound: `run.unknown`.
            Conflict: `run.exists`, the new id is taken.
            InvalidInput: `fork.unknown_output`, `fork.unknown_scope`.
        """
        async with self._player(log, approve) as player:
            return await player.fork(
                run_id, seq, new_run_id=new_run_id, values=values, outputs=outputs
            )

    async def history(self, run_id: str, *, log: str) -> list[Checkpoint]:
        """The checkpoints of a run of the log, oldest first: the sequences it can be forked from.

        Raises:
            NotFound: `run.unknown`.
        """
        async with self._player(log, None) as player:
            return await player.history(run_id)

    def _player(
        self, log: str | None, approve: Approver | None
    ) -> AbstractAsyncContextManager[Player]:
        from partsong.engine.local.player import open_player

        graph, assembly = self._compiled()
        return open_player(
            graph,
            assembly.functions,
            log=log,
            approve=approve,
            tools=_registry(self._own_tools(agents=False)),
            agents=assembly.agents,
            plugins=_shelf(assembly.plugins),
        )


def _shelf(plugins: Iterable[Plugin]) -> Shelf | None:
    from partsong.plugins.shelf import Shelf

    return Shelf.of(plugins) if plugins else None


def _registry(tools: Iterable[AnyTool]) -> ToolRegistry:
    """The built-in tools, and a graph's own."""
    from partsong.tools.registry import ToolRegistry

    return ToolRegistry(tools)


def _options(
    old: RunOptions,
    labels: Mapping[str, str] | None,
    max_steps: int | None,
    max_cost: float | None,
    deadline: Deadline | None,
) -> RunOptions:
    given = {"labels": labels, "max_steps": max_steps, "max_cost": max_cost, "deadline": deadline}
    changed = {name: value for name, value in given.items() if value is not None}
    return checked(RunOptions, {**dict(old), **changed}, "options", "request.malformed")
