"""An atomic batch of JetStream (ADR-50 of NATS): several appends that are stored together or not at all.

Each message names the batch and its place in it; the last one asks for the commit, and only that one is answered. Each
may carry an expectation on its own subject. nats-py knows nothing of it: it is all headers.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence

import nats.errors

from partsong.contracts.errors import Unavailable
from partsong.contracts.wire.headers import (
    BATCH_COMMIT,
    BATCH_ID,
    BATCH_SEQUENCE,
    EXPECTED_ON_SUBJECT,
    MSG_ID,
)
from partsong.log.link import Link, Lost
from partsong.log.port import Append, Appended
from partsong.log.subject import check_append

__all__ = ["append_batch"]


async def append_batch(link: Link, appends: Sequence[Append], *, within: float) -> list[Appended]:
    """Store all of them, in their order and with nothing between them.

    Raises:
        Unavailable: `log.batch_refused`, or `nats.no_answer`: whether they are stored is not known.
    """
    batch = link.nc.new_inbox().rpartition(".")[2]
    messages = [(one, _headers(one, batch, place)) for place, one in enumerate(appends, 1)]
    *before, (last, commit) = messages
    try:
        async with asyncio.timeout(within):
            for one, headers in before:
                await link.nc.publish(one.subject, one.body, headers=headers)
            reply = await link.ask(last.subject, last.body, {**commit, BATCH_COMMIT: "1"})
    except (TimeoutError, Lost, OSError, nats.errors.Error) as error:
        raise Unavailable(
            "nats.no_answer",
            f"{len(appends)} appends were not answered within {within:g} s: {error!r}",
            retryable=True,
        ) from error
    ack = json.loads(reply.data)
    if (problem := ack.get("error")) is not None:
        said = f"{problem.get('description')} ({problem.get('err_code')})"
        raise Unavailable(
            "log.batch_refused",
            f"{len(appends)} appends were refused together: {said}",
            retryable=True,
        )
    first = int(ack["seq"]) - len(appends) + 1
    return [Appended(first + place) for place in range(len(appends))]


def _headers(one: Append, batch: str, place: int) -> dict[str, str]:
    check_append(one.subject, one.id, one.headers)
    headers = {MSG_ID: one.id, **(one.headers or {}), BATCH_ID: batch, BATCH_SEQUENCE: str(place)}
    if one.expect is not None:
        headers[EXPECTED_ON_SUBJECT] = str(one.expect)
    return headers
