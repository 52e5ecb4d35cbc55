"""The newest header of each subject: what lists of runs are made of, without opening a single body."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import aclosing, suppress
from dataclasses import dataclass, field

from nats.aio.client import Client
from nats.aio.msg import Msg

from partsong.contracts.errors import Unavailable
from partsong.log.feed import Incomplete, feed
from partsong.log.link import Link
from partsong.log.subject_counts import page_of, total_of

__all__ = ["Summary", "summaries"]


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

    The server finds them in 0.2 s among 100,000 subjects, 1.2 s among a million. It passes over a record that it cannot
    read without a word; only its count of subjects, which it is asked for as well, still has it.

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
    expected, count = await total_of(link, stream, filter), 0
    walk = feed(link, stream, filter, 0, limit=sys.maxsize, newest=True)
    with suppress(Incomplete):
        async with aclosing(walk) as found:
            while (step := await _step(found, filter, within)) is not None:
                count += 1
                yield step
    if count < expected:
        for subject in await _broken(link, stream, filter):
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
    subjects: list[str] = []
    while page := (await page_of(link, stream, filter, len(subjects)))[1]:
        subjects += page
    seen: set[str] = set()
    with suppress(Incomplete):
        walk = feed(link, stream, filter, 0, limit=sys.maxsize, newest=True)
        async with aclosing(walk) as found:
            async for _, msg in found:
                seen.add(msg.subject)
    return sorted(subject for subject in subjects if subject not in seen)
