"""Requests that wait at the door: where they stand among those that wait with them.

What no engine has taken yet lies in a stream and nowhere else. The server counts there, so a place costs two questions,
however long the line is.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass

import nats.errors
from nats.aio.client import Client as Nats

from partsong.contracts.errors import InvalidInput, Unavailable
from partsong.contracts.subjects import RequestSubject, Subjects

__all__ = ["Queued", "find_beginning", "find_request"]

_WITHIN = 2.0
_MOST = 10_000
"""Requests without a caller's name that are looked through for a run: their subject does not say which they begin."""


@dataclass(frozen=True, slots=True)
class Queued:
    """A request that no engine has taken yet."""

    verb: str
    caller: str
    """Empty if the request names none."""
    since: str
    """When it was stored, in RFC 3339."""
    ahead: int
    """Requests that are taken before it, of its caller and of those who share its lane. Other lanes have their turns too."""
    behind: int

    def __str__(self) -> str:
        """Its place, in a sentence."""
        of = self.ahead + 1 + self.behind
        whose = f"caller {self.caller}" if self.caller else "callers without a name"
        return (
            f"waits at the door since {self.since}: {self.ahead + 1} of {of} in the lane of {whose}"
        )


@dataclass(frozen=True, slots=True)
class _Stored:
    seq: int
    subject: str
    since: str
    behind: int
    body: bytes


async def find_request(nc: Nats, subjects: Subjects, stream: str, seq: int) -> Queued | None:
    """The request stored at `seq`, if it still waits.

    Raises:
        Unavailable: the server did not answer.
    """
    found = await _next(nc, stream, subjects.requests(), seq)
    if found is None or found.seq != seq:
        return None
    return await _placed(nc, subjects, stream, found)


async def find_beginning(nc: Nats, subjects: Subjects, stream: str, run_id: str) -> Queued | None:
    """The request by which a run is to begin, if it still waits.

    Raises:
        Unavailable: the server did not answer.
    """
    found = await _next(nc, stream, subjects.beginnings(run_id))
    if found is None:
        found = await _unnamed(nc, stream, subjects.request("run"), run_id)
    return None if found is None else await _placed(nc, subjects, stream, found)


async def _unnamed(nc: Nats, stream: str, subject: str, run_id: str) -> _Stored | None:
    seq = 1
    for _ in range(_MOST):
        found = await _next(nc, stream, subject, seq)
        if found is None or _run_of(found.body) == run_id:
            return found
        seq = found.seq + 1
    return None


def _run_of(body: bytes) -> object:
    try:
        said = json.loads(body)
    except ValueError:
        return None
    return said.get("run_id") if isinstance(said, dict) else None


async def _placed(nc: Nats, subjects: Subjects, stream: str, found: _Stored) -> Queued | None:
    """Where a request stands among those that are taken in one order; None if it has been taken meanwhile."""
    try:
        what = subjects.parse_request(found.subject)
    except InvalidInput:
        what = RequestSubject(found.subject)
    line = subjects.lane(what.lane) if what.lane is not None else found.subject
    here = await _next(nc, stream, line, found.seq)
    first = await _next(nc, stream, line)
    if here is None or first is None or here.seq != found.seq:
        return None
    ahead = max(0, first.behind - here.behind)
    return Queued(what.verb, what.caller, found.since, ahead, here.behind)


async def _next(nc: Nats, stream: str, filter: str, seq: int = 1) -> _Stored | None:
    """The first message from `seq` on that matches, and how many matching ones come behind it."""
    query = {"seq": seq, "next_by_subj": filter, "batch": 1}
    subject = f"$JS.API.DIRECT.GET.{stream}"
    try:
        answer = await nc.request(subject, json.dumps(query).encode(), timeout=_WITHIN)
    except (nats.errors.Error, TimeoutError) as error:
        raise Unavailable(
            "requests.unread",
            f"the stream of requests did not answer within {_WITHIN:g} s: {error!r}",
            fix="check the NATS URL, and that the streams exist: `partsong doctor`",
            retryable=True,
        ) from error
    headers: Mapping[str, str] = answer.headers or {}
    if "Nats-Sequence" not in headers:
        return None
    return _Stored(
        int(headers["Nats-Sequence"]),
        headers["Nats-Subject"],
        f"{headers['Nats-Time-Stamp'][:23].rstrip('Z')}Z",
        int(headers.get("Nats-Num-Pending", "0")),
        answer.data,
    )
