"""Dead letters: what nobody could work off, kept with the reason, by its digest and its beginning.

Whoever has the message finds its letter by the digest. A copy of each would let anybody fill the server with what is
refused.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping

import nats.errors
from nats.aio.client import Client
from nats.js.errors import APIError

from partsong.bus.legible import legible
from partsong.contracts.errors import Problem, Unavailable
from partsong.contracts.wire.dead_letter import LONGEST_BODY, LONGEST_RAW, DeadLetter
from partsong.contracts.wire.headers import MSG_ID
from partsong.contracts.wire.subjects import Subjects
from partsong.runtime import clock
from partsong.runtime.visible import visible

__all__ = ["dead_letter"]

_MOST_HEADERS = 2048
"""Characters of headers that are kept."""


async def dead_letter(
    nc: Client,
    subjects: Subjects,
    service: str,
    problem: Problem,
    *,
    subject: str,
    seq: int,
    deliveries: int,
    body: bytes,
    headers: Mapping[str, str] | None = None,
    id: str | None = None,
) -> None:
    """Keep a message that cannot be worked off: the beginning of its body, and the digest of all of it.

    With an `id` it is kept once, however often it is sent within the server's window for duplicates. A `seq` of 0 is
    no message's.

    Raises:
        Unavailable: the server did not confirm it; the message must not be acknowledged then.
    """
    letter = DeadLetter(
        time=clock.now_text(),
        service=service,
        reason=legible(problem),
        subject=subject,
        seq=seq,
        deliveries=deliveries,
        size=len(body),
        digest=f"sha256:{hashlib.sha256(body).hexdigest()}",
        body=visible(body[:LONGEST_BODY].decode(errors="replace")),
        headers=_own(headers or {}),
    )
    if len(body) <= LONGEST_RAW and letter.message() is None:
        letter = letter.model_copy(update={"raw": base64.b64encode(body).decode()})
    try:
        once = {MSG_ID: id} if id is not None else None
        text = json.dumps(letter.model_dump(exclude_none=True)).encode()
        await nc.jetstream().publish(subjects.dead(service), text, timeout=5, headers=once)
    except (nats.errors.Error, APIError, TimeoutError) as error:
        raise Unavailable(
            "dead_letter.not_kept", f"the dead letter of {subject} was not confirmed: {error!r}"
        ) from error


def _own(headers: Mapping[str, str]) -> dict[str, str]:
    """A message's headers without those by which the server was told what to do; nobody may fill a letter with them."""
    found, room = dict[str, str](), _MOST_HEADERS
    for name, value in headers.items():
        room -= len(name) + len(value)
        if room >= 0 and not name.lower().startswith("nats-"):
            found[visible(name, lines=False)] = visible(value, lines=False)
    return found
