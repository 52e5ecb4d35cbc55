"""What is read for a command before it is decided: graphs, places in threads, runs to be forked from.

All of it can be read again, and leads to the same decision: a place in a thread is taken once, a graph has its hash, and
what lies in the log does not change.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from pydantic import JsonValue

from partsong.contracts.errors import NotFound, PartsongError, Unavailable
from partsong.contracts.graph import Graph
from partsong.contracts.hooks import PluginRef
from partsong.contracts.requests import ForkRequest, RetryRequest, RunRequest
from partsong.contracts.state import Pending, RunState
from partsong.contracts.timeline import edited, state_at
from partsong.graph_engine.core.commands import Prepared
from partsong.graph_engine.threads import Threads

__all__ = ["Preparing", "Resolve"]

Resolve = Callable[[str | dict[str, JsonValue]], Awaitable[Graph]]
OffLoop = Callable[[Callable[[], RunState]], Awaitable[RunState]]


class Preparing:
    """Reads what commands need."""

    def __init__(
        self,
        resolve: Resolve,
        past: Callable[[str], Awaitable[list[tuple[int, bytes]]]],
        threads: Threads,
        plugins: tuple[PluginRef, ...] = (),
        *,
        off_loop: OffLoop = asyncio.to_thread,
    ) -> None:
        """`past` reads all records of a run, as (sequence, body); `plugins` are asked in every run that begins here.

        `off_loop` folds the past of a fork: thousands of records take a while, and what else the process does goes on.
        """
        self._resolve, self._past, self._threads = resolve, past, threads
        self._plugins, self._off_loop = plugins, off_loop

    async def prepared(self, state: RunState, command: Pending) -> Prepared:
        """What the command needs beside the state; a refusal is part of it.

        Raises:
            Unavailable: try again.
        """
        try:
            match command.verb:
                case "run":
                    return await self._start(state, RunRequest.model_validate(command.request))
                case "fork":
                    return await self._fork(state, ForkRequest.model_validate(command.request))
                case "retry":
                    return await self._retry(state, RetryRequest.model_validate(command.request))
                case "admit":
                    return await self._admit(state)
                case _:
                    return Prepared()
        except Unavailable:
            raise
        except PartsongError as error:
            return Prepared(refused=error)

    async def _start(self, state: RunState, request: RunRequest) -> Prepared:
        if state.graph is not None:
            return Prepared()
        graph = await self._resolve(request.graph)
        seat = await self._threads.enter(state.run_id, request.options)
        queued = seat is not None and seat.queued
        thread = request.options.thread
        known = await self._threads.remembered(thread, graph) if thread and not queued else {}
        return Prepared(
            graph=graph,
            queued=queued,
            ahead=seat.ahead if seat is not None else (),
            remembered=known,
            plugins=self._plugins,
        )

    async def _fork(self, state: RunState, request: ForkRequest) -> Prepared:
        if state.graph is not None:
            return Prepared()
        records = await self._past(request.run_id)
        source = await self._off_loop(
            lambda: state_at(request.run_id, records, request.seq, request.outputs)
        )
        if source.graph is None:
            raise NotFound("run.unknown", f"no run {request.run_id}", where="run_id")
        seq = request.seq or records[-1][0]
        return Prepared(source=edited(source, request.values), source_seq=seq)

    async def _retry(self, state: RunState, request: RetryRequest) -> Prepared:
        graph = None if request.graph is None else await self._resolve(request.graph)
        options = request.options or state.options
        rejoined = state.ended and await self._threads.rejoin(state.run_id, options)
        return Prepared(graph=graph, rejoined=rejoined)

    async def _admit(self, state: RunState) -> Prepared:
        thread = state.options.thread
        if thread is None or state.graph is None:
            return Prepared()
        if not await self._threads.may_go(state.run_id, thread, state.started):
            return Prepared(free=False)
        known = await self._threads.remembered(thread, state.graph)
        return Prepared(remembered=known)
