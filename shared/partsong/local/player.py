"""`open_player`: a graph, its functions and a log, ready to run in this process."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

from pydantic import JsonValue

from partsong.contracts import events as e
from partsong.contracts.envelope import decode
from partsong.contracts.errors import Conflict
from partsong.contracts.graph import Graph
from partsong.contracts.results import RunResult
from partsong.contracts.subjects import Subjects, check_id
from partsong.graph_engine.core import hear
from partsong.local.engine import Approver, Item, LocalRun
from partsong.local.performers import Performers
from partsong.log.port import Log
from partsong.runtime import clock
from partsong.tools.registry import ToolRegistry

__all__ = ["Player", "open_player"]


class Player:
    """Runs one graph in this process, any number of times, also side by side."""

    def __init__(
        self, graph: Graph, performers: Performers, log: Log, approve: Approver | None
    ) -> None:
        self._graph, self._performers, self._log, self._approve = graph, performers, log, approve

    async def execute(self, input: dict[str, JsonValue], *, run_id: str | None = None) -> RunResult:
        """Run to the end, or to where only a person outside this process can go on.

        With the id of a run that the log already holds, the run goes on where it was; its first input stands.

        Raises:
            Conflict: `run.exists`, the id belongs to a run of another graph.
        """
        return await self._play(input, run_id, None)

    async def stream(
        self, input: dict[str, JsonValue], *, run_id: str | None = None
    ) -> AsyncIterator[Item]:
        """Run, and yield each event and chunk as it happens."""
        items: asyncio.Queue[Item | None] = asyncio.Queue()

        async def play() -> None:
            try:
                await self._play(input, run_id, items.put_nowait)
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

    async def _play(
        self, input: dict[str, JsonValue], run_id: str | None, emit: Callable[[Item], None] | None
    ) -> RunResult:
        run_id = check_id("run_id", run_id) if run_id is not None else clock.new_run_id()
        run = LocalRun(self._log, run_id, self._performers, approve=self._approve, emit=emit)
        before = await run.load()
        if before.graph is None:
            now = clock.now_text()
            state = await run.go(
                hear.start(run_id, self._graph, input, e.RunOptions(), "local", now)
            )
        elif before.graph.hash != self._graph.hash:
            raise Conflict(
                "run.exists",
                f"run {run_id} was started with another version of the graph ({before.graph.hash[:19]}…, "
                f"this one is {self._graph.hash[:19]}…)",
                where="run_id",
                fix="start a new run, or execute the graph it was started with",
            )
        else:
            state = await run.go()
        events = run.events if before.graph is None else await self._events(run_id)
        return RunResult(
            run_id=state.run_id,
            status=state.phase,
            state=state.values,
            error=state.error,
            events=tuple(events),
        )

    async def _events(self, run_id: str) -> list[e.Event]:
        """All events of a run that another process began."""
        events: list[e.Event] = []
        async for record in self._log.read(Subjects().run(run_id)):
            events += decode(record.body).events
        return events


@asynccontextmanager
async def open_player(
    graph: Graph,
    functions: Mapping[str, Callable[..., object]],
    *,
    log: str | None = None,
    approve: Approver | None = None,
    tools: ToolRegistry | None = None,
) -> AsyncIterator[Player]:
    """A player on a memory log, or on the file `log`, which makes its runs durable."""
    async with Performers.open(graph, functions, tools) as performers, _open_log(log) as opened:
        yield Player(graph, performers, opened, approve)


@asynccontextmanager
async def _open_log(path: str | None) -> AsyncIterator[Log]:
    if path is None:
        from partsong.log.memory import MemoryLog

        yield MemoryLog()
    else:
        from partsong.log.file import FileLog

        async with await FileLog.open(Path(path)) as log:
            yield log
