"""Asking at the door: publish a request durably, wait for its answer."""

from __future__ import annotations

import asyncio

import nats.errors
from nats.aio.client import Client as Nats
from nats.aio.msg import Msg
from nats.js.errors import APIError, NoStreamResponseError
from pydantic import BaseModel

from partsong.contracts.errors import InvalidInput, Unavailable
from partsong.contracts.requests import REPLY, Accepted
from partsong.contracts.subjects import Subjects
from partsong.runtime import clock

__all__ = ["ask"]

_STORED = 10.0
"""Seconds the server has to say that a request is stored."""
_ATTEMPT, _PAUSE = 2.0, 0.1
_ABSENT = 5.0
"""Seconds without anybody who keeps requests: a cluster elects a leader in less."""


async def ask(
    nc: Nats, subjects: Subjects, verb: str, request_id: str, request: BaseModel, *, within: float
) -> Accepted:
    """Publish a request and wait, for at most `within` seconds, until an engine has carried it out.

    The request is in a stream before this waits: if the answer does not come in time it may still be carried out
    later, and asking again with the same run id is safe. A request asked again is stored again, as an answer is due.

    Raises:
        InvalidInput: it was refused; the problem names the field.
        Unavailable: `request.not_stored`, or `request.no_answer` if no engine answered in time.
    """
    answer: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

    async def take(msg: Msg) -> None:
        if not answer.done():
            answer.set_result(msg.data)

    sub = await nc.subscribe(subjects.reply(request_id), cb=take)
    try:
        body = request.model_dump_json(exclude_none=True).encode()
        await _store(nc, subjects.request(verb), body, f"{request_id}.{clock.new_id()}")
        reply = REPLY.validate_json(await asyncio.wait_for(answer, within))
    except TimeoutError as error:
        raise Unavailable(
            "request.no_answer",
            f"no engine answered request {request_id} within {within:g} s; it is stored and may still be carried out",
            fix="see whether a graph-engine runs: `partsong bus status`",
            retryable=True,
        ) from error
    except nats.errors.MaxPayloadError as error:
        raise InvalidInput(
            "request.too_large",
            f"the request is larger than the server takes: {error}",
            where="body",
            fix="put large data into a store and its address into the input",
        ) from error
    except (nats.errors.Error, APIError) as error:
        raise _not_stored(error) from error
    finally:
        await sub.unsubscribe()
    if isinstance(reply, Accepted):
        return reply
    raise InvalidInput.of(reply.error)


async def _store(nc: Nats, subject: str, body: bytes, message_id: str) -> None:
    """Publish a request until the server says that it is stored; one that it has already, it does not take again.

    Raises:
        Unavailable: `request.not_stored` in time.
    """
    js, now = nc.jetstream(), asyncio.get_running_loop().time
    began = now()
    while True:
        try:
            await js.publish(subject, body, timeout=_ATTEMPT, headers={"Nats-Msg-Id": message_id})
            return
        except (TimeoutError, NoStreamResponseError) as error:  # its stream has no leader now
            limit = _ABSENT if isinstance(error, NoStreamResponseError) else _STORED
            if now() + _PAUSE - began >= limit:
                raise _not_stored(error) from error
        await asyncio.sleep(_PAUSE)


def _not_stored(error: Exception) -> Unavailable:
    return Unavailable(
        "request.not_stored",
        f"the request could not be stored: {error!r}",
        fix="check the NATS URL, and that the streams exist: `partsong doctor`",
        retryable=True,
    )
