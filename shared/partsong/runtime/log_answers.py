"""`log_answers` says what a service's monitor knows of the log, to whoever asks `partsong.query.<service>.log`.

Some things only a service knows: that its appends are not answered, for one. An onlooker appends nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterable

from nats.aio.client import Client
from pydantic import BaseModel, ConfigDict, ValidationError

from partsong.contracts.errors import Problem
from partsong.contracts.wire.subjects import Subjects
from partsong.runtime.answers import Answering, all_answers

__all__ = ["LogSaid", "ask_services", "log_answers"]

_WITHIN = 1.0


class LogSaid(BaseModel):
    """One service's answer."""

    model_config = ConfigDict(frozen=True, extra="allow")

    worker: str
    problem: Problem | None = None
    """Why it is not ready: what is wrong with the log, or what keeps the service from its work in it."""


def log_answers(
    nc: Client,
    subjects: Subjects,
    service: str,
    worker: str,
    problem: Callable[[], Problem | None],
) -> Answering:
    """The answers of one service."""

    def say() -> bytes:
        said = LogSaid(worker=worker, problem=problem())
        return said.model_dump_json(exclude_none=True).encode()

    return Answering(nc, subjects.query(service, "log"), say)


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
