"""A continuous pull from a durable consumer.

nats-py and FastStream fetch in batches: a fetch is blind across a server's restart until it times out. This loop keeps requests with credit open, refills them at half, and asks anew when the
connection comes back or the server falls silent. Deliveries are handed on in the order they come; a delivery is a
wake-up, the log is the truth.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import nats.errors
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription

from partsong.bus.post import Post
from partsong.contracts.wire.headers import PENDING_MESSAGES

__all__ = ["Delivery", "PullLoop", "delivery_of"]

_log = logging.getLogger("partsong.bus")

_EXPIRES = 30.0
_HEARTBEAT = 5.0
_LOOK = 0.5
"""Seconds between two looks at the connection: what a restarted server costs at most."""
_FLUSH = 2.0
_SECOND = 1_000_000_000
_ACK = "$JS.ACK."
_EXPECTED = frozenset({"404", "408"})
"""Ends of a request that mean nothing but: ask again."""


@dataclass(frozen=True, slots=True)
class Delivery:
    """One message of a consumer, and the ways to answer it. The answers are sent, not confirmed."""

    subject: str
    data: bytes
    headers: Mapping[str, str]
    stream_seq: int
    consumer_seq: int
    num_delivered: int
    stored_ns: int
    """When the server stored it, in nanoseconds since 1970."""
    _reply: str
    _post: Post

    def ack(self) -> None:
        """It is done."""
        self._post.send(self._reply, b"+ACK")

    def nak(self, delay: float = 0.0) -> None:
        """Deliver it again, after `delay` seconds."""
        word = b'-NAK {"delay": %d}' % int(delay * _SECOND) if delay else b"-NAK"
        self._post.send(self._reply, word)

    def in_progress(self) -> None:
        """It is being worked on: the time until it is delivered again starts anew."""
        self._post.send(self._reply, b"+WPI")

    def term(self, reason: str) -> None:
        """Never deliver it again."""
        self._post.send(self._reply, b"+TERM " + reason.encode())


def delivery_of(msg: Msg, post: Post) -> Delivery | None:
    """The delivery that a message is; None if it is something else."""
    if not msg.reply.startswith(_ACK):
        return None
    place = msg.reply.split(".")
    at = 4 if len(place) == 9 else 6  # since 2.15 with domain and account
    tries, seq, consumer_seq, stored = map(int, place[at : at + 4])
    headers = msg.headers or {}
    return Delivery(
        msg.subject, msg.data, headers, seq, consumer_seq, tries, stored, msg.reply, post
    )


class PullLoop:
    """Pulls from `durable` on `stream` and hands each message to `handler`, which must not block.

    At most `credit` messages are on their way or in the hands of handlers that have not called `done`: with
    `auto_credit` a message gives its credit back as soon as the handler returns. A message whose handler raises is
    delivered again a second later.
    """

    def __init__(
        self,
        nc: Client,
        stream: str,
        durable: str,
        handler: Callable[[Delivery], None],
        *,
        credit: int = 64,
        auto_credit: bool = True,
    ) -> None:
        self._nc, self._handler, self._credit, self._auto = nc, handler, credit, auto_credit
        self._name = f"{stream}.{durable}"
        self._post = Post(nc)
        self._inbox = ""
        self._asked = 0
        self._held = 0
        self._heard = 0.0
        self._connection = 0
        self._complaint = ""
        self._stopping = False
        self._sub: Subscription | None = None
        self._watch: asyncio.Task[None] | None = None
        self._refill: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Begin to pull, or go on after `stop`."""
        self._stopping = False
        self._inbox = self._nc.new_inbox()
        self._sub = await self._nc.subscribe(self._inbox, cb=self._receive)
        await self._ask_anew()
        self._watch = asyncio.get_running_loop().create_task(
            self._keep_asking(), name=f"pull {self._name}"
        )

    async def stop(self) -> None:
        """Stop pulling. What is on its way is given back at once."""
        self._stopping = True
        with contextlib.suppress(nats.errors.Error, TimeoutError):
            async with asyncio.timeout(_FLUSH):
                if self._sub is not None:
                    await self._sub.drain()  # type: ignore[no-untyped-call]  # nats-py
        if self._watch is not None:
            self._watch.cancel()
            await asyncio.gather(self._watch, return_exceptions=True)
        await self.flush()

    async def flush(self) -> None:
        """Return when every answer given so far has been handed to the connection."""
        await self._post.flush()

    def done(self) -> None:
        """Give back the credit of one message; only without `auto_credit`."""
        self._held -= 1
        if self._thirsty and self._refill is None:
            self._refill = asyncio.get_running_loop().create_task(self._ask())
            self._refill.add_done_callback(self._refilled)

    def _refilled(self, _task: asyncio.Task[None]) -> None:
        self._refill = None

    @property
    def _thirsty(self) -> bool:
        return self._asked + self._held <= self._credit // 2

    async def _ask_anew(self) -> None:
        """Forget what was asked: the server has."""
        self._asked, self._heard = 0, asyncio.get_running_loop().time()
        self._connection = self._nc.stats["reconnects"]
        await self._ask()

    async def _ask(self) -> None:
        batch = self._credit - self._asked - self._held
        if batch <= 0 or self._stopping:
            return
        self._asked += batch
        request = {
            "batch": batch,
            "expires": int(_EXPIRES * _SECOND),
            "idle_heartbeat": int(_HEARTBEAT * _SECOND),
        }
        subject = f"$JS.API.CONSUMER.MSG.NEXT.{self._name}"
        try:
            await self._nc.publish(subject, json.dumps(request).encode(), reply=self._inbox)
        except nats.errors.Error:
            self._asked -= batch

    async def _keep_asking(self) -> None:
        """Ask anew after a reconnect, after a refusal, and when not even heartbeats have come for a while."""
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(_LOOK)
            if not self._nc.is_connected:
                continue
            if (
                self._connection != self._nc.stats["reconnects"]
                or loop.time() - self._heard > 2 * _HEARTBEAT
                or (self._asked == 0 and self._held < self._credit)
            ):
                await self._ask_anew()

    async def _receive(self, msg: Msg) -> None:
        self._heard = asyncio.get_running_loop().time()
        delivery = delivery_of(msg, self._post)
        if delivery is None:
            await self._status(msg.headers or {})
            return
        self._asked = max(0, self._asked - 1)
        if self._stopping or self._held >= self._credit:
            delivery.nak()
            return
        self._hand_on(delivery)
        if self._thirsty:
            await self._ask()

    def _hand_on(self, delivery: Delivery) -> None:
        if not self._auto:
            self._held += 1
        try:
            self._handler(delivery)
        except Exception:
            _log.exception("handler failed", extra={"consumer": self._name})
            delivery.nak(1.0)
            if not self._auto:
                self._held -= 1

    async def _status(self, headers: Mapping[str, str]) -> None:
        """100 is a heartbeat; the others end a request, of which some messages may not have come."""
        status = headers.get("Status", "")
        if status == "100":
            self._complaint = ""
            return
        pending = int(headers.get(PENDING_MESSAGES, self._asked))
        self._asked = max(0, self._asked - pending)
        if status in _EXPECTED:
            self._complaint = ""
            if self._thirsty:
                await self._ask()
            return
        # The consumer is gone or has no leader: asked anew by the watch, not in a tight loop.
        why = f"{status} {headers.get('Description', 'nobody answers')}"
        if why != self._complaint:
            self._complaint = why
            _log.warning("pull refused", extra={"consumer": self._name, "why": why})
