"""The feed of a partition on JetStream: a pinned consumer without acknowledgements, reset to where its reader stands.

Facts of nats-server 2.14 and later that this file stands on:

* `CONSUMER.RESET {"seq": n}` delivers again from n on, backwards too, and counts deliveries from 1. So a consumer's
  own count goes up by one with every delivery, and anything else means that something was missed: reset, begin anew.
* A reset beyond the head is accepted and makes the consumer deaf; so the place is compared with the head first.
* Requests that were open before a reset go on and would be served; each start has an inbox of its own, and giving up
  the one before ends what was asked from there.
* A pin is given with a delivery, and lapses after two seconds without one. Nobody else pulls unless it takes the
  partition over, so a pin that lapsed comes back with the next delivery.
* Heartbeats name the last delivery, so a lost one shows in idleness too.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import Any

import nats.errors
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription

from partsong.bus.feed import Receive
from partsong.contracts.errors import PartsongError, Unavailable
from partsong.log.port import Record
from partsong.log.stored import from_delivery, place_of

__all__ = ["NatsFeed"]

_log = logging.getLogger("partsong.bus")

_CREDIT = 256
"""Deliveries asked for at a time."""
_EXPIRES, _HEARTBEAT = 30, 5
_SECOND = 1_000_000_000
_LOOK = 0.5
"""Seconds between two looks at the connection: what a restarted server costs at most."""
_ANSWER = 5.0
_AGAIN = 0.5
_PIN = "Nats-Pin-Id"
_EXPECTED = frozenset({"404", "408", "423"})
"""Ends of a request that mean nothing but: ask again."""


class NatsFeed:
    """One consumer of the log's stream; `body_of` fetches a body that travels beside the stream."""

    def __init__(
        self,
        nc: Client,
        stream: str,
        consumer: str,
        body_of: Callable[[str], Awaitable[bytes]],
        *,
        group: str,
    ) -> None:
        self._nc, self._stream, self._body_of, self._group = nc, stream, body_of, group
        self._name = f"{stream}.{consumer}"
        self._receive: Receive = lambda _record: None
        self._pos = 0
        """Sequence of the last record delivered."""
        self._count = 0
        """Deliveries since the last reset."""
        self._asked = 0
        self._heard = 0.0
        self._connection = 0
        self._pin = ""
        self._sub: Subscription | None = None
        self._waiting: deque[tuple[Record, str | None]] = deque()
        """Records behind one whose body is being fetched."""
        self._fetching: asyncio.Task[None] | None = None
        self._watch: asyncio.Task[None] | None = None
        self._again: asyncio.Event = asyncio.Event()
        """Set when the feed must begin anew behind `_pos`."""

    async def taken(self) -> bool:
        """See `Feed.taken`."""
        info = await self._api(f"CONSUMER.INFO.{self._name}", {})
        pins = [str(g.get("pinned_client_id") or "") for g in info.get("priority_groups") or ()]
        return any(pin and pin != self._pin for pin in pins)

    async def start(self, after: int, receive: Receive) -> None:
        """See `Feed.start`."""
        await self._end()
        self._receive, self._pos = receive, after
        await self._begin()
        self._watch = asyncio.get_running_loop().create_task(
            self._keep(), name=f"feed {self._name}"
        )

    async def stop(self) -> None:
        """See `Feed.stop`."""
        await self._end()
        if self._pin and self._nc.is_connected:
            with contextlib.suppress(PartsongError):
                await self._api(f"CONSUMER.UNPIN.{self._name}", {"group": self._group})
        self._pin = ""

    async def _end(self) -> None:
        for task in (self._watch, self._fetching):
            if task is not None:
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)
        self._watch = self._fetching = None
        await self._leave()

    async def _leave(self) -> None:
        """Give the inbox up, so that what was asked from it ends."""
        sub, self._sub = self._sub, None
        self._waiting.clear()
        if sub is not None and not self._nc.is_closed:
            with contextlib.suppress(nats.errors.Error, OSError):
                await sub.unsubscribe()

    async def _begin(self) -> None:
        """Reset the consumer to behind the last record delivered, and ask."""
        await self._leave()
        self._again.clear()
        self._connection = self._nc.stats["reconnects"]
        self._heard = asyncio.get_running_loop().time()
        self._count = self._asked = 0
        info = await self._api(f"STREAM.INFO.{self._stream}", {})
        head = int(info["state"]["last_seq"])
        if head < self._pos:
            raise Unavailable(
                "log.behind",
                f"the log ends at {head}, and a reader of {self._name} has read up to {self._pos}",
                where=self._stream,
                fix="the log has lost records: run `partsong log verify`, then restore it",
            )
        inbox = self._nc.new_inbox()
        self._sub = await self._nc.subscribe(
            inbox,
            cb=partial(self._take, inbox),
            pending_msgs_limit=0,
            pending_bytes_limit=0,
        )
        await self._api(f"CONSUMER.RESET.{self._name}", {"seq": self._pos + 1})
        await self._ask(inbox)

    async def _keep(self) -> None:
        """Begin anew after a gap, a reconnect, or when not even heartbeats come."""
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_LOOK):
                    await self._again.wait()
            if not self._nc.is_connected or not self._stale():
                continue
            try:
                await self._begin()
            except PartsongError as error:
                told = {"consumer": self._name, "problem": error.problem.code, "why": str(error)}
                _log.warning("feed not begun, to be tried again", extra=told)
                self._again.set()
                await asyncio.sleep(_AGAIN)

    def _stale(self) -> bool:
        silent = asyncio.get_running_loop().time() - self._heard > 2 * _HEARTBEAT
        return self._again.is_set() or silent or self._connection != self._nc.stats["reconnects"]

    async def _ask(self, inbox: str) -> None:
        batch = _CREDIT - self._asked
        self._asked += batch
        request: dict[str, int | str] = {
            "batch": batch,
            "expires": _EXPIRES * _SECOND,
            "idle_heartbeat": _HEARTBEAT * _SECOND,
            "group": self._group,
        }
        if self._pin:
            request["id"] = self._pin
        try:
            await self._nc.publish(
                f"$JS.API.CONSUMER.MSG.NEXT.{self._name}", json.dumps(request).encode(), reply=inbox
            )
        except nats.errors.Error:
            self._again.set()

    async def _take(self, inbox: str, msg: Msg) -> None:
        if self._sub is None or self._sub.subject != inbox or self._again.is_set():
            return  # of before the reset
        self._heard = asyncio.get_running_loop().time()
        place, headers = place_of(msg.reply), msg.headers or {}
        if place is None:
            await self._status(headers, inbox)
            return
        self._asked = max(0, self._asked - 1)
        if place.consumer_seq != self._count + 1 or place.seq <= self._pos:
            self._again.set()
            return
        self._count = place.consumer_seq
        self._pin = headers.get(_PIN) or self._pin
        self._hand_on(*from_delivery(msg, place.seq))
        if self._asked <= _CREDIT // 2:
            await self._ask(inbox)

    def _hand_on(self, record: Record, blob: str | None) -> None:
        if blob is None and self._fetching is None:
            self._pos = record.seq
            self._receive(record)
            return
        self._waiting.append((record, blob))
        if self._fetching is None:
            self._fetching = asyncio.get_running_loop().create_task(self._fetch())

    async def _fetch(self) -> None:
        """Hand on what waits, each with its body; what cannot be fetched now is begun anew later."""
        try:
            while self._waiting:
                record, blob = self._waiting[0]
                if blob is not None:
                    body = await self._body_of(blob)
                    record = Record(record.seq, record.subject, body, record.id, record.headers)
                self._waiting.popleft()
                self._pos = record.seq
                self._receive(record)
        except PartsongError as error:
            told = {"consumer": self._name, "problem": error.problem.code, "why": str(error)}
            _log.warning("body not fetched, to be tried again", extra=told)
            await asyncio.sleep(_AGAIN)
            self._again.set()
        finally:
            self._fetching = None

    async def _status(self, headers: Mapping[str, str], inbox: str) -> None:
        """100 is a heartbeat; the others end a request."""
        status = headers.get("Status", "")
        if status == "100":
            last = headers.get("Nats-Last-Consumer")
            if last is not None and int(last) != self._count:
                self._again.set()
            return
        self._asked = max(0, self._asked - int(headers.get("Nats-Pending-Messages", self._asked)))
        if status == "423":
            self._pin = ""
        if status not in _EXPECTED:
            why = f"{status} {headers.get('Description', 'nobody answers')}"
            _log.warning("feed refused", extra={"consumer": self._name, "why": why})
            self._again.set()
        elif self._asked <= _CREDIT // 2:
            await self._ask(inbox)

    async def _api(self, call: str, body: Mapping[str, object]) -> dict[str, Any]:
        payload = json.dumps(body).encode() if body else b""
        try:
            reply = await self._nc.request(f"$JS.API.{call}", payload, timeout=_ANSWER)
        except (nats.errors.Error, TimeoutError) as error:
            raise _unavailable(call, repr(error)) from error
        answer: dict[str, Any] = json.loads(reply.data)
        if problem := answer.get("error"):
            raise _unavailable(call, str(problem.get("description")))
        return answer


def _unavailable(call: str, why: str) -> Unavailable:
    return Unavailable(
        "feed.no_answer",
        f"JetStream did not carry out {call}: {why}",
        fix="check that the server runs, and that the bus is provisioned",
        retryable=True,
    )
