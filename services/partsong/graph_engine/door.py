"""The door: requests in, as commands of the runs they concern. What cannot be accepted is answered at once.

Any engine takes any request. What can be checked without the run's state is checked here; then the request becomes a
record of its run, and whoever owns the run's partition decides on it and answers.
"""

from __future__ import annotations

import hashlib
import json
import logging
import re
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from itertools import islice
from typing import assert_never

from pydantic import JsonValue

from partsong.bus.queued import AtTheDoor
from partsong.contracts.errors import Conflict, InvalidInput, NotFound, PartsongError, Unavailable
from partsong.contracts.events.command import Verb
from partsong.contracts.graph import Graph
from partsong.contracts.graph.conform import check_state
from partsong.contracts.ids import check_id
from partsong.contracts.wire.headers import MSG_ID
from partsong.contracts.wire.requests import (
    Accepted,
    CancelRequest,
    ForkRequest,
    PauseRequest,
    Rejected,
    ResumeRequest,
    RetryRequest,
    RunRequest,
    ScheduleRequest,
    SignalRequest,
    SignalStart,
    UnscheduleRequest,
    parse_request,
)
from partsong.contracts.wire.subjects import OURS, Subjects
from partsong.engine.commands.options import check_options
from partsong.engine.commands.signals import check_signal
from partsong.graph_engine.commands import Commands
from partsong.graph_engine.graphs import Keep
from partsong.graph_engine.schedules import Firing, Schedules
from partsong.log.blobs import LOST
from partsong.log.port import Log
from partsong.runtime.evaluation.evaluator import Settle, settle

__all__ = ["MAX_BODY", "Door", "request_id"]

_log = logging.getLogger("partsong.graph_engine")

_OfARun = CancelRequest | PauseRequest | ResumeRequest | SignalRequest

MAX_BODY = 1_000_000
"""Bytes a request may have. Larger inputs belong into a store of their own, with a reference in the state."""


