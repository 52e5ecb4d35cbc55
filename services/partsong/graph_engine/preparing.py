"""What is read for a command before it is decided: graphs, places in threads, runs to be forked from.

All of it can be read again, and leads to the same decision: a place in a thread is taken once, a graph has its hash, and
what lies in the log does not change.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace

from pydantic import JsonValue

from partsong.contracts.errors import Conflict, NotFound, PartsongError, Unavailable
from partsong.contracts.graph import Graph
from partsong.contracts.state.edits import edited
from partsong.contracts.state.state import Pending, RunState
from partsong.contracts.state.timeline import beyond, state_at
from partsong.contracts.talk.hooks import PluginRef
from partsong.contracts.wire.damage import Hit
from partsong.contracts.wire.marks import Restored
from partsong.contracts.wire.requests import ForkRequest, RetryRequest, RunRequest
from partsong.contracts.wire.subjects import Subjects
from partsong.engine.commands.outcomes import Prepared, asked
from partsong.graph_engine.threads import Threads
from partsong.log.blobs import LOST
from partsong.log.port import Log
from partsong.log.reading import Unreadable, message_of
from partsong.runtime.room import FULL

__all__ = ["Preparing", "Resolve", "past_of"]

Resolve = Callable[[str | dict[str, JsonValue]], Awaitable[Graph]]
OffLoop = Callable[[Callable[[], RunState]], Awaitable[RunState]]


async def past_of(
    log: Log,
    subjects: Subjects,
    restores: Callable[[], Sequence[Restored]],
    run_id: str,
    upto: int | None,
) -> list[tuple[int, bytes]]:
    """Read the records of a run up to a sequence, or all, as (sequence, body).

    Raises:
        Conflict: a restore did not bring all of them back.
        InvalidInput: one of them cannot be read; what lies before it can be forked from. `position.beyond`: the log does
            not reach as far.
        Unavailable: the log did not answer; or as for InvalidInput, if a body is missing beside the log.
    """
    if (lost := Hit(restores()).why(run_id)) is not None:
        raise Conflict.of(lost)
    found: list[tuple[int, bytes]] = []
    async for record in log.read(subjects.run(run_id), upto=upto):
        message = message_of(subjects, record)
        if isinstance(message, Unreadable):
            raise _not_from_there(message, found)
        found.append((record.seq, record.body))
    if upto is not None and found and upto > found[-1][0] and upto > (head := await log.head()):
        raise beyond(upto, head, last=found[-1][0])
    return found


def _not_from_there(bad: Unreadable, before: Sequence[tuple[int, bytes]]) -> PartsongError:
    fix = f"fork from {before[-1][0]} or earlier: `--at {before[-1][0]}`" if before else None
    return replace(bad, problem=bad.problem.model_copy(update={"fix": fix})).error


class Preparing:
    """Reads what commands need."""

    def __init__(
        self,
        resolve: Resolve,
        past: Callable[[str, int | None], Awaitable[list[tuple[int, bytes]]]],
        threads: Threads,
        plugins: tuple[PluginRef, ...] = (),
        *,
        off_loop: OffLoop = asyncio.to_thread,
    ) -> None:
        """`past` reads the records of a run up to a sequence, or all; `plugins` are asked in every run that begins here.

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
                    return await self._start(state, asked(RunRequest, command))
                case "fork":
                    return await self._fork(state, asked(ForkRequest, command))
                case "retry":
                    return await self._retry(state, asked(RetryRequest, command))
                case "admit":
                    return await self._admit(state)
                case _:
                    return Prepared()
        except PartsongError as error:
            if isinstance(error, Unavailable) and error.problem.code not in LOST | FULL:
                raise
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
        records = await self._past(request.run_id, request.seq)
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
        if thread is None or state.graph is None or state.status != "queued":
            return Prepared()  # it waits no more: asking would put it back in line
        if not await self._threads.may_go(state.run_id, thread, state.started):
            return Prepared(free=False)
        known = await self._threads.remembered(thread, state.graph)
        return Prepared(remembered=known)
