"""The log in a JetStream stream: shared by all processes, exact under failure.

Rules that this file keeps:

* A guard is an expectation on the record's own literal subject; only that is exact on one server and in a cluster.
* Error 10071 names the subject's last sequence. It does not mean that the append failed: one server checks the guard
  before it looks for duplicates, so a repeated append whose first answer was lost gets it too. Our record, if it was
  stored, is the first one of its subject behind the expectation (that is what the guard says), so that one is looked at.
* A record that the server cannot read counts as none: its subject then seems to have had no record at all, for a guard
  too. So a guard that was refused on a subject that "has none" is that.
* Error 10164 (clusters) names nothing: ask the stream's leader.
* A keeper is asked before every append: a log that is damaged, or that nobody has looked at since the connection came
  back, is not written to.
* Every wait is bounded, and every append carries its id, so it can be repeated until it is answered.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from contextlib import aclosing, suppress
from dataclasses import replace
from functools import partial
from typing import Any, TypeVar

from nats.aio.client import Client
from nats.aio.msg import Msg

from partsong.contracts.errors import Unavailable
from partsong.contracts.wire.headers import BLOB, EXPECTED_ON_SUBJECT, MSG_ID, NUM_PENDING, SEQUENCE
from partsong.log.batch import append_batch
from partsong.log.blobs import BAD_BODY, Blobs
from partsong.log.feed import Incomplete, feed
from partsong.log.full import is_full, log_full
from partsong.log.keeper import Keeper
from partsong.log.link import NO_ANSWER, Link, Lost, Unheard, status
from partsong.log.port import Append, Appended, Record, WrongSequence
from partsong.log.stored import from_delivery, from_direct, from_leader, headers_of
from partsong.log.subject import check_append, check_literal, compile_filter

__all__ = ["JetStreamLog"]

_LAGS = (0.2, 0.5, 0.0)
"""Seconds after each of three looks at what seems to be missing: a replica may lag behind the one that has counted."""
_BIG = 256 * 1024
"""Bodies over this many bytes travel beside the stream."""
_SHORT = 128
"""So many records are fetched with one direct get; when more are to come, a consumer is quicker."""
_SHORT_BYTES = 4 * 1024 * 1024

T = TypeVar("T")

_NOT_FOUND, _STALE, _BUSY = 10037, 10071, 10164
_NO_STREAM = 10059


class JetStreamLog:
    """A log in the stream `stream`, with big bodies in the bucket `blobs`.

    Neither is created here. A `keeper` may refuse appends, and is told of those that were acknowledged.
    A stream that `forgets` (by age or size) may hold less at the end of a reading than at its beginning. `attempt` bounds one try and `deadline` all tries of one call, in seconds. If NATS
    restarts, appends, reads and tails go on by themselves within the deadline; an append that had to be repeated may
    say `duplicate` of itself.
    """

    def __init__(
        self,
        nc: Client,
        *,
        stream: str = "PARTSONG_LOG",
        blobs: str = "partsong_blobs",
        attempt: float = 5.0,
        deadline: float = 30.0,
        keeper: Keeper | None = None,
        forgets: bool = False,
    ) -> None:
        self._stream, self._keeper, self._forgets = stream, keeper, forgets
        self._link, self._attempt = Link(nc, attempt=attempt, deadline=deadline), attempt
        self.blobs = Blobs(self._link, blobs)
        """Where big bodies lie; hints use it too."""
        self._big = min(_BIG, nc.max_payload // 2)

    async def append(
        self,
        subject: str,
        body: bytes,
        *,
        id: str,
        expect: int | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Appended:
        """See `Log.append`."""
        check_append(subject, id, headers)
        sent = {MSG_ID: id, **headers} if headers else {MSG_ID: id}
        if expect is not None:
            sent[EXPECTED_ON_SUBJECT] = str(expect)
        if len(body) > self._big:
            sent[BLOB] = name = await self.blobs.put(body)
            body = json.dumps({"blob": name, "bytes": len(body)}).encode()
        attempt = partial(self._try, subject, body, sent, id, expect)
        try:
            return await self._link.insist(f"appending to {subject}", attempt)
        except Unavailable as error:
            if self._keeper is not None and error.problem.code == NO_ANSWER:
                self._keeper.unanswered()
            raise

    def fits(self, body: bytes) -> bool:
        """Whether a body travels in the stream, not beside it."""
        return len(body) <= self._big

    async def append_together(self, appends: Sequence[Append]) -> list[Appended]:
        """Append up to a thousand records, all or none; their subjects differ and their bodies fit.

        Raises:
            Unavailable: they were refused together, or the answer was lost. Append them one by one then: that finds out
                about each.
        """
        if self._keeper is not None:
            try:
                self._keeper.admit(self._link.nc.stats["reconnects"])
            except Lost as error:  # each is tried again by itself until it may be written
                raise Unavailable("log.not_looked_at", str(error), retryable=True) from error
        stored = await append_batch(self._link, appends, within=self._attempt)
        if self._keeper is not None:
            for one, done in zip(appends, stored, strict=True):
                self._keeper.acked(done.seq, one.id, one.body)
        return stored

    def read(
        self, filter: str, *, after: int = 0, upto: int | None = None
    ) -> AsyncGenerator[Record, None]:
        """See `Log.read`. The head is that of the moment the first record is asked for."""
        compile_filter(filter)
        return self._read(filter, after, upto)

    def tail(self, filter: str, *, after: int = 0) -> AsyncGenerator[Record, None]:
        """See `Log.tail`."""
        compile_filter(filter)
        return self._follow(filter, after)

    async def last(self, subject: str, *, sure: bool = False) -> Record | None:
        """See `Log.last`."""
        check_literal(subject)
        ask = partial(self._link.ask, f"$JS.API.DIRECT.GET.{self._stream}.{subject}")
        msg = await self._link.insist(f"reading {subject}", partial(self._heard, ask))
        if not status(msg):
            return await self._resolve(from_direct(msg))
        if not sure and (self._keeper is None or not self._keeper.doubtful):
            return None
        if not (count := await self._count(subject)):
            return None
        ask_leader = partial(self._leader_get, {"last_by_subj": subject})
        found = await self._link.insist(f"reading {subject}", ask_leader)
        if found is None:
            raise _unreadable(subject, count)
        return await self._resolve(from_leader(found))  # it came meanwhile, or a replica lags

    async def head(self) -> int:
        """See `Log.head`."""
        info = await self._link.insist("asking for the head", partial(self._api, "STREAM.INFO"))
        if error := info.get("error"):
            raise self._refused("STREAM.INFO", error)
        return int(info["state"]["last_seq"])

    async def close(self) -> None:
        """Give back what the log holds of the connection, which stays open; what still waits fails."""
        await self._link.close()

    async def _try(
        self, subject: str, body: bytes, headers: dict[str, str], id: str, expect: int | None
    ) -> Appended:
        if self._keeper is not None:
            self._keeper.admit(self._link.nc.stats["reconnects"])
        try:
            reply = await self._link.ask(subject, body, headers)
        except Unheard:
            await self._insist_on_stream()
            raise
        ack = json.loads(reply.data)
        if (error := ack.get("error")) is None:
            done = Appended(ack["seq"], ack.get("duplicate", False))
            if self._keeper is not None and not done.duplicate:
                self._keeper.acked(done.seq, id, body)
            return done
        match error.get("err_code"):
            case int(code) if code in {_STALE, _BUSY} and expect is not None:
                return await self._settle(subject, id, expect)
            case _ if is_full(error):
                full = await log_full(self._link.nc, self._stream, error)
                if self._keeper is not None:
                    self._keeper.full(full.problem)
                raise full
            case _:
                raise self._refused(subject, error)

    async def _settle(self, subject: str, id: str, expect: int) -> Appended:
        """The guard was refused: because our record is there already, or because another one is."""
        own = await self._leader_get({"next_by_subj": subject, "seq": expect + 1})
        if own and own["headers"].get(MSG_ID) == id:
            return Appended(own["seq"], duplicate=True)
        last = await self._leader_get({"last_by_subj": subject})
        if last and last["headers"].get(MSG_ID) == id:
            return Appended(last["seq"], duplicate=True)
        found = last["seq"] if last else 0
        if found == expect:
            raise Lost("another append to the subject was under way and came to nothing")
        if found == 0 and (count := await self._count(subject)):
            raise _unreadable(subject, count)
        raise WrongSequence(subject, expect, found)

    async def _read(
        self, filter: str, after: int, upto: int | None
    ) -> AsyncGenerator[Record, None]:
        end = sys.maxsize if upto is None else upto
        if end <= after:
            return
        found, left = await self._fetch(filter, after, min(_SHORT, end - after))
        owed = len(found) + left
        for stored in map(from_direct, found):
            after = stored[0].seq
            if after > end:
                break
            owed -= 1
            yield await self._resolve(stored)
        if left and after < end:
            with suppress(Incomplete):
                async with aclosing(self._feed(filter, after, left)) as records:
                    async for record in records:
                        after = record.seq
                        if after > end:
                            break
                        owed -= 1
                        yield record
        if self._forgets:
            return
        if owed:
            await self._complete(filter, after, end, owed)
        elif not found and after == 0:
            await self._none(filter)

    async def _complete(self, filter: str, after: int, end: int, owed: int) -> None:
        """So many records were counted that have not come: they lie behind `end`, cannot be read, or a replica lags."""
        missing = owed
        for pause in _LAGS:
            more, _ = await self._fetch(filter, min(after, end), 1)
            if more and int((more[0].headers or {})[SEQUENCE]) <= end:
                raise _lagging(filter)
            beyond, left = await self._fetch(filter, end, 1) if end < sys.maxsize else ([], 0)
            missing = owed - len(beyond) - left
            if missing <= 0:
                return
            await asyncio.sleep(pause)
        raise _unreadable(filter, missing)

    async def _none(self, filter: str) -> None:
        """Nothing matches: because there is nothing, or because what there is cannot be read."""
        count = 0
        for pause in _LAGS:
            count = await self._count(filter)
            if not count or (await self._fetch(filter, 0, 1))[0]:
                return
            await asyncio.sleep(pause)
        raise _unreadable(filter, count)

    async def _follow(self, filter: str, after: int) -> AsyncGenerator[Record, None]:
        async for seq, msg in feed(self._link, self._stream, filter, after, limit=None):
            yield await self._resolve(from_delivery(msg, seq))

    async def _feed(
        self, filter: str, after: int, limit: int | None
    ) -> AsyncGenerator[Record, None]:
        async for seq, msg in feed(self._link, self._stream, filter, after, limit=limit):
            yield await self._resolve(from_delivery(msg, seq))

    async def _count(self, filter: str) -> int:
        """How many records match, by the server's own count: it counts also those whose bytes have gone bad."""
        info = await self._link.insist(
            f"reading {filter}", partial(self._api, "STREAM.INFO", {"subjects_filter": filter})
        )
        return sum((info.get("state", {}).get("subjects") or {}).values())

    async def _fetch(self, filter: str, after: int, batch: int) -> tuple[list[Msg], int]:
        """The first records after `after` by direct get, and how many there are behind them."""
        query = {
            "next_by_subj": filter,
            "seq": after + 1,
            "batch": batch,
            "max_bytes": _SHORT_BYTES,
        }
        ask = partial(
            self._link.ask_many, f"$JS.API.DIRECT.GET.{self._stream}", json.dumps(query).encode()
        )
        found = await self._link.insist(f"reading {filter}", partial(self._heard, ask))
        behind = int((found[-1].headers or {}).get(NUM_PENDING, 0)) if found else 0
        return found, behind

    async def _resolve(self, stored: tuple[Record, str | None]) -> Record:
        """The record with its body, wherever that lies; with what has become of it, if it cannot be had."""
        record, blob = stored
        if blob is None:
            return record
        try:
            return replace(record, body=await self.blobs.get(blob))
        except Unavailable as error:
            if error.problem.code not in BAD_BODY:
                raise
            return replace(record, body=b"", problem=error.problem)

    async def _leader_get(self, query: Mapping[str, str | int]) -> dict[str, Any] | None:
        """One message as the stream's leader has it, with its headers parsed; a direct get may be behind."""
        answer = await self._api("STREAM.MSG.GET", query)
        if error := answer.get("error"):
            if error.get("err_code") == _NOT_FOUND:
                return None
            raise self._refused("STREAM.MSG.GET", error)
        message: dict[str, Any] = answer["message"]
        return {**message, "headers": headers_of(message)}

    async def _api(self, call: str, body: Mapping[str, str | int] | None = None) -> dict[str, Any]:
        payload = json.dumps(body).encode() if body else b""
        reply = await self._link.ask(f"$JS.API.{call}.{self._stream}", payload)
        answer: dict[str, Any] = json.loads(reply.data)
        return answer

    async def _heard(self, ask: Callable[[], Awaitable[T]]) -> T:
        """What a direct get answers; of a stream that is not there nobody does, and no wait helps."""
        try:
            return await ask()
        except Unheard:
            if not self._forgets:  # those in memory come back soon after their server
                await self._insist_on_stream("the reading")
            raise

    async def _insist_on_stream(self, what: str = "the append") -> None:
        """Nobody heard it: because NATS restarts, which passes, or because there is no stream."""
        answer = await self._api("STREAM.INFO")
        if (error := answer.get("error")) and error.get("err_code") == _NO_STREAM:
            raise self._refused(what, error)

    def _refused(self, what: str, error: Mapping[str, Any]) -> Unavailable | Lost:
        said = f"{error.get('description')} ({error.get('err_code')})"
        if error.get("code") == 503:
            return Lost(said)
        return Unavailable(
            "log.refused",
            f"stream {self._stream} refused {what}: {said}",
            where=self._stream,
            fix="check the NATS URL and the prefix, the stream's limits and this user's rights: `partsong doctor`",
        )


def _lagging(filter: str) -> Unavailable:
    return Unavailable(
        "log.stale_read",
        f"not all records of {filter} were given: a replica of the log is behind its leader",
        where=filter,
        retryable=True,
    )


def _unreadable(filter: str, missing: int) -> Unavailable:
    return Unavailable(
        "log.unreadable",
        f"{missing} of the records of {filter} cannot be read: their bytes went bad on the server's disk, or are gone",
        where=filter,
        fix="run `partsong log verify`; restore the log from a mirror or a backup",
    )
