"""FastStream under our rules, for commands and queries.

Its defaults destroy a message on any exception, redeliver without delay, and rewrite the configuration of an existing
stream. So here: streams are never declared, acknowledging is ours (`Discipline`), and bodies are handed over as they
came, because what cannot be decoded must be answered and kept, not dropped.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from functools import partial
from types import TracebackType
from typing import Any

import nats.errors
from faststream import AckPolicy, BaseMiddleware
from faststream.message import StreamMessage
from faststream.nats import JStream, NatsBroker, PullSub
from nats.aio.client import Client
from nats.aio.msg import Msg

from partsong.bus.dead import dead_letter
from partsong.contracts.errors import InvalidInput, PartsongError, Problem
from partsong.contracts.subjects import Subjects
from partsong.runtime.backoff import backoff

__all__ = ["Command", "Discipline", "command_broker", "on_command", "on_query"]

_log = logging.getLogger("partsong.bus")

_MOST = 20
"""Deliveries of one command before it becomes a dead letter."""
_BEAT = 1.0
"""Seconds between two in-progress signals; consumers of commands wait three."""
_FIRST, _LONGEST = 0.5, 30.0
_GRACE = 5.0

_Bury = Callable[[Msg, Problem], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Command:
    """One message, undecoded."""

    subject: str
    body: bytes
    headers: Mapping[str, str]
    seq: int
    """Its place in the stream; 0 for a query, which is in none."""
    deliveries: int


class Discipline(BaseMiddleware[Any, Any]):
    """In progress while the handler runs, acknowledged when it returns, delivered again later when it raises.

    What a handler refuses with `InvalidInput`, and what has been delivered `most` times, becomes a dead letter and is
    terminated with the reason.
    """

    def __init__(self, msg: Any, /, *, context: Any, bury: _Bury, most: int) -> None:
        super().__init__(msg, context=context)
        self._bury, self._most = bury, most

    async def consume_scope(
        self, call_next: Callable[[StreamMessage[Any]], Awaitable[Any]], msg: StreamMessage[Any]
    ) -> Any:
        """Around each handler."""
        raw: Msg = msg.raw_message
        if not _stored(raw):
            return await call_next(msg)
        beating = asyncio.get_running_loop().create_task(_beat(raw))
        try:
            result = await call_next(msg)
        except Exception as error:
            await self._failed(raw, error)
            return None
        else:
            with contextlib.suppress(nats.errors.Error):  # then it comes once more
                await raw.ack()
            return result
        finally:
            beating.cancel()

    async def _failed(self, raw: Msg, error: Exception) -> None:
        problem = error.problem if isinstance(error, PartsongError) else _fault("command", error)
        tries = raw.metadata.num_delivered
        told = {"subject": raw.subject, "problem": problem.code, "tries": tries}
        _log.warning("command failed", extra=told, exc_info=error)
        delay = backoff(tries, first=_FIRST, longest=_LONGEST)
        if isinstance(error, InvalidInput) or tries >= self._most:
            try:
                await self._bury(raw, problem)
            except PartsongError:
                _log.exception("dead letter not kept", extra=told)
            else:
                await self._say(raw, b"+TERM " + problem.code.encode())
                return
        await self._say(raw, b'-NAK {"delay": %d}' % int(delay * 1_000_000_000))

    @staticmethod
    async def _say(raw: Msg, word: bytes) -> None:
        """Answer in the consumer's own words: nats-py's `term` takes no reason."""
        with contextlib.suppress(nats.errors.Error):
            await raw.respond(word)


class _Broker(NatsBroker):
    """A broker on a connection that is not its own."""

    def __init__(self, nc: Client, **options: Any) -> None:
        super().__init__(**options)
        self._nc = nc

    async def _connect(self) -> Client:
        self.config.connect(self._nc)
        return self._nc

    async def stop(
        self,
        exc_type: type[BaseException] | None = None,
        exc_val: BaseException | None = None,
        exc_tb: TracebackType | None = None,
    ) -> None:
        self._connection = None  # or it would be drained and closed
        await super().stop(exc_type, exc_val, exc_tb)


def command_broker(
    nc: Client, subjects: Subjects, service: str, *, most: int = _MOST
) -> NatsBroker:
    """A broker on an existing connection, which it leaves open; acknowledging is left to `Discipline`."""

    async def bury(raw: Msg, problem: Problem) -> None:
        place = raw.metadata
        await dead_letter(
            nc,
            subjects,
            service,
            problem,
            subject=raw.subject,
            seq=place.sequence.stream,
            deliveries=place.num_delivered,
            body=raw.data,
        )

    return _Broker(
        nc,
        ack_policy=AckPolicy.MANUAL,
        decoder=_as_command,
        middlewares=[partial(Discipline, bury=bury, most=most)],
        apply_types=False,
        graceful_timeout=_GRACE,
        logger=None,
    )


def on_command(
    broker: NatsBroker,
    stream: str,
    durable: str,
    subject: str,
    handler: Callable[[Command], Awaitable[None]],
    *,
    at_once: int = 32,
) -> None:
    """Handle the messages of an existing durable consumer, `at_once` side by side."""
    broker.subscriber(
        subject,
        stream=JStream(stream, declare=False),
        durable=durable,
        pull_sub=PullSub(batch_size=8, timeout=1.0),
        max_workers=at_once,
        no_reply=True,
    )(handler)


def on_query(
    broker: NatsBroker,
    subjects: Subjects,
    service: str,
    name: str,
    answer: Callable[[Command], Awaitable[object]],
    *,
    everybody: bool = False,
) -> None:
    """Answer `partsong.query.<service>.<name>`; of several processes one answers, or `everybody`.

    What `answer` raises is answered as `{"error": …}`.
    """

    async def handler(command: Command) -> object:
        try:
            return await answer(command)
        except PartsongError as error:
            return {"error": error.problem.model_dump(exclude_none=True)}
        except Exception as error:
            _log.exception("query failed", extra={"subject": command.subject})
            return {"error": _fault("query", error).model_dump(exclude_none=True)}

    queue = "" if everybody else f"{service}-{name}"
    broker.subscriber(subjects.query(service, name), queue=queue)(handler)


async def _beat(raw: Msg) -> None:
    while True:
        await asyncio.sleep(_BEAT)
        with contextlib.suppress(nats.errors.Error):
            await raw.in_progress()


async def _as_command(message: StreamMessage[Any]) -> Command:
    raw: Msg = message.raw_message
    place = raw.metadata if _stored(raw) else None
    return Command(
        raw.subject,
        raw.data,
        raw.headers or {},
        place.sequence.stream if place else 0,
        place.num_delivered if place else 1,
    )


def _stored(raw: Msg) -> bool:
    return raw.reply.startswith("$JS.ACK")


def _fault(what: str, error: Exception) -> Problem:
    return Problem(
        code=f"{what}.fault", message=f"{type(error).__name__}: {error}", fault="platform"
    )
