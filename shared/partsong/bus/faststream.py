"""FastStream under our rules, for commands and queries.

Its defaults destroy a message on any exception, redeliver without delay, and rewrite the configuration of an existing
stream. So here: streams are never declared, acknowledging is ours (`Discipline`), and bodies are handed over as they
came, because what cannot be decoded must be answered and kept, not dropped.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from functools import partial
from types import TracebackType
from typing import Any

from faststream import AckPolicy, BaseMiddleware
from faststream.message import StreamMessage
from faststream.nats import JStream, NatsBroker, PullSub
from nats.aio.client import Client
from nats.aio.msg import Msg

from partsong.bus.handling import MOST, Handling
from partsong.bus.post import Post
from partsong.bus.pull import Delivery, delivery_of
from partsong.contracts.errors import PartsongError, Problem
from partsong.contracts.wire.subjects import Subjects

__all__ = ["Command", "Discipline", "command_broker", "on_command", "on_query"]

_log = logging.getLogger("partsong.bus")

_BEAT = 1.0
"""Seconds between two in-progress signals; consumers of commands wait three."""
_GRACE = 5.0


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
    """What comes out of a stream is in progress while its handler runs, and is answered as `Handling` says."""

    def __init__(self, msg: Any, /, *, context: Any, handling: Handling, post: Post) -> None:
        super().__init__(msg, context=context)
        self._handling, self._post = handling, post

    async def consume_scope(
        self, call_next: Callable[[StreamMessage[Any]], Awaitable[Any]], msg: StreamMessage[Any]
    ) -> Any:
        """Around each handler."""
        delivery = delivery_of(msg.raw_message, self._post)
        if delivery is None:
            return await call_next(msg)
        beating = asyncio.get_running_loop().create_task(_beat(delivery))
        try:
            await self._handling.answer(delivery, call_next(msg))
        finally:
            beating.cancel()
        return None


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
        # FastStream cancels its tasks, forgets them and closes the queue between them: the one that fetches may fail on
        # that. What it had fetched was never handled, so it is not acknowledged and comes again.
        tasks = [task for one in self.subscribers for task in getattr(one, "tasks", ())]
        await super().stop(exc_type, exc_val, exc_tb)
        await asyncio.gather(*tasks, return_exceptions=True)


def command_broker(
    nc: Client,
    subjects: Subjects,
    service: str,
    *,
    most: int = MOST,
    buried: Callable[[Delivery, Problem], Awaitable[None]] | None = None,
) -> NatsBroker:
    """A broker on an existing connection, which it leaves open; acknowledging is left to `Discipline`.

    `buried` tells whoever waits that nothing will come of a message.
    """
    handling = Handling(nc, subjects, service, fault="command.fault", most=most, buried=buried)
    post = Post(nc)
    return _Broker(
        nc,
        ack_policy=AckPolicy.MANUAL,
        decoder=partial(_as_command, post),
        middlewares=[partial(Discipline, handling=handling, post=post)],
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


async def _beat(delivery: Delivery) -> None:
    while True:
        await asyncio.sleep(_BEAT)
        delivery.in_progress()


async def _as_command(post: Post, message: StreamMessage[Any]) -> Command:
    raw: Msg = message.raw_message
    found = delivery_of(raw, post)
    seq, deliveries = (found.stream_seq, found.num_delivered) if found else (0, 1)
    return Command(raw.subject, raw.data, raw.headers or {}, seq, deliveries)


def _fault(what: str, error: Exception) -> Problem:
    return Problem(
        code=f"{what}.fault", message=f"{type(error).__name__}: {error}", fault="platform"
    )
