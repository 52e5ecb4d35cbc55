"""The newest header of each subject: what lists of runs are made of, without opening a single body."""

from __future__ import annotations

import asyncio
import json
import logging
import sys
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import aclosing
from dataclasses import dataclass, field

from nats.aio.client import Client
from nats.aio.msg import Msg

from partsong.contracts.errors import Unavailable
from partsong.log.feed import Unreadable, feed
from partsong.log.link import Link, Lost

__all__ = ["Summary", "summaries"]

_log = logging.getLogger("partsong.log")


@dataclass(frozen=True, slots=True)
class Summary:
    """The headers of a subject's newest record."""

    subject: str
    seq: int
    headers: Mapping[str, str] = field(default_factory=dict)
    broken: bool = False
    """There is a newest record, but the server cannot read it; nothing else is known of it."""


async def summaries(
    nc: Client, stream: str, filter: str, *, within: float = 30.0
) -> AsyncIterator[Summary]:
    """The newest record of every subject that matches, oldest first, headers only; those that are broken at the end.

    The server finds them in 0.2 s among 100,000 subjects, 1.2 s among a million.

    Raises:
        Unavailable: the server did not answer for `within` seconds.
    """
    link = Link(nc, attempt=min(5.0, within), deadline=within)
    try:
        async with aclosing(_walk(link, stream, filter, within)) as found:
            async for summary in found:
                yield summary
    finally:
        await link.close()


async def _walk(
    link: Link, stream: str, filter: str, within: float
) -> AsyncGenerator[Summary, None]:
    walk = feed(link, stream, filter, 0, limit=sys.maxsize, newest=True)
    try:
        async with aclosing(walk) as found:
            while (step := await _step(found, filter, within)) is not None:
                yield step
    except Unreadable:
        for subject in await _broken(link, stream, filter):
            _log.warning("record cannot be read", extra={"subject": subject})
            yield Summary(subject, 0, broken=True)


async def _step(
    found: AsyncGenerator[tuple[int, Msg], None], filter: str, within: float
) -> Summary | None:
    try:
        async with asyncio.timeout(within):
            seq, msg = await anext(found)
    except StopAsyncIteration:
        return None
    except TimeoutError as error:
        raise Unavailable(
            "log.no_answer", f"no list of {filter} within {within:g} s", retryable=True
        ) from error
    return Summary(msg.subject, seq, dict(msg.headers or {}))


async def _broken(link: Link, stream: str, filter: str) -> list[str]:
    """Subjects that the server counts and does not deliver. Only after damage, so it may read all of them twice."""
    subjects = await _subjects(link, stream, filter)
    seen: set[str] = set()
    try:
        async with aclosing(feed(link, stream, filter, 0, limit=sys.maxsize, newest=True)) as found:
            async for _, msg in found:
                seen.add(msg.subject)
    except Unreadable:
        pass
    return [subject for subject in subjects if subject not in seen]


async def _subjects(link: Link, stream: str, filter: str) -> list[str]:
    found: list[str] = []
    while True:
        query = json.dumps({"subjects_filter": filter, "offset": len(found)}).encode()

        async def ask(query: bytes = query) -> dict[str, int]:
            answer = json.loads((await link.ask(f"$JS.API.STREAM.INFO.{stream}", query)).data)
            if error := answer.get("error"):
                raise Lost(str(error.get("description")))
            page: dict[str, int] = answer["state"].get("subjects") or {}
            return page

        page = await link.insist(f"listing {filter}", ask)
        found += page
        if not page:
            return sorted(found)
