"""The door: requests in, answers out. What cannot be accepted changes nothing and is answered with a reason."""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import assert_never

from pydantic import JsonValue

from partsong.contracts.conform import check_state
from partsong.contracts.errors import (
    Conflict,
    InvalidInput,
    NotFound,
    PartsongError,
    Unavailable,
)
from partsong.contracts.events import Event
from partsong.contracts.graph import Graph
from partsong.contracts.hooks import PluginRef
from partsong.contracts.requests import (
    Accepted,
    CancelRequest,
    ForkRequest,
    PauseRequest,
    ResumeRequest,
    RetryRequest,
    RunRequest,
    ScheduleRequest,
    SignalRequest,
    UnscheduleRequest,
    parse_request,
)
from partsong.contracts.run_events import RunOptions
from partsong.contracts.state import Origin, RunState
from partsong.contracts.subjects import check_id
from partsong.contracts.timeline import edited, state_at
from partsong.graph_engine.core import hear, signals
from partsong.graph_engine.core.options import check_options
from partsong.graph_engine.mail import Ask, Message, Start, Tell, Wake
from partsong.graph_engine.runs import Runs
from partsong.graph_engine.schedules import Schedules
from partsong.graph_engine.threads import Threads

__all__ = ["MAX_BODY", "Door", "request_id"]

_log = logging.getLogger("partsong.graph_engine")

_OfARun = CancelRequest | PauseRequest | ResumeRequest | SignalRequest | RetryRequest

MAX_BODY = 1_000_000
"""Bytes a request may have. Larger inputs belong into a store of their own, with a reference in the state."""


class Door:
    """Validates requests and puts them into the mailboxes of their runs."""

    def __init__(
        self,
        runs: Runs,
        resolve: Callable[[str | dict[str, JsonValue]], Awaitable[Graph]],
        past: Callable[[str], Awaitable[list[tuple[int, bytes]]]],
        threads: Threads,
        schedules: Schedules,
        plugins: tuple[PluginRef, ...] = (),
    ) -> None:
        """`past` reads all records of a run, as (sequence, body); `plugins` are asked in every run that begins here."""
        self._runs, self._resolve, self._past = runs, resolve, past
        self._threads, self._schedules = threads, schedules
        self._plugins = plugins

    async def start_scheduled(self, name: str, moment_ns: int) -> None:
        """Start the run of a schedule whose time has come, unless the run before is in its way.

        Raises:
            Unavailable: try again.
        """
        try:
            run = await self._schedules.due(name, moment_ns)
            if run is not None:
                await self._run(run)
        except Unavailable:
            raise
        except PartsongError as error:
            skipped = error.problem.code == "thread.busy"
            told = {"schedule": name, "problem": error.problem.code, "why": error.problem.message}
            _log.log(
                logging.INFO if skipped else logging.ERROR, "scheduled run not started", extra=told
            )

    async def request(self, verb: str, body: bytes) -> Accepted:
        """Carry out one request; when this returns, its effect is in the log.

        Raises:
            InvalidInput: naming the field.
            NotFound: an unknown graph or run.
            Conflict: the run is not in a state for it; `run.exists` if the run id belongs to a run of another graph.
            Unavailable: the log did not answer; the request may be made again.
        """
        if len(body) > MAX_BODY:
            raise InvalidInput(
                "request.too_large",
                f"the request has {len(body)} bytes, at most {MAX_BODY} are accepted",
                where="body",
                fix="put large data into a store and its address into the input",
            )
        request = parse_request(verb, body)
        match request:
            case RunRequest():
                return await self._run(request)
            case ForkRequest():
                return await self._fork(request)
            case RetryRequest():
                return await self._retry(request)
            case ScheduleRequest():
                return await self._schedule(request)
            case UnscheduleRequest(id=id_, name=name):
                return Accepted(id=id_, run_id="", seq=await self._schedules.drop(name))
            case CancelRequest() | PauseRequest() | ResumeRequest() | SignalRequest():
                return await self._ask(request, _meant(request))
            case _:
                assert_never(request)

    async def _run(self, request: RunRequest) -> Accepted:
        graph = await self._resolve(request.graph)
        check_state(graph.state_schema, request.input)
        run_id = request.run_id or _named(request)
        check_options(run_id, request.options)
        seat = await self._threads.enter(run_id, request.options)
        queued = seat is not None and seat.queued
        thread = request.options.thread
        known = await self._threads.remembered(thread, graph) if thread and not queued else {}
        asked = graph, request.input, request.options, request.id
        start = Start(*asked, queued=queued, remembered=known, plugins=self._plugins)
        await self._delivered(run_id, start)
        assert start.result is not None, "a start that is done has a result"  # noqa: S101
        if not start.result.same:
            raise _exists(run_id, f"with another graph than {graph.name} ({graph.hash[:19]}…)")
        if seat is not None and seat.queued:
            if request.options.on_busy == "cancel_previous":
                await self._cancel_for(run_id, seat.ahead)
            self._runs.hear(run_id, Wake())  # it may have been let in before it was there
        return Accepted(id=request.id, run_id=run_id, seq=start.result.seq)

    async def _schedule(self, request: ScheduleRequest) -> Accepted:
        graph = await self._resolve(request.graph)
        check_state(graph.state_schema, request.input)
        check_options(request.name, request.options)
        if not isinstance(request.graph, str):
            request = request.model_copy(update={"graph": graph.hash})
        return Accepted(id=request.id, run_id="", seq=await self._schedules.keep(request))

    async def _cancel_for(self, run_id: str, others: tuple[str, ...]) -> None:
        """End the runs that a newer one of their thread takes the place of."""

        def cancel(state: RunState, now: str) -> tuple[Event, ...]:
            return hear.cancel(state, f"run {run_id} takes its place", run_id, now)

        for other in others:
            await self._delivered(other, Ask(cancel))

    async def _fork(self, request: ForkRequest) -> Accepted:
        records = await self._past(request.run_id)
        source = state_at(request.run_id, records, request.seq, request.outputs)
        if source.graph is None:
            raise _unknown(request.run_id)
        source = edited(source, request.values)
        seq = request.seq or records[-1][0]
        run_id = request.new_run_id or _named(request)
        changed = (*request.values, *request.outputs)

        def tell(state: RunState, now: str) -> tuple[Event, ...]:
            if state.graph is None:
                return hear.fork(source, seq, run_id, changed, request.id, now)
            origin = state.origin or Origin("", 0)
            if origin.run_id == source.run_id and request.seq in {None, origin.seq}:
                return ()
            raise _exists(run_id, f"and is no fork of {source.run_id} at {seq}")

        ask = Ask(tell, begins=True)
        await self._delivered(run_id, ask)
        return Accepted(id=request.id, run_id=run_id, seq=ask.seq)

    async def _retry(self, request: RetryRequest) -> Accepted:
        graph = None if request.graph is None else await self._resolve(request.graph)
        if request.options is not None:
            check_options(request.run_id, request.options)
        asked = graph, request.options, request.reason, request.id
        options = request.options or await self._ended_with(request.run_id)
        rejoined = options is not None and await self._threads.rejoin(request.run_id, options)
        try:
            return await self._ask(request, lambda state, now: hear.retry(state, *asked, now))
        except PartsongError as error:
            if rejoined and options and options.thread and not isinstance(error, Unavailable):
                await self._threads.leave(request.run_id, options.thread)
            raise

    async def _ended_with(self, run_id: str) -> RunOptions | None:
        """The options of an ended run."""
        found: list[RunOptions] = []

        def look(state: RunState, _now: str) -> tuple[Event, ...]:
            found[:] = [state.options] if state.ended else []
            return ()

        await self._delivered(run_id, Ask(look))
        return found[0] if found else None

    async def _ask(self, request: _OfARun, tell: Tell) -> Accepted:
        ask = Ask(tell)
        await self._delivered(request.run_id, ask)
        if not ask.known:
            raise _unknown(request.run_id)
        return Accepted(id=request.id, run_id=request.run_id, seq=ask.seq)

    async def _delivered(self, run_id: str, message: Message) -> None:
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        def settle(error: PartsongError | None) -> None:
            if done.done():
                return
            if error is None:
                done.set_result(None)
            else:
                done.set_exception(error)

        message.done = settle
        self._runs.hear(run_id, message)
        await done


