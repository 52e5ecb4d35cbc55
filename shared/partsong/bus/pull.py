"""A continuous pull from a durable consumer, with a priority group if asked for.

nats-py and FastStream fetch in batches: a fetch is blind across a server's restart until it times out, and neither
knows priority groups. This loop keeps one request with credit open, refills it at half, and asks anew when the
server falls silent. Deliveries are handed on in the order they come; a delivery is a wake-up, the log is the truth.

A pinned consumer (ADR-42 of NATS) delivers to one instance at a time. The first delivery names the pin; it goes back
with every request, and a 423 says that the pin has gone elsewhere.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass

import nats.errors
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription

__all__ = ["Delivery", "PullLoop"]

_log = logging.getLogger("partsong.bus")

_EXPIRES = 30.0
_HEARTBEAT = 5.0
_SECOND = 1_000_000_000
_PIN = "Nats-Pin-Id"


@dataclass(frozen=True, slots=True)
class Delivery:
    """One message of a consumer, and the ways to answer it. The answers are sent, not confirmed."""

    subject: str
    data: bytes
    headers: Mapping[str, str]
    stream_seq: int
    consumer_seq: int
    num_delivered: int
    _answer: Callable[[bytes], None]

    def ack(self) -> None:
        """It is done."""
        self._answer(b"+ACK")

    def nak(self, delay: float = 0.0) -> None:
        """Deliver it again, after `delay` seconds."""
        self._answer(b'-NAK {"delay": %d}' % int(delay * _SECOND) if delay else b"-NAK")

    def in_progress(self) -> None:
        """It is being worked on: the time until it is delivered again starts anew."""
        self._answer(b"+WPI")

    def term(self, reason: str) -> None:
        """Never deliver it again."""
        self._answer(b"+TERM " + reason.encode())


class PullLoop:
    """Pulls from `durable` on `stream` and hands each message to `handler`, which must not block.

    At most `credit` messages are on their way or in the handlers' hands that have not called `done`: with
    `auto_credit` a message gives its credit back as soon as the handler returns.
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
        group: str | None = None,
        on_pin: Callable[[], None] = lambda: None,
        on_unpin: Callable[[], None] = lambda: None,
    ) -> None:
        self._nc, self._handler, self._credit, self._auto = nc, handler, credit, auto_credit
        self._subject = f"$JS.API.CONSUMER.MSG.NEXT.{stream}.{durable}"
        self._name = f"{stream}.{durable}"
        self._group, self._pin = group, ""
        self._on_pin, self._on_unpin = on_pin, on_unpin
        self._asked = 0
        self._held = 0
        self._heard = 0.0
        self._sub: Subscription | None = None
        self._watch: asyncio.Task[None] | None = None
        self._answers: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        """Begin to pull."""
        self._inbox = self._nc.new_inbox()
        self._sub = await self._nc.subscribe(self._inbox, cb=self._receive)
        self._heard = self._now()
        await self._ask()
        self._watch = asyncio.get_running_loop().create_task(
            self._keep_asking(), name=f"pull {self._name}"
        )

    async def stop(self) -> None:
        """Stop pulling. What is on its way comes to somebody else after the consumer's ack wait."""
        if self._watch is not None:
            self._watch.cancel()
            await asyncio.gather(self._watch, return_exceptions=True)
        if self._sub is not None:
            with contextlib.suppress(nats.errors.Error):
                await self._sub.unsubscribe()
        await asyncio.gather(*self._answers, return_exceptions=True)

    def done(self) -> None:
        """Give back the credit of one message; only without `auto_credit`."""
        self._held -= 1
        if self._asked + self._held <= self._credit // 2:
            self._spawn(self._ask())

    @staticmethod
    def _now() -> float:
        return asyncio.get_running_loop().time()

    async def _ask(self) -> None:
        batch = self._credit - self._asked - self._held
        if batch <= 0 or self._sub is None:
            return
        self._asked += batch
        request: dict[str, int | str] = {
            "batch": batch,
            "expires": int(_EXPIRES * _SECOND),
            "idle_heartbeat": int(_HEARTBEAT * _SECOND),
        }
        if self._group is not None:
            request["group"] = self._group
            if self._pin:
                request["id"] = self._pin
        try:
            await self._nc.publish(self._subject, json.dumps(request).encode(), reply=self._inbox)
        except nats.errors.Error:
            self._asked -= batch

    async def _keep_asking(self) -> None:
        """Ask anew when neither messages nor heartbeats have come for a while: the server forgot us, or restarted."""
        while True:
            await asyncio.sleep(_HEARTBEAT / 4)
            if not self._nc.is_connected:
                self._asked, self._heard = 0, 0.0
            elif self._now() - self._heard > 2 * _HEARTBEAT or (
                self._asked == 0 and self._held < self._credit
            ):
                self._asked, self._heard = 0, self._now()
                await self._ask()

    async def _receive(self, msg: Msg) -> None:
        self._heard = self._now()
        headers = msg.headers or {}
        if "Status" in headers and not msg.reply.startswith("$JS.ACK"):
            await self._status(headers)
            return
        self._asked = max(0, self._asked - 1)
        if (pin := headers.get(_PIN)) and pin != self._pin:
            self._pin = pin
            self._on_pin()
        if not self._auto:
            self._held += 1
        place = msg.metadata
        self._handler(
            Delivery(
                msg.subject,
                msg.data,
                headers,
                place.sequence.stream,
                place.sequence.consumer,
                place.num_delivered,
                self._answerer(msg.reply),
            )
        )
        if self._asked + self._held <= self._credit // 2:
            await self._ask()

    async def _status(self, headers: Mapping[str, str]) -> None:
        """100 is a heartbeat; 4xx ends a request, of which some messages may not have come."""
        status = headers["Status"]
        if status == "100":
            return
        pending = int(headers.get("Nats-Pending-Messages", self._asked))
        self._asked = max(0, self._asked - pending)
        if status == "423" and self._pin:
            self._pin = ""
            self._on_unpin()
        elif status not in {"404", "408", "423"}:
            # The server is going down, or the consumer is gone: asked anew by the watch, not in a tight loop.
            _log.debug(
                "pull ended", extra={"consumer": self._name, "why": headers.get("Description")}
            )
            return
        if self._asked + self._held <= self._credit // 2:
            await self._ask()

    def _answerer(self, reply: str) -> Callable[[bytes], None]:
        def answer(word: bytes) -> None:
            self._spawn(self._send(reply, word))

        return answer

    async def _send(self, reply: str, word: bytes) -> None:
        with contextlib.suppress(nats.errors.Error):
            await self._nc.publish(reply, word)

    def _spawn(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._answers.add(task)
        task.add_done_callback(self._answers.discard)
