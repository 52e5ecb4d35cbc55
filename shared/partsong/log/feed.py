"""A long or endless walk through a stream: a throw-away pull consumer, made again wherever it was lost.

Pulled, not pushed: at most `_BATCH` messages are under way, so a slow reader of a long log costs no memory. The consumer
is a convenience; what has been seen is known here. Whatever goes wrong with it (the server restarts, it expires, a
message is missing), the walk goes on with a new one behind the last sequence seen, without a gap or a repetition.

The server passes over a record that it cannot read, and counts it as one that is to come. So a walk to an end does not
count: it pulls without waiting, one pull after the other, and is over when one has brought nothing and the server then
says that nothing is pending. An empty pull alone says nothing: the server ends all pulls under way also where it cannot
read a record, and whenever it looks whether a consumer is idle, which is half a minute into a walk.
"""

from __future__ import annotations

import asyncio
import json
from collections import deque
from collections.abc import AsyncGenerator
from contextlib import suppress
from functools import partial

import nats.errors
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription
from pydantic import JsonValue

from partsong.contracts.counts import number_of
from partsong.contracts.errors import Unavailable
from partsong.contracts.wire.headers import PENDING_MESSAGES
from partsong.log.link import Link, Lost, status
from partsong.log.stored import place_of

__all__ = ["Incomplete", "feed"]

_BATCH = 500
_SECOND = 1_000_000_000
_EXPIRES = 30
_HEARTBEAT = 5
_IDLE = 30
"""A consumer nobody pulls from is removed by the server after so many seconds."""
_EMPTY, _PAUSE = 20, 0.25
"""Empty pulls, and seconds between them, after which what the server still counts is taken for unreadable: beyond one
for each of these records, for a pull may end at each."""


class Incomplete(Exception):
    """A walk to an end was given less than the server had counted."""

    def __init__(self, missing: int) -> None:
        super().__init__(f"{number_of(missing, 'record')} cannot be read")
        self.missing = missing


async def feed(
    link: Link,
    stream: str,
    filter: str,
    after: int,
    *,
    limit: int | None,
    newest: bool = False,
) -> AsyncGenerator[tuple[int, Msg], None]:
    """Messages after `after` with their sequences: `limit` of them or fewer if there are no more, or all for ever.

    With a limit it ends where the log ended when it was opened. `newest`: only the last of each subject, and of it only
    the headers.

    Raises:
        Unavailable: the server did not answer in time.
        Incomplete: at the end of a walk with a limit: fewer came than were there.
    """
    seen, left, pause = after, limit, 0.0
    while True:
        cursor = _Cursor(link, stream)
        try:
            begin = partial(cursor.open, filter, 0 if newest else seen, newest=newest)
            pending = await link.insist(f"reading {filter}", begin)
            if left is not None:  # of the newest ones, all are delivered anew
                left = pending if newest else min(left, pending)
            while left != 0 and (found := await cursor.next(left)):
                if left is not None:
                    left -= 1
                if newest and found[0] <= seen:
                    continue  # a walk that was begun again
                seen, pause = found[0], 0.0
                yield found
            if cursor.over and left:
                raise Incomplete(left)
        finally:
            await cursor.close()
        if left == 0:
            return
        await asyncio.sleep(pause)
        pause = min(pause + 0.05, 0.5)