def _meant(request: CancelRequest | PauseRequest | ResumeRequest | SignalRequest) -> Tell:
    match request:
        case CancelRequest(id=id_, reason=reason):
            return lambda state, now: hear.cancel(state, reason, id_, now)
        case PauseRequest(id=id_, reason=reason):
            return lambda state, now: hear.pause(state, reason, id_, now)
        case ResumeRequest(id=id_):
            return lambda state, now: hear.resume(state, id_, now)
        case SignalRequest(id=id_, name=name, payload=payload):
            return lambda state, now: signals.signal(state, name, payload, id_, now)
        case _:
            assert_never(request)


def _named(request: RunRequest | ForkRequest) -> str:
    """The id of a run that the caller has not named: the same however often the request is delivered."""
    return f"r_{hashlib.sha256(request.model_dump_json().encode()).hexdigest()[:26]}"


def _unknown(run_id: str) -> NotFound:
    return NotFound("run.unknown", f"no run {run_id}", where="run_id")


def _exists(run_id: str, what: str) -> Conflict:
    return Conflict(
        "run.exists",
        f"run {run_id} exists {what}",
        where="run_id",
        fix="leave the id out to get a fresh one",
    )


def request_id(body: bytes, headers: Mapping[str, str]) -> str:
    """Whom to answer when a request could not be read: its id if that much is legible, else its message id."""
    try:
        raw = json.loads(body)
    except ValueError:
        raw = None
    written = raw.get("id") if isinstance(raw, dict) else None
    try:
        return check_id(
            "id", written if isinstance(written, str) else headers.get("Nats-Msg-Id", "")
        )
    except InvalidInput:
        return ""
