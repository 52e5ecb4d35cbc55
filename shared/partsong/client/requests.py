"""Asking at the door: publish a request durably, wait for its answer."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from functools import partial
from typing import TypeVar

import nats.errors
from nats.aio.client import Client as Nats
from nats.aio.msg import Msg
from nats.js.errors import APIError, NoStreamResponseError
from pydantic import BaseModel, ValidationError

from partsong.bus.queued import Queued, find_request
from partsong.contracts.durations import format_duration
from partsong.contracts.errors import InvalidInput, Unavailable
from partsong.contracts.wire.headers import MSG_ID
from partsong.contracts.wire.requests import REPLY, Accepted, Reply
from partsong.contracts.wire.subjects import Subjects
from partsong.log.full import is_full, log_full
from partsong.runtime import clock
from partsong.runtime.room import holds_all, no_room
from partsong.runtime.stream_table import LARGEST_REQUEST
from partsong.runtime.streams import MADE_ANEW, Names

__all__ = ["answered", "ask"]

T = TypeVar("T")

_STORED = 10.0
"""Seconds the server has to say that a request is stored."""
_ATTEMPT, _PAUSE = 2.0, 0.1
_LOOK = 1.0
"""Seconds without an answer until it is looked up whether the request waits at the door."""
_ABSENT = 5.0
"""Seconds without anybody who keeps requests: a cluster elects a leader in less."""


async def ask(
    nc: Nats,
    subjects: Subjects,
    verb: str,
    request_id: str,
    request: BaseModel,
    *,
    within: float,
    caller: str = "",
    run_id: str = "",
) -> Accepted:
    """Publish a request and wait until an engine has carried it out; `within` seconds, as long as nothing moves.

    The request is in a stream before this waits: if the answer does not come in time it may still be carried out
    later, and asking again with the same run id is safe. A request asked again is stored again, as an answer is due.
    By `caller` and `run_id` a run that is to begin stands in its caller's lane.

    Raises:
        InvalidInput: it was refused; the problem names the field.
        Unavailable: `requests.full` or `request.not_stored`, at once if the server says so; or `request.no_answer` if no engine answered in time.
    """
    answer: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()
    subject = subjects.beginning(verb, caller, run_id) if caller else subjects.request(verb)
    find = partial(find_request, nc, subjects)

    async def take(msg: Msg) -> None:
        if not answer.done():
            with contextlib.suppress(ValidationError):  # anybody may publish there
                answer.set_result(REPLY.validate_json(msg.data))

    sub = await nc.subscribe(subjects.reply(request_id), cb=take)
    try:
        body = request.model_dump_json(exclude_none=True).encode()
        if len(body) > LARGEST_REQUEST:
            raise _too_large(f"it has {len(body)} bytes, at most {LARGEST_REQUEST} are stored")
        seq = await _store(nc, subjects, subject, body, f"{request_id}.{clock.new_id()}")
        reply = await answered(answer, partial(find, seq), request_id, within)
    except nats.errors.MaxPayloadError as error:
        raise _too_large(str(error)) from error
    except (nats.errors.Error, APIError) as error:
        raise await _not_stored(nc, subjects, error) from error
    finally:
        await sub.unsubscribe()
    if isinstance(reply, Accepted):
        return reply
    raise InvalidInput.of(reply.error)


def _too_large(why: str) -> InvalidInput:
    return InvalidInput(
        "request.too_large",
        f"the request is larger than the server takes: {why}",
        where="body",
        fix="put large data into a store and its address into the input",
    )


async def answered(
    answer: asyncio.Future[T],
    find: Callable[[], Awaitable[Queued | None]],
    request_id: str,
    within: float,
) -> T:
    """The answer, however long the line is, as long as it moves: within `within` seconds of its last move.

    `find` says where the request stands, None if it has been taken. That this cannot be found out ends no wait.

    Raises:
        Unavailable: `request.no_answer`.
    """
    first = min(_LOOK, within / 2)
    if done := await _done(answer, first):
        return done
    before, patience = await _place(find), within - first
    while not (done := await _done(answer, patience)):
        now = await _place(find)
        if not answer.done() and not _moved(before, now):
            raise _unanswered(request_id, within, now)
        before, patience = now, within
    return done


async def _place(find: Callable[[], Awaitable[Queued | None]]) -> Queued | Unavailable | None:
    try:
        return await find()
    except Unavailable as unknown:
        return unknown


def _moved(before: Queued | Unavailable | None, now: Queued | Unavailable | None) -> bool:
    """Whether the line has moved; a request that is seen again after all had not been taken."""
    match before, now:
        case Queued(), Queued():
            return now.ahead < before.ahead
        case (Queued(), None) | (None | Unavailable(), Queued()):
            return True
        case _:
            return False


async def _done(answer: asyncio.Future[T], within: float) -> T | None:
    done, _ = await asyncio.wait({answer}, timeout=within)
    return answer.result() if done else None


def _unanswered(request_id: str, within: float, queued: Queued | Unavailable | None) -> Unavailable:
    where = f"; it {queued}" if isinstance(queued, Queued) else ", and may still be carried out"
    return Unavailable(
        "request.no_answer",
        f"no engine answered request {request_id} within {format_duration(within)}; it is stored{where}",
        fix="see whether a graph-engine runs: `partsong bus status`",
        retryable=True,
    )


async def _store(nc: Nats, subjects: Subjects, subject: str, body: bytes, message_id: str) -> int:
    """Publish a request until the server says where it is stored; one that it has already, it does not take again.

    Raises:
        Unavailable: `request.not_stored` in time.
    """
    js, now = nc.jetstream(), asyncio.get_running_loop().time
    began = now()
    while True:
        try:
            headers = {MSG_ID: message_id}
            return (await js.publish(subject, body, timeout=_ATTEMPT, headers=headers)).seq
        except (TimeoutError, NoStreamResponseError) as error:  # its stream has no leader now
            limit = _ABSENT if isinstance(error, NoStreamResponseError) else _STORED
            if now() + _PAUSE - began >= limit:
                raise await _not_stored(nc, subjects, error) from error
        await asyncio.sleep(_PAUSE)


async def _not_stored(nc: Nats, subjects: Subjects, error: Exception) -> Unavailable:
    why, fix = (
        str(error) or repr(error),
        "check the NATS URL, and that the streams exist: `partsong doctor`",
    )
    if isinstance(
        error, TimeoutError
    ):  # the server is there, and after a failed write it is silent
        why = f"the server has not said within {_STORED:g} s that it has it"
        fix = (
            "look into the server's log; if its disk is full, make room and restart it, for after a write has failed a "
            "stream takes nothing more. `partsong doctor` says what else is not as it must be"
        )
    if isinstance(error, NoStreamResponseError):
        stream = Names.of(subjects).requests
        why = f"{stream}, the stream of requests, is not there, or has had no leader for {_ABSENT:g} s"
        fix = f"check the NATS URL and the prefix: `partsong doctor` says what is not there; {MADE_ANEW}"
    elif isinstance(error, APIError):
        if holds_all(error):
            says = "holds as many requests as it may, and no engine has taken them yet"
            return no_room(subjects, Names.of(subjects).requests, says)
        said = {"description": error.description, "err_code": error.err_code}
        if is_full(said):
            return await log_full(nc, "requests", said)
        why = f"the server says {error.description!r} ({error.err_code})"
        fix = "`partsong doctor` says what is not as it must be, and what sets it back"
    return Unavailable(
        "request.not_stored",
        f"the request could not be stored: {why}",
        fix=fix,
        retryable=True,
    )