class _Cursor:
    """One consumer, and what it has delivered."""

    def __init__(self, link: Link, stream: str) -> None:
        self._link, self._stream = link, stream
        self._sub: Subscription | None = None
        self._inbox = link.nc.new_inbox()
        self._name = ""
        self._arrived: deque[Msg] = deque()
        self._news = asyncio.Event()
        self._broken = False
        self.over = False
        """The server has nothing more; of a walk without an end it is not asked."""
        self._ending, self._ended, self._empty = False, False, 0
        self._delivered = 0
        self._asked = 0

    async def open(self, filter: str, after: int, *, newest: bool = False) -> int:
        """Make the consumer; how many messages it has to deliver now."""
        if self._sub is None:
            self._sub = await self._link.nc.subscribe(
                self._inbox, cb=self._hear, pending_msgs_limit=0, pending_bytes_limit=0
            )
            self._link.watch(self._break)
        config: dict[str, JsonValue] = {
            "deliver_policy": "by_start_sequence" if after > 0 else "all",
            "headers_only": newest,
            "ack_policy": "none",
            "replay_policy": "instant",
            "filter_subject": filter,
            "mem_storage": True,
            "num_replicas": 1,
            "inactive_threshold": _IDLE * _SECOND,
        }
        if newest:
            config["deliver_policy"] = "last_per_subject"
        if after > 0:
            config["opt_start_seq"] = after + 1
        body = json.dumps({"stream_name": self._stream, "config": config}).encode()
        answer = json.loads(
            (await self._link.ask(f"$JS.API.CONSUMER.CREATE.{self._stream}", body)).data
        )
        if error := answer.get("error"):
            raise _refused(self._stream, filter, error)
        self._name = answer["name"]
        return int(answer["num_pending"])

    async def next(self, wanted: int | None) -> tuple[int, Msg] | None:
        """The next message; None if the consumer cannot be relied on any more."""
        self._ending = wanted is not None
        while not self._broken:
            if self._ended and not self._arrived and not await self._goes_on():
                return None
            if not await self._pull(wanted):
                return None
            if not self._arrived and not await self._wait():
                return None
            msg = self._arrived.popleft()
            if code := status(msg):
                self._take_status(code, msg)
                continue
            place = place_of(msg.reply)
            self._empty = 0
            self._asked -= 1
            self._delivered += 1
            if place is None or place.consumer_seq != self._delivered:
                return None
            return place.seq, msg
        return None

    async def close(self) -> None:
        """Stop listening, and tell the server to forget the consumer."""
        self._link.unwatch(self._break)
        if self._sub is None or self._link.nc.is_closed:
            return
        with suppress(nats.errors.Error, OSError):  # it goes by itself after `_IDLE`
            await self._sub.unsubscribe()
            if self._name:
                await self._link.nc.publish(f"$JS.API.CONSUMER.DELETE.{self._stream}.{self._name}")

    async def _pull(self, wanted: int | None) -> bool:
        """Ask for more before all is consumed; False if there is no way to ask."""
        if self._asked > (0 if self._ending else _BATCH // 2):
            return True
        room = _BATCH - self._asked
        batch = room if wanted is None else min(room, wanted - self._asked)
        if batch <= 0:
            return True
        self._asked += batch
        body: dict[str, JsonValue] = {"batch": batch}
        if self._ending:
            body["no_wait"] = True
        else:
            body |= {"expires": _EXPIRES * _SECOND, "idle_heartbeat": _HEARTBEAT * _SECOND}
        try:
            await self._link.nc.publish(
                f"$JS.API.CONSUMER.MSG.NEXT.{self._stream}.{self._name}",
                json.dumps(body).encode(),
                reply=self._inbox,
            )
        except (nats.errors.Error, OSError):
            return False
        return True

    async def _goes_on(self) -> bool:
        """A pull has ended before its batch was full: whether there is more; False also if nobody can say."""
        self._ended, self._empty = False, self._empty + 1
        call = f"$JS.API.CONSUMER.INFO.{self._stream}.{self._name}"
        answer = json.loads((await self._link.insist(call, partial(self._link.ask, call))).data)
        if "error" in answer:
            return False
        pending = int(answer["num_pending"])
        all_here = int(answer["delivered"]["consumer_seq"]) == self._delivered
        self.over = (all_here and not pending) or self._empty > pending + _EMPTY
        if self._empty > pending and not self.over:
            await asyncio.sleep(_PAUSE)
        return not self.over

    async def _wait(self) -> bool:
        """Wait for a message; False if not even a heartbeat came for too long, or the link broke."""
        self._news.clear()
        try:
            async with asyncio.timeout(2 * _HEARTBEAT + 1):
                await self._news.wait()
        except TimeoutError:
            return False
        return bool(self._arrived)

    def _take_status(self, code: str, msg: Msg) -> None:
        headers = msg.headers or {}
        if code == "100":
            return
        if code in {"404", "408"}:  # a pull request ended before its batch was full
            self._asked -= int(headers.get(PENDING_MESSAGES, self._asked))
            self._ended = self._ending
            return
        self._broken = True

    async def _hear(self, msg: Msg) -> None:
        self._arrived.append(msg)
        self._news.set()

    def _break(self) -> None:
        self._broken = True
        self._news.set()


def _refused(stream: str, filter: str, error: dict[str, JsonValue]) -> Exception:
    if error.get("code") == 503:
        return Lost(str(error.get("description")))
    return Unavailable(
        "log.refused",
        f"stream {stream} cannot be read with filter {filter}: {error.get('description')}",
        where=stream,
        fix="check that the stream is there, and that this user may read it: `partsong doctor`",
    )