class Door:
    """Validates requests and appends them as commands."""

    def __init__(
        self,
        log: Log,
        subjects: Subjects,
        commands: Commands,
        resolve: Keep,
        schedules: Schedules,
        at_the_door: Callable[[str], Awaitable[AtTheDoor | None]] | None = None,
        *,
        settle: Settle = settle,
    ) -> None:
        """`at_the_door` finds the request by which a run is to begin, if it still waits."""
        self._log, self._subjects, self._commands = log, subjects, commands
        self._resolve, self._schedules = resolve, schedules
        self._at_the_door, self._settle = at_the_door, settle

    async def start_scheduled(self, name: str, firing: Firing) -> None:
        """Start the run of a schedule whose time has come; whether its thread is busy is decided like for any run.

        Raises:
            Unavailable: try again.
        """
        try:
            run = await self._schedules.due(name, firing)
            if run is not None:
                await self._start(run, str(run.run_id), firing.stored_ns)
        except Unavailable:
            raise
        except PartsongError as error:
            told = {"schedule": name, "problem": error.problem.code, "why": error.problem.message}
            _log.error("scheduled run not started", extra=told)

    async def request(
        self, verb: str, body: bytes, run_id: str = "", *, stored_ns: int = 0
    ) -> Accepted | Rejected | None:
        """Take one request; when this returns, it is in the log. None if its answer comes from the run's owner.

        Of one by which a run may begin, `run_id` is that run's, if the subject names it, and `stored_ns` when the server
        stored it.

        Raises:
            InvalidInput: naming the field.
            NotFound: an unknown graph or run.
            Conflict: `request.reused`.
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
        _not_ours("id", request.id, starts=True)
        match request:
            case RunRequest():
                run_id = _new_id("run_id", request.run_id, run_id) or _named(request)
                return await self._start(request, run_id, stored_ns)
            case ForkRequest():
                run_id = _new_id("new_run_id", request.new_run_id, run_id) or _named(request)
                return await self._fork(request, run_id, stored_ns)
            case RetryRequest():
                return await self._retry(request)
            case ScheduleRequest():
                return await self._schedule(request)
            case UnscheduleRequest(id=id_, name=name):
                return Accepted(id=id_, run_id="", seq=await self._schedules.drop(name))
            case SignalRequest(start=SignalStart() as start):
                return await self._signal(request, start, stored_ns)
            case CancelRequest() | PauseRequest() | ResumeRequest() | SignalRequest():
                await self._known(request.run_id, begin=isinstance(request, CancelRequest))
                return await self._append(_verb(request), request.run_id, request)
            case _:
                assert_never(request)

    async def _start(
        self, request: RunRequest, run_id: str, stored_ns: int
    ) -> Accepted | Rejected | None:
        check_options(run_id, request.options)
        graph = await self._resolve(request.graph, partial(self._fits, request.input))
        named = request.model_copy(update={"graph": graph.hash, "run_id": run_id})
        return await self._append("run", run_id, named, stored_ns)

    async def _fits(self, input: dict[str, JsonValue], graph: Graph) -> None:
        """Refuse an input that is none for a graph, before the graph is kept: what is refused leaves nothing behind."""
        await self._settle(partial(check_state, graph.state_schema, input))

    async def _signal(
        self, request: SignalRequest, start: SignalStart, stored_ns: int
    ) -> Accepted | Rejected | None:
        """Begin a run that nobody has asked to begin, and then send it the signal: two commands in this order.

        The first one's id follows from the request. Whoever dies between them has acknowledged nothing: the request
        comes again, finds the first one, and appends the second.
        """
        alone = request.model_copy(update={"start": None})
        try:
            await self._known(request.run_id, begin=True)
        except NotFound:
            run_id = _new_id("run_id", request.run_id, "")
            check_options(run_id, start.options)
            graph = await self._resolve(start.graph, partial(self._both_fit, start.input, alone))
            begins = RunRequest(
                id=f"{request.id}{OURS}start",
                run_id=run_id,
                graph=graph.hash,
                input=start.input,
                options=start.options,
            )
            await self._commands.append("run", run_id, begins.id, begins, stored_ns=stored_ns)
        return await self._append("signal", request.run_id, alone)

    async def _both_fit(
        self, input: dict[str, JsonValue], sent: SignalRequest, graph: Graph
    ) -> None:
        """Refuse a signal that the graph has no use for, before a run begins by it."""
        await self._fits(input, graph)
        await self._settle(partial(check_signal, graph, sent.name, sent.key, sent.payload))

    async def _schedule(self, request: ScheduleRequest) -> Accepted:
        check_options(request.name, request.options)
        graph = await self._resolve(request.graph, partial(self._fits, request.input))
        if not isinstance(request.graph, str):
            request = request.model_copy(update={"graph": graph.hash})
        return Accepted(id=request.id, run_id="", seq=await self._schedules.keep(request))

    async def _fork(
        self, request: ForkRequest, run_id: str, stored_ns: int
    ) -> Accepted | Rejected | None:
        await self._known(request.run_id)
        named = request.model_copy(update={"new_run_id": run_id})
        return await self._append("fork", run_id, named, stored_ns)

    async def _retry(self, request: RetryRequest) -> Accepted | Rejected | None:
        if request.options is not None:
            check_options(request.run_id, request.options)
        await self._known(request.run_id)
        if request.graph is not None:
            graph = await self._resolve(request.graph)
            request = request.model_copy(update={"graph": graph.hash})
        return await self._append("retry", request.run_id, request)

    async def _append(
        self,
        verb: Verb,
        run_id: str,
        request: RunRequest | ForkRequest | RetryRequest | _OfARun,
        stored_ns: int = 0,
    ) -> Accepted | Rejected | None:
        """Append the command; of one that is there already, the answer, if its run has been decided on since."""
        if await self._commands.append(verb, run_id, request.id, request, stored_ns=stored_ns):
            return None
        return await self._commands.outcome(run_id, request.id)

    async def _known(self, run_id: str, *, begin: bool = False) -> None:
        """Refuse what is asked of a run that nobody has asked to begin, or that waits at the door; or `begin` that one now."""
        if await self._in_the_log(run_id):
            return
        queued = None if self._at_the_door is None else await self._at_the_door(run_id)
        if queued is None:
            raise NotFound("run.unknown", f"no run {run_id}", where="run_id")
        if not begin:
            raise Conflict(
                "run.queued",
                f"run {run_id} has not begun, it waits at the door since {queued.since}",
                where="run_id",
                fix="ask again when it has begun, or cancel it; `partsong run show` says its place in the line",
            )
        verb = self._subjects.parse_request(queued.subject).verb
        await self.request(verb, queued.body, run_id)

    async def _in_the_log(self, run_id: str) -> bool:
        """Whether the log has records of a run, be it that they cannot be read: its owner says so then."""
        try:
            if await self._log.last(self._subjects.engine(run_id)) is not None:
                return True
            async for _ in self._log.read(self._subjects.run(run_id)):
                return True
        except Unavailable as error:
            if error.problem.code not in LOST:
                raise
            return True
        return False


def _verb(request: _OfARun) -> Verb:
    match request:
        case CancelRequest():
            return "cancel"
        case PauseRequest():
            return "pause"
        case ResumeRequest():
            return "resume"
        case SignalRequest():
            return "signal"


def _not_ours(field: str, id_: str, *, starts: bool = False) -> None:
    """Refuse ids of the form that the platform gives."""
    if id_.startswith(OURS) or (OURS in id_ and not starts):
        raise InvalidInput(
            "id.reserved",
            f"{field} {id_!r} holds {OURS!r}, which marks ids that the platform makes",
            where=field,
            fix="use letters, digits and - _ : / @ + = only",
        )


def _new_id(field: str, written: str | None, addressed: str) -> str:
    """The id that the caller gives a run, in the request or in its subject; empty if in neither."""
    if written and addressed and written != addressed:
        raise InvalidInput(
            "request.misaddressed",
            f"{field} is {written!r}, and the request was published to a subject that ends in {addressed!r}",
            where=field,
            fix=f"publish it to the subject of the run that it is to begin, or leave {field} out",
        )
    run_id = written or addressed
    _not_ours(field, run_id)
    return run_id


def _named(request: RunRequest | ForkRequest) -> str:
    """The id of a run that the caller has not named: the same however often the request is delivered."""
    return f"r_{hashlib.sha256(request.model_dump_json().encode()).hexdigest()[:26]}"


_TOKEN = re.compile(rb'"((?:[^"\\]++|\\.)*+)(?:"|\\?\Z)|[\[\]{}]', re.DOTALL)
"""A text, be it cut off, so that what it holds is never taken for another one; or a bracket."""
_VALUE = re.compile(rb'\s*:\s*"([A-Za-z0-9_:/@+=.~-]{1,200})"')
_TOKENS = 10_000
"""Texts and brackets among which the id of a request that is no JSON is looked for."""


def request_id(body: bytes, headers: Mapping[str, str]) -> str:
    """Whom to answer when a request could not be read: its id if that much is legible, else its message id."""
    written: object = None
    try:
        raw = json.loads(body) if len(body) <= MAX_BODY else {"id": _legible_id(body)}
    except (ValueError, RecursionError):
        raw = {"id": _legible_id(body)}
    if isinstance(raw, dict):
        written = raw.get("id")
    try:
        return check_id("id", written if isinstance(written, str) else headers.get(MSG_ID, ""))
    except InvalidInput:
        return ""


def _legible_id(body: bytes) -> str | None:
    """The id of a request that is no JSON, nested too deep or too large to be read, wherever it stands in it."""
    depth = 0
    for token in islice(_TOKEN.finditer(body), _TOKENS):
        sign = token[0]
        if sign in {b"{", b"["}:
            depth += 1
        elif sign in {b"}", b"]"}:
            depth -= 1
        elif depth == 1 and token[1] == b"id" and (found := _VALUE.match(body, token.end())):
            return found[1].decode()
    return None
