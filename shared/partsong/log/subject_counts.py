"""The server's own count of the records of each subject: it has those it cannot read, too."""

from __future__ import annotations

import json

from nats.aio.client import Client

from partsong.contracts.errors import Unavailable
from partsong.log.link import Link, Lost

__all__ = ["counted", "page_of", "total_of"]

_BEYOND = 10**9
"""An offset at which the server counts the subjects and lists none of them."""


async def total_of(link: Link, stream: str, filter: str) -> int:
    """How many subjects match.

    Raises:
        Unavailable: the server did not answer in time.
    """
    return (await page_of(link, stream, filter, _BEYOND))[0]


async def counted(nc: Client, stream: str, filter: str) -> dict[str, int]:
    """How many records each subject has that matches.

    Raises:
        Unavailable: the server did not answer in time.
    """
    link, found = Link(nc, attempt=5.0, deadline=30.0), dict[str, int]()
    try:
        while page := (await page_of(link, stream, filter, len(found)))[1]:
            found |= page
    finally:
        await link.close()
    return found


async def page_of(link: Link, stream: str, filter: str, offset: int) -> tuple[int, dict[str, int]]:
    """How many subjects match, and up to 100,000 of them with their counts."""
    query = json.dumps({"subjects_filter": filter, "offset": offset}).encode()

    async def ask() -> tuple[int, dict[str, int]]:
        answer = json.loads((await link.ask(f"$JS.API.STREAM.INFO.{stream}", query)).data)
        if error := answer.get("error"):
            if error.get("code") == 503:
                raise Lost(str(error.get("description")))
            raise _refused(stream, error)
        return int(answer.get("total", 0)), dict(answer["state"].get("subjects") or {})

    return await link.insist(f"counting {filter}", ask)


def _refused(stream: str, error: dict[str, object]) -> Unavailable:
    return Unavailable(
        "log.refused",
        f"stream {stream} cannot be counted: {error.get('description')} ({error.get('err_code')})",
        where=stream,
        fix="check the NATS URL and the prefix: `partsong doctor` says what is there and what is not",
    )
