"""Dead letters: what nobody could work off, kept with the reason, by its digest and its beginning.

Whoever has the message finds its letter by the digest. A copy of each would let anybody fill the server with what is
refused.
"""

from __future__ import annotations

import hashlib
import json

import nats.errors
from nats.aio.client import Client
from nats.js.errors import APIError

from partsong.bus.legible import legible
from partsong.contracts.errors import Problem, Unavailable
from partsong.contracts.wire.dead_letter import LONGEST_BODY, DeadLetter
from partsong.contracts.wire.headers import MSG_ID
from partsong.contracts.wire.subjects import Subjects
from partsong.runtime import clock
from partsong.runtime.visible import visible

__all__ = ["dead_letter"]


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
    )
    try:
        headers = {MSG_ID: id} if id is not None else None
        text = json.dumps(letter.model_dump(exclude_none=True)).encode()
        await nc.jetstream().publish(subjects.dead(service), text, timeout=5, headers=headers)
    except (nats.errors.Error, APIError, TimeoutError) as error:
        raise Unavailable(
            "dead_letter.not_kept", f"the dead letter of {subject} was not confirmed: {error!r}"
        ) from error
