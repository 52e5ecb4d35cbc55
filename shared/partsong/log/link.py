"""Requests over a NATS connection: one inbox, answers told apart by number, every wait bounded.

Why not `nc.request`: it costs a timer and two random tokens per request, cannot take more than one answer, and does
not notice that the server died with the request in its hands. Here a reconnect fails all open requests at once
(`Lost`), so that they are made again within a tenth of a second instead of after their time-out.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from typing import TypeVar

import nats.errors
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription

from partsong.contracts.errors import Unavailable
from partsong.contracts.wire.headers import SEQUENCE

__all__ = ["NO_ANSWER", "Link", "Lost", "Unheard", "status"]

T = TypeVar("T")

NO_ANSWER = "nats.no_answer"
"""Code of the error when all tries of a call have come to nothing."""

_TICK = 0.1
_FIRST_PAUSE, _LONGEST_PAUSE = 0.02, 0.5


class Lost(Exception):
    """The connection was replaced, or nobody listened; whether the request was carried out is not known."""


class Unheard(Lost):
    """Nobody listens to the subject: NATS is starting, or there is no such stream."""


class _Open:
    """A request that waits for its answer: one message, or many up to one with a status."""

    __slots__ = ("answer", "parts")

    def __init__(self, *, many: bool) -> None:
        self.answer: asyncio.Future[Msg] = asyncio.get_running_loop().create_future()
        self.parts: list[Msg] | None = [] if many else None

    def hear(self, msg: Msg) -> None:
        if self.answer.done():
            return
        if self.parts is None or status(msg):
            self.answer.set_result(msg)
        else:
            self.parts.append(msg)

    def lose(self, error: Exception) -> None:
        if not self.answer.done():
            self.answer.set_exception(error)


class Link:
    """Asks JetStream. `attempt` bounds one try, `deadline` all tries of one call, both in seconds."""

    def __init__(self, nc: Client, *, attempt: float, deadline: float) -> None:
        self.nc = nc
        self._attempt, self._deadline = attempt, deadline
        self._inbox = f"{nc.new_inbox()}."
        self._sub: Subscription | None = None
        self._subscribing = asyncio.Lock()
        self._open: dict[str, _Open] = {}
        self._watchers: set[Callable[[], None]] = set()
        self._count = 0
        self._reconnects = 0
        self._tick: asyncio.TimerHandle | None = None

    async def insist(self, what: str, attempt: Callable[[], Awaitable[T]]) -> T:
        """Try until it works; only ever with something that may be done twice.

        Raises:
            Unavailable: `nats.no_answer` at the deadline, `nats.closed` if the connection was closed.
        """
        now = asyncio.get_running_loop().time
        deadline, pause = now() + self._deadline, _FIRST_PAUSE
        while True:
            try:
                async with asyncio.timeout_at(min(now() + self._attempt, deadline)):
                    return await attempt()
            except (TimeoutError, Lost, OSError, nats.errors.Error) as error:
                if self.nc.is_closed or self.nc.is_draining:
                    raise _closed(what) from error
                if now() + pause >= deadline:
                    raise self._no_answer(what, error) from error
            await asyncio.sleep(pause)
            pause = min(pause * 2, _LONGEST_PAUSE)

    async def ask(
        self, subject: str, body: bytes = b"", headers: Mapping[str, str] | None = None
    ) -> Msg:
        """One request, one answer; the caller bounds the wait.

        Raises:
            Lost: the connection was replaced meanwhile, or nobody listens to the subject.
        """
        msg, _ = await self._ask(_Open(many=False), subject, body, headers)
        if status(msg) == "503":
            raise Unheard(f"nobody listens to {subject}")
        return msg

    async def ask_many(self, subject: str, body: bytes) -> list[Msg]:
        """One request, many answers, up to the one that says it was the last.

        Raises:
            Lost: as above, or the answers ended otherwise.
        """
        opened = _Open(many=True)
        end, parts = await self._ask(opened, subject, body, None)
        if (code := status(end)) == "503":
            raise Unheard(f"nobody listens to {subject}")
        if code not in {"204", "404"}:
            raise Lost(f"{subject} ended with status {code}")
        return parts or []

    def watch(self, callback: Callable[[], None]) -> None:
        """Call `callback` soon after each reconnect, until `unwatch`."""
        self._watchers.add(callback)
        self._keep_ticking()

    def unwatch(self, callback: Callable[[], None]) -> None:
        """Undo `watch`."""
        self._watchers.discard(callback)

    async def close(self) -> None:
        """Give the inbox back; open requests fail."""
        self._lose(Lost("the log was closed"))
        if self._tick is not None:
            self._tick.cancel()
            self._tick = None
        sub, self._sub = self._sub, None
        if sub is not None and not self.nc.is_closed:
            with suppress(nats.errors.Error, OSError):  # a draining connection forgets it anyway
                await sub.unsubscribe()

    async def _ask(
        self, opened: _Open, subject: str, body: bytes, headers: Mapping[str, str] | None
    ) -> tuple[Msg, list[Msg] | None]:
        if self._sub is None:
            await self._subscribe()
        self._count += 1
        number = str(self._count)
        self._open[number] = opened
        if self._tick is None:
            self._keep_ticking()
        try:
            await self.nc.publish(
                subject,
                body,
                reply=self._inbox + number,
                headers=dict(headers) if headers else None,
            )
            return await opened.answer, opened.parts
        finally:
            del self._open[number]

    async def _subscribe(self) -> None:
        async with self._subscribing:
            if self._sub is None:
                self._sub = await self.nc.subscribe(
                    f"{self._inbox}*", cb=self._hear, pending_bytes_limit=0
                )

    async def _hear(self, msg: Msg) -> None:
        if opened := self._open.get(msg.subject[len(self._inbox) :]):
            opened.hear(msg)

    def _keep_ticking(self) -> None:
        """Look for a reconnect ten times a second, as long as somebody waits for anything."""
        if self._tick is None:
            self._reconnects = self.nc.stats["reconnects"]
            self._tick = asyncio.get_running_loop().call_later(_TICK, self._on_tick)

    def _on_tick(self) -> None:
        self._tick = None
        known, now = self._reconnects, self.nc.stats["reconnects"]
        if self.nc.is_closed:
            self._lose(Lost("the connection was closed"))
        elif now != known and self.nc.is_connected:
            self._lose(Lost("the connection was replaced"))
            known = now
        if self._open or self._watchers:
            self._keep_ticking()
            self._reconnects = known

    def _lose(self, error: Lost) -> None:
        for opened in list(self._open.values()):
            opened.lose(error)
        for callback in list(self._watchers):
            callback()

    def _no_answer(self, what: str, error: Exception) -> Unavailable:
        return Unavailable(
            NO_ANSWER,
            f"{what}: no answer within {self._deadline:g} s, at last: {str(error) or type(error).__name__}",
            fix="check that NATS runs, has room on its disk, and that this user may use the subject",
            retryable=True,
        )


def status(msg: Msg) -> str | None:
    """The status of a message that is not data: 204, 404, 408, 503, …; only data has a sequence or a reply."""
    headers = msg.headers
    if not headers or msg.data or msg.reply or SEQUENCE in headers:
        return None
    return headers.get("Status")


def _closed(what: str) -> Unavailable:
    return Unavailable(
        "nats.closed", f"{what}: the connection to NATS is closed", fix="connect again"
    )
