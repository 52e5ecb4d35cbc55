"""`LogAnswers`: says what a service's monitor knows of the log, to whoever asks `partsong.query.<service>.log`.

Some things only a service knows: that its appends are not answered, for one. An onlooker appends nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterable

import nats.errors
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription
from pydantic import BaseModel, ConfigDict, ValidationError

from partsong.contracts.errors import Problem
from partsong.contracts.subjects import Subjects
from partsong.runtime.answers import all_answers

__all__ = ["LogAnswers", "LogSaid", "ask_services"]

_WITHIN = 1.0


class LogSaid(BaseModel):
    """One service's answer."""

    model_config = ConfigDict(frozen=True, extra="allow")

    worker: str
    problem: Problem | None = None
    """Why it is not ready: what is wrong with the log, or what keeps the service from its work in it."""


class LogAnswers:
    """Answers for one service."""

    def __init__(
        self,
        nc: Client,
        subjects: Subjects,
        service: str,
        worker: str,
        problem: Callable[[], Problem | None],
    ) -> None:
        self._nc, self._worker, self._problem = nc, worker, problem
        self._subject = subjects.query(service, "log")
        self._sub: Subscription | None = None

    async def start(self) -> None:
        """Begin to answer."""
        self._sub = await self._nc.subscribe(self._subject, cb=self._answer)

    async def stop(self) -> None:
        """Answer no more."""
        if self._sub is not None:
            with contextlib.suppress(nats.errors.Error):
                await self._sub.unsubscribe()

    async def _answer(self, msg: Msg) -> None:
        if msg.reply:
            said = LogSaid(worker=self._worker, problem=self._problem())
            with contextlib.suppress(nats.errors.Error):
                await msg.respond(said.model_dump_json(exclude_none=True).encode())


async def ask_services(
    nc: Client, subjects: Subjects, services: Iterable[str], *, quiet: float | None = None
) -> list[LogSaid]:
    """What all workers of some services answer within a second; nobody's silence is an error.

    With `quiet`, it waits no longer than until nobody has answered for so many seconds.
    """
    asked = (_answers(nc, subjects.query(service, "log"), quiet) for service in services)
    return [said for found in await asyncio.gather(*asked) for said in found]


async def _answers(nc: Client, subject: str, quiet: float | None) -> list[LogSaid]:
    found: list[LogSaid] = []
    for body in await all_answers(nc, subject, within=_WITHIN, quiet=quiet):
        with contextlib.suppress(ValidationError):
            found.append(LogSaid.model_validate_json(body))
    return found
