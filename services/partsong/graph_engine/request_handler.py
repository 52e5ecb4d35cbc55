"""`RequestHandler`: answers requests, each that has a legible id, and at once what can never be accepted.

A request is refused for good if it is the caller's fault, if its body is gone, or if it fails `TRIES` times by what is
not known to pass: a client waits half a minute. Only what is known to pass is tried for as long as it takes.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Protocol

from nats.aio.msg import Msg

from partsong.bus.faststream import Command
from partsong.contracts.errors import InvalidInput, PartsongError, Problem, Unavailable
from partsong.contracts.wire.damage import DAMAGED
from partsong.contracts.wire.headers import BLOB
from partsong.contracts.wire.requests import Accepted, Rejected
from partsong.contracts.wire.subjects import RequestSubject, Subjects
from partsong.graph_engine.door import request_id
from partsong.log.blobs import LOST
from partsong.runtime.room import FULL
from partsong.runtime.stream_table import CONTROL, LARGEST_REQUEST, STARTS

__all__ = ["TRIES", "Bury", "RequestHandler", "Take"]

_log = logging.getLogger("partsong.graph_engine")

TRIES = 4
"""Deliveries of a request that fails by what is not known to pass: the last one comes three seconds after the first."""
_AT_ONCE = 32
"""Requests of unknown kinds that are answered side by side."""

Bury = Callable[[Command, Problem], Awaitable[None]]
"""Keeps a dead letter of a request that was refused.

Raises:
    Unavailable: the server did not confirm it.
"""


class Take(Protocol):
    """Takes a request, of which nothing comes if it raises; see `Door.request`."""

    async def __call__(
        self, verb: str, body: bytes, run_id: str, *, stored_ns: int
    ) -> Accepted | Rejected | None:
        """The answer; None if it comes from the owner of the run."""
        ...


class RequestHandler:
    """Takes requests as they are delivered."""

    def __init__(
        self,
        subjects: Subjects,
        take: Take,
        answer: Callable[[Accepted | Rejected], Awaitable[None]],
        bury: Bury,
        body_of: Callable[[str], Awaitable[bytes]],
        closed: Callable[[], PartsongError | None] = lambda: None,
    ) -> None:
        """`body_of` reads a body that travels beside the stream; `closed` says why nothing is taken now, whatever it is."""
        self._subjects, self._take, self._answer, self._bury = subjects, take, answer, bury
        self._body_of, self._closed = body_of, closed
        self._running: set[asyncio.Task[None]] = set()
        self._slots = asyncio.Semaphore(_AT_ONCE)

    async def handle(self, command: Command, *, stored_ns: int = 0) -> bool:
        """Take one request, which was stored at `stored_ns`; whether something comes of it.

        Raises:
            Exception: it is to be delivered again: what it failed by may pass.
        """
        body = command.body
        try:
            if (closed := self._closed()) is not None:
                raise closed
            where = self._where(command)
            if command.seq and (blob := command.headers.get(BLOB)) is not None:
                body = await self._body_of(blob)
            reply = await self._take(where.verb, body, where.run_id, stored_ns=stored_ns)
        except asyncio.CancelledError:
            raise
        except BaseException as error:  # foreign code raises more than `Exception`
            problem = self._refusal(command, error)
            await self._answer(Rejected(id=request_id(body, command.headers), error=problem))
            if problem.code not in DAMAGED:
                await self._keep(command, problem)
            return False
        if reply is not None:
            await self._answer(reply)
        return not isinstance(reply, Rejected)

    async def handle_unknown(self, msg: Msg) -> None:
        """Answer a request that no stream takes, for its kind or its size. One that takes long holds no other up."""
        try:
            where = self._subjects.parse_request(msg.subject)
        except InvalidInput:
            pass
        else:
            known = where.lane is None and where.verb in {*STARTS, *CONTROL}
            if known and len(msg.data) <= LARGEST_REQUEST:
                return
        await self._slots.acquire()
        command = Command(msg.subject, msg.data, msg.headers or {}, 0, TRIES)
        task = asyncio.get_running_loop().create_task(self._unknown(command))
        self._running.add(task)
        task.add_done_callback(self._left)

    def _left(self, task: asyncio.Task[None]) -> None:
        self._running.discard(task)
        self._slots.release()

    async def _unknown(self, command: Command) -> None:
        try:
            await self.handle(command)
        except Exception:
            _log.exception("request not answered", extra={"subject": command.subject})

    def _where(self, command: Command) -> RequestSubject:
        where = self._subjects.parse_request(command.subject)
        if where.lane is not None and not command.seq:
            raise InvalidInput(
                "subject.invalid",
                f"{command.subject} is how requests are stored, not where they are published",
                where="subject",
                fix=f"publish to {self._subjects.beginning(where.verb, where.caller, where.run_id)}",
            )
        return where

    @staticmethod
    def _refusal(command: Command, error: BaseException) -> Problem:
        """Why a request is refused for good; raises what may pass."""
        if isinstance(error, KeyboardInterrupt | SystemExit):
            raise error
        if not isinstance(error, PartsongError):
            if command.deliveries < TRIES:
                raise RuntimeError(f"{type(error).__name__}: {error}") from error
            told = {"subject": command.subject, "seq": command.seq}
            _log.error("request failed", extra=told, exc_info=error)
            return Problem(
                code="request.fault",
                message=f"{type(error).__name__} while the request was taken: {error}",
                fix="this is a mistake in Partsong, and the engine's log has its traceback; nothing was changed",
                fault="platform",
            )
        problem = error.problem
        if not isinstance(error, Unavailable) or problem.code in DAMAGED | LOST | FULL:
            return problem
        if problem.retryable or command.deliveries < TRIES:
            raise error
        return problem

    async def _keep(self, command: Command, problem: Problem) -> None:
        """Keep a dead letter if that can be done: it was answered, and must not come again to be accepted then."""
        told = {"subject": command.subject, "problem": problem.code}
        _log.warning("request refused", extra=told)
        try:
            await self._bury(command, problem)
        except Unavailable as error:
            _log.warning("dead letter not kept", extra={**told, "why": str(error)})
