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
from typing import Any

import nats.errors
from faststream import AckPolicy, BaseMiddleware
from faststream.message import StreamMessage
from faststream.nats import JStream, NatsBroker, PullSub
from nats.aio.msg import Msg

from partsong.contracts.errors import PartsongError, Problem
from partsong.contracts.subjects import Subjects

__all__ = ["Command", "Discipline", "command_broker", "on_command", "on_query"]

_log = logging.getLogger("partsong.bus")

_BEAT = 1.0
"""Seconds between two in-progress signals; consumers of commands wait three."""
_FIRST, _LONGEST = 0.5, 30.0


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
    """In progress while the handler runs, acknowledged when it returns, delivered again later when it raises."""

    async def consume_scope(
        self, call_next: Callable[[StreamMessage[Any]], Awaitable[Any]], msg: StreamMessage[Any]
    ) -> Any:
        """Around each handler."""
        raw: Msg = msg.raw_message
        if not raw.reply.startswith("$JS.ACK"):
            return await call_next(msg)
        beating = asyncio.get_running_loop().create_task(_beat(raw))
        try:
            result = await call_next(msg)
        except Exception as error:
            delay = min(_LONGEST, _FIRST * 2 ** (raw.metadata.num_delivered - 1))
            code = error.problem.code if isinstance(error, PartsongError) else type(error).__name__
            _log.warning(
                "command failed",
                extra={"subject": raw.subject, "problem": code, "again_in": delay},
                exc_info=True,
            )
            with contextlib.suppress(nats.errors.Error):
                await raw.nak(delay=delay)
            return None
        else:
            with contextlib.suppress(nats.errors.Error):
                await raw.ack()
            return result
        finally:
            beating.cancel()


async def _beat(raw: Msg) -> None:
    while True:
        await asyncio.sleep(_BEAT)
        with contextlib.suppress(nats.errors.Error):
            await raw.in_progress()


async def _as_command(message: StreamMessage[Any]) -> Command:
    raw: Msg = message.raw_message
    stored = raw.reply.startswith("$JS.ACK")
    place = raw.metadata if stored else None
    return Command(
        raw.subject,
        raw.data,
        raw.headers or {},
        place.sequence.stream if place else 0,
        place.num_delivered if place else 1,
    )


def command_broker(url: str, *, name: str) -> NatsBroker:
    """A broker that reconnects for ever and leaves acknowledging to `Discipline`."""
    return NatsBroker(
        url.split(","),
        name=name,
        ack_policy=AckPolicy.MANUAL,
        max_reconnect_attempts=-1,
        reconnect_time_wait=1,
        ping_interval=5,
        decoder=_as_command,
        middlewares=[Discipline],
        apply_types=False,
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
) -> None:
    """Answer `partsong.query.<service>.<name>`; of several processes one answers."""

    async def handler(command: Command) -> object:
        try:
            return await answer(command)
        except PartsongError as error:
            return {"error": error.problem.model_dump(exclude_none=True)}
        except Exception as error:
            _log.exception("query failed", extra={"subject": command.subject})
            fault = Problem(
                code="query.fault", message=f"{type(error).__name__}: {error}", fault="platform"
            )
            return {"error": fault.model_dump(exclude_none=True)}

    broker.subscriber(subjects.query(service, name), queue=f"{service}-{name}")(handler)
