"""`open_player`: a graph, its functions and a log, ready to run in this process."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from typing import Any, Protocol

from pydantic import JsonValue

from partsong.contracts import events as e
from partsong.contracts.errors import Conflict, NotFound, Problem
from partsong.contracts.events.envelope import decode
from partsong.contracts.graph import Graph
from partsong.contracts.graph.conform import check_state
from partsong.contracts.graph.lacking import require_all
from partsong.contracts.ids import check_id
from partsong.contracts.plain import plain
from partsong.contracts.state.edits import edited
from partsong.contracts.state.fold import fold_all
from partsong.contracts.state.results import RunResult
from partsong.contracts.state.state import RunState
from partsong.contracts.state.timeline import Checkpoint, beyond, checkpoints, state_at
from partsong.contracts.talk.hooks import PluginRef
from partsong.contracts.wire.subjects import Subjects
from partsong.contracts.wire.work import Work
from partsong.engine.commands import runs
from partsong.engine.commands.options import check_deadline
from partsong.engine.commands.signals import signal
from partsong.engine.local.engine import Approver, Item, LocalRun, Perform
from partsong.engine.local.equipped import Equipped
from partsong.engine.local.performers import Performers, routed
from partsong.engine.local.same_run import check_same
from partsong.log.port import Log
from partsong.log.reading import body_of
from partsong.plugins.shelf import Shelf
from partsong.runtime import clock
from partsong.runtime.evaluation.evaluator import settle
from partsong.tools.registry import ToolRegistry

__all__ = ["Emit", "Player", "open_player"]

Emit = Callable[[Item], None]
_Signals = Mapping[str, JsonValue]


class _Causes(Protocol):
    """Knows the exceptions that errors come from."""

    def cause_of(self, problem: Problem) -> BaseException | None:
        """The exception; None if it was raised elsewhere, or long ago."""
        ...


class Player:
    """Runs one graph in this process, any number of times, also side by side."""

    def __init__(
        self,
        graph: Graph,
        perform: Perform,
        log: Log,
        approve: Approver | None,
        watch: Emit | None = None,
        plugins: tuple[PluginRef, ...] = (),
        causes: _Causes | None = None,
    ) -> None:
        """`watch` is shown all events and chunks of all runs; `plugins` are asked in runs that begin here.

        `causes` knows what was raised in this process.
        """
        self._causes = causes
        self._plugins = plugins
        self._graph, self._perform, self._log, self._approve = graph, perform, log, approve
        self._watch = watch

    async def execute(
        self,
        input: dict[str, JsonValue],
        *,
        run_id: str | None = None,
        options: e.RunOptions | None = None,
        signals: _Signals | None = None,
        emit: Emit | None = None,
    ) -> RunResult:
        """Run to the end, or to where only somebody outside this process can go on.

        With the id of a run that the log already holds, the run goes on where it was: it needs no input, and another
        one than it was begun with is refused, as are other options.
        `signals` are sent as soon as it runs.

        Raises:
            Conflict: `run.exists`, the id belongs to a run of another graph, or of another input.
            InvalidInput: the input does not fit the graph's schema, or nobody waits for a signal.
            Unavailable: `cel.not_installed`, `jsonschema.not_installed`: what the graph takes is not installed here.
        """
        require_all(self._graph)
        if options is not None:
            check_deadline(options)
        run_id = check_id("run_id", run_id) if run_id is not None else clock.new_run_id()
        input = _plain(input, "input")
        signals = _plain(signals or {}, "signals")
        run = self._run(run_id, emit)
        before = await run.load()
        news: tuple[e.Event, ...] = ()
        if before.graph is None:
            await settle(partial(check_state, self._graph.state_schema, input))
            now = clock.now_text()
            news = runs.start(
                run_id,
                self._graph,
                input,
                options or e.RunOptions(),
                "local",
                now,
                plugins=self._plugins,
            )
        elif before.graph.hash != self._graph.hash:
            raise Conflict(
                "run.exists",
                f"run {run_id} was started with another version of the graph ({before.graph.hash[:19]}…, "
                f"this one is {self._graph.hash[:19]}…)",
                where="run_id",
                fix="start a new run, execute the graph it was started with, or retry it with this one",
            )
        else:
            check_same(run_id, await self._events(run_id), input, options)
        return await self._play(run, (*news, *_sent(fold_all(before, news), signals)))

    async def stream(
        self,
        input: dict[str, JsonValue],
        *,
        run_id: str | None = None,
        options: e.RunOptions | None = None,
        signals: _Signals | None = None,
    ) -> AsyncGenerator[Item, None]:
        """Run, and yield each event and chunk as it happens."""
        items: asyncio.Queue[Item | None] = asyncio.Queue()

        async def play() -> None:
            try:
                await self.execute(
                    input, run_id=run_id, options=options, signals=signals, emit=items.put_nowait
                )
            finally:
                items.put_nowait(None)

        playing = asyncio.get_running_loop().create_task(play())
        try:
            while (item := await items.get()) is not None:
                yield item
            await playing
        finally:
            playing.cancel()
            await asyncio.gather(playing, return_exceptions=True)

    async def retry(
        self, run_id: str, *, options: e.RunOptions | None = None, emit: Emit | None = None
    ) -> RunResult:
        """Go on with a run that failed, was cancelled or met a limit: only what is unfinished runs.

        It goes on with this player's graph, which may have been mended.

        Raises:
            Conflict: `run.not_ended`, `run.completed`, `graph.node_missing`.
            NotFound: `run.unknown`.
            Unavailable: see `execute`.
        """
        require_all(self._graph)
        if options is not None:
            check_deadline(options)
        run = self._run(run_id, emit)
        state = await run.load()
        if state.graph is None:
            raise _unknown(run_id)
        graph = self._graph if state.graph.hash != self._graph.hash else None
        now = clock.now_text()
        return await self._play(run, runs.retry(state, graph, options, None, f"q{now}", now))

    async def fork(
        self,
        run_id: str,
        seq: int | None = None,
        *,
        new_run_id: str | None = None,
        values: Mapping[str, JsonValue] | None = None,
        outputs: Mapping[str, Mapping[str, JsonValue]] | None = None,
        emit: Emit | None = None,
    ) -> RunResult:
        """Begin a new run where `run_id` was at `seq` (default: its end), perhaps with other values.

        `values` are keys of the state, `sub:1/key` inside what is open; `outputs` what function executions are taken
        to have returned, by id like `a:1`.

        Raises:
            NotFound: `run.unknown`.
            InvalidInput: `fork.unknown_output`, `fork.unknown_scope`, `position.beyond`.
            Unavailable: see `execute`.
        """
        require_all(self._graph)
        records = await self._records(run_id)
        values, outputs = _plain(values or {}, "values"), _plain(outputs or {}, "outputs")
        state = state_at(run_id, records, seq, outputs)
        if state.graph is None:
            raise _unknown(run_id)
        if seq is not None and seq > records[-1][0] and seq > (head := await self._log.head()):
            raise beyond(seq, head, last=records[-1][0])
        changed = (*values, *outputs)
        run = self._run(new_run_id or clock.new_run_id(), emit)
        if (await run.load()).graph is not None:
            raise Conflict("run.exists", f"run {run.state.run_id} exists", where="new_run_id")
        at = seq if seq is not None else records[-1][0]
        now = clock.now_text()
        source = edited(state, values)
        return await self._play(run, runs.fork(source, at, run.state.run_id, changed, "local", now))

    async def history(self, run_id: str) -> list[Checkpoint]:
        """The checkpoints of a run, oldest first.

        Raises:
            NotFound: `run.unknown`.
        """
        records = await self._records(run_id)
        if not records:
            raise _unknown(run_id)
        return list(checkpoints(run_id, records))

    async def state(self, run_id: str, seq: int | None = None) -> RunState:
        """A run's state after `seq`, or now."""
        return state_at(run_id, await self._records(run_id), seq)

    def _run(self, run_id: str, emit: Emit | None) -> LocalRun:
        shown = [show for show in (self._watch, emit) if show is not None]

        def show(item: Item) -> None:
            for each in shown:
                each(item)

        return LocalRun(self._log, run_id, self._perform, approve=self._approve, emit=show)

    async def _play(self, run: LocalRun, news: tuple[e.Event, ...]) -> RunResult:
        whole = run.state.graph is None
        if self._approve is not None and not whole:
            for request in await run.requests():
                run.ask(self._approve, request)
        state = await run.go(news)
        events = run.events if whole else await self._events(state.run_id)
        return RunResult(
            run_id=state.run_id,
            status=state.phase,
            state=state.values,
            error=state.error,
            events=tuple(events),
            uncompensated=state.uncompensated,
            cause=self.cause_of(state.error),
        )

    def cause_of(self, problem: Problem | None) -> BaseException | None:
        """The exception that a run's error comes from, if it was raised in this process."""
        if problem is None or self._causes is None:
            return None
        return self._causes.cause_of(problem)

    async def _records(self, run_id: str) -> list[tuple[int, bytes]]:
        subject = Subjects().run(check_id("run_id", run_id))
        return [(record.seq, body_of(record)) async for record in self._log.read(subject)]

    async def _events(self, run_id: str) -> list[e.Event]:
        """All events of a run that another process began."""
        return [event for _, body in await self._records(run_id) for event in decode(body).events]


