"""The door: requests in, answers out. What cannot be accepted changes nothing and is answered with a reason."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping

from pydantic import JsonValue

from partsong.contracts.errors import Conflict, InvalidInput, NotFound, PartsongError
from partsong.contracts.graph import Graph
from partsong.contracts.requests import Accepted, CancelRequest, RunRequest, parse_request
from partsong.contracts.subjects import check_id
from partsong.graph_engine.runs import Cancel, Message, Runs, Start
from partsong.runtime import clock

__all__ = ["MAX_BODY", "Door", "request_id"]

MAX_BODY = 1_000_000
"""Bytes a request may have. Larger inputs belong into a store of their own, with a reference in the state."""


class Door:
    """Validates requests and puts them into the mailboxes of their runs."""

    def __init__(
        self, runs: Runs, resolve: Callable[[str | dict[str, JsonValue]], Awaitable[Graph]]
    ) -> None:
        self._runs, self._resolve = runs, resolve

    async def request(self, verb: str, body: bytes) -> Accepted:
        """Carry out one request; when this returns, its effect is in the log.

        Raises:
            InvalidInput: naming the field.
            NotFound: an unknown graph or run.
            Conflict: `run.exists` if the run id belongs to a run of another graph.
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
            case CancelRequest():
                return await self._cancel(request)

    async def _run(self, request: RunRequest) -> Accepted:
        graph = await self._resolve(request.graph)
        run_id = request.run_id or clock.new_run_id()
        start = Start(graph, request.input, request.options, request.id)
        await self._delivered(run_id, start)
        assert start.result is not None, "a start that is done has a result"  # noqa: S101
        if not start.result.same:
            raise Conflict(
                "run.exists",
                f"run {run_id} exists with another graph than {graph.name} ({graph.hash[:19]}…)",
                where="run_id",
                fix="leave run_id out to get a fresh one",
            )
        return Accepted(id=request.id, run_id=run_id, seq=start.result.seq)

    async def _cancel(self, request: CancelRequest) -> Accepted:
        cancel = Cancel(request.reason, request.id)
        await self._delivered(request.run_id, cancel)
        if not cancel.known:
            raise NotFound("run.unknown", f"no run {request.run_id}", where="run_id")
        return Accepted(id=request.id, run_id=request.run_id, seq=0)

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
