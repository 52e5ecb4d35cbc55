"""Requests that wait at the door: where they stand among those that wait with them.

What no engine has carried out yet lies in a stream and nowhere else. The server counts there, so a place costs two
questions, however long the line is.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass

import nats.errors
from nats.aio.client import Client as Nats

from partsong.contracts.errors import InvalidInput, Unavailable
from partsong.contracts.wire.headers import BLOB, NUM_PENDING, SEQUENCE, SUBJECT, TIME_STAMP
from partsong.contracts.wire.subjects import BEGINNINGS, RequestSubject, Subjects
from partsong.runtime import clock
from partsong.runtime.streams import CONTROL, STARTS, Names

__all__ = ["AtTheDoor", "Queued", "find_beginning", "find_request", "the_beginning"]

_WITHIN = 2.0
_LONGEST = 3.0
"""Seconds for which requests without a caller's name are looked through for a run: their subject does not say which they begin."""


@dataclass(frozen=True, slots=True)
class Queued:
    """A request that no engine has carried out yet."""

    verb: str
    caller: str
    """Empty if the request names none."""
    since: str
    """When it was stored, in RFC 3339."""
    ahead: int
    """Requests before it, of its caller and of those who share its lane. Other lanes have their turns too."""
    behind: int

    def __str__(self) -> str:
        """Its place, in a sentence."""
        of, lane = self.ahead + 1 + self.behind, "among requests about runs"
        if self.verb in STARTS:
            whose = f"caller {self.caller}" if self.caller else "callers without a name"
            lane = f"in the lane of {whose}"
        return f"waits at the door since {self.since}: {self.ahead + 1} of {of} {lane}"


@dataclass(frozen=True, slots=True)
class AtTheDoor:
    """A request as the stream holds it."""

    seq: int
    subject: str
    since: str
    behind: int
    """How many come behind it on the subjects that were asked for."""
    body: bytes
    blob: str | None = None
    """Where its body is, if it travels beside the stream."""


async def find_request(nc: Nats, subjects: Subjects, seq: int) -> Queued | None:
    """Where the request stored at `seq` stands, if it still waits.

    Raises:
        Unavailable: the server did not answer.
    """
    found = await _next(nc, subjects, subjects.requests(), seq)
    if found is None or found.seq != seq:
        return None
    return await _placed(nc, subjects, found)


async def find_beginning(nc: Nats, subjects: Subjects, run_id: str) -> Queued | None:
    """Where the request stands by which a run is to begin, if it still waits.

    Raises:
        Unavailable: the server did not answer.
    """
    found, end = await the_beginning(nc, subjects, run_id), clock.monotonic() + _LONGEST
    for verb in BEGINNINGS:
        found = found or await _unnamed(nc, subjects, verb, run_id, end)
    return None if found is None else await _placed(nc, subjects, found)


async def the_beginning(nc: Nats, subjects: Subjects, run_id: str) -> AtTheDoor | None:
    """The request by which a run is to begin, if it still waits and its subject names the run.

    Raises:
        Unavailable: the server did not answer.
    """
    return await _next(nc, subjects, subjects.beginnings(run_id))


async def _unnamed(
    nc: Nats, subjects: Subjects, verb: str, run_id: str, end: float
) -> AtTheDoor | None:
    """The same among requests whose subject names no run."""
    seq = 1
    while clock.monotonic() < end:
        found = await _next(nc, subjects, subjects.request(verb), seq)
        if found is None or _run_of(found.body) == run_id:
            return found
        seq = found.seq + 1
    return None


def _run_of(body: bytes) -> object:
    try:
        said = json.loads(body)
    except (ValueError, RecursionError):
        return None
    return said.get("run_id", said.get("new_run_id")) if isinstance(said, dict) else None


async def _placed(nc: Nats, subjects: Subjects, found: AtTheDoor) -> Queued | None:
    """Where a request stands among those that are taken in one order; None if it has been taken meanwhile."""
    try:
        what = subjects.parse_request(found.subject)
    except InvalidInput:
        return None
    ahead = behind = 0
    for line in _lines(subjects, what):
        first, later = await _next(nc, subjects, line), await _next(nc, subjects, line, found.seq)
        if first is None or (line == found.subject and (later is None or later.seq != found.seq)):
            continue
        after = 0 if later is None else later.behind + (later.seq != found.seq)
        ahead += first.behind + 1 - after - (later is not None and later.seq == found.seq)
        behind += after
    return Queued(what.verb, what.caller, found.since, max(0, ahead), behind)


def _lines(subjects: Subjects, what: RequestSubject) -> list[str]:
    """The subjects of the requests that one consumer takes together."""
    if what.lane is not None:
        return [subjects.lane(what.lane)]
    return [subjects.request(verb) for verb in (STARTS if what.verb in STARTS else CONTROL)]


async def _next(nc: Nats, subjects: Subjects, filter: str, seq: int = 1) -> AtTheDoor | None:
    """The first message from `seq` on that matches, and how many matching ones come behind it."""
    stream = Names.of(subjects).requests
    query = json.dumps({"seq": seq, "next_by_subj": filter, "batch": 1}).encode()
    try:
        answer = await nc.request(f"$JS.API.DIRECT.GET.{stream}", query, timeout=_WITHIN)
    except (nats.errors.Error, TimeoutError) as error:
        raise _unread(repr(error)) from error
    headers: Mapping[str, str] = answer.headers or {}
    if SEQUENCE in headers:
        return AtTheDoor(
            int(headers[SEQUENCE]),
            headers[SUBJECT],
            f"{headers[TIME_STAMP][:23].rstrip('Z')}Z",
            int(headers.get(NUM_PENDING, "0")),
            answer.data,
            headers.get(BLOB),
        )
    if headers.get("Status") == "404":
        return None
    raise _unread(f"{headers.get('Status')} {headers.get('Description', '')}")


def _unread(why: str) -> Unavailable:
    return Unavailable(
        "requests.unread",
        f"the stream of requests cannot be looked through: {why}",
        fix="check the NATS URL, that the streams exist (`partsong doctor`), and that this user may read them",
        retryable=True,
    )