def _plain(values: Mapping[str, object], where: str) -> dict[str, Any]:
    """What a caller gives, as it would arrive on the bus.

    Raises:
        InvalidInput: `request.malformed`, naming the key.
    """
    found = plain(values, where, "request.malformed")
    return found if isinstance(found, dict) else {}


def _unknown(run_id: str) -> NotFound:
    return NotFound("run.unknown", f"the log holds no run {run_id}", where="run_id")


def _sent(state: RunState, signals: _Signals) -> tuple[e.Event, ...]:
    now = clock.now_text()
    return tuple(
        event
        for addressed, payload in signals.items()
        for name, _, key in (addressed.partition(":"),)
        for event in signal(state, name, payload, f"{addressed}.{now}", now, key=key or None)
    )


@asynccontextmanager
async def open_player(
    graph: Graph,
    functions: Mapping[str, Callable[..., object]],
    *,
    log: str | Log | None = None,
    approve: Approver | None = None,
    tools: ToolRegistry | None = None,
    agents: Mapping[str, Equipped] | None = None,
    plugins: Shelf | None = None,
) -> AsyncIterator[Player]:
    """A player on a memory log, on a file or Redis that `log` names, which makes its runs durable, or on any log.

    `agents` answer for their own nodes; they are given by the paths of those.
    """
    async with AsyncExitStack() as stack:
        shared = await stack.enter_async_context(Performers.open(graph, functions, tools, plugins))
        opened = await stack.enter_async_context(_open_log(log))
        own = {
            path: await stack.enter_async_context(agent.performing())
            for path, agent in (agents or {}).items()
        }
        yield Player(
            graph,
            routed(shared, own, _place) if own else shared,
            opened,
            approve,
            plugins=plugins.refs if plugins else (),
            causes=shared,
        )


def _place(work: Work) -> str:
    """The path of the node that a call is for: `a:1/t1/c0/b:1/t1` is a turn of `a/b`."""
    return "/".join(part.rpartition(":")[0] for part in work.call_id.split("/") if ":" in part)


@asynccontextmanager
async def _open_log(log: str | Log | None) -> AsyncIterator[Log]:
    if log is None:
        from partsong.log.memory import MemoryLog

        yield MemoryLog()
    elif isinstance(log, str):
        from partsong.log.place import open_log

        async with open_log(log) as opened:
            yield opened
    else:
        yield log
