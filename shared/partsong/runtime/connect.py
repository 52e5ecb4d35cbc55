"""The connection to NATS: patient for ever once it stands, impatient with a clear error before that."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import nats.errors
from nats.aio.client import Client, Server

from partsong.contracts.errors import InvalidInput, PartsongError, Unavailable
from partsong.runtime.nats.client import NatsClient
from partsong.runtime.nats.version import needed, refuse_older
from partsong.runtime.visible import without_password

__all__ = ["connect", "disconnect"]

_log = logging.getLogger("partsong.nats")

_SCHEMES = ("nats", "tls", "ws", "wss")
_FIRST_WAIT, _LONGEST_WAIT = 0.05, 2.0
_PENDING = 16 * 1024 * 1024
"""Bytes a connection may hold back while it is down; beyond that a publish fails instead of filling memory."""


async def connect(
    url: str,
    *,
    name: str,
    within: float = 10.0,
    on_reconnect: Callable[[], Awaitable[None]] | None = None,
    credentials: Path | None = None,
    nkey_seed: str | None = None,
    inbox_prefix: str = "_INBOX",
) -> Client:
    """Connect, waiting at most `within` seconds; after that the connection comes back by itself, for ever.

    `url` may name several servers, separated by commas, and may carry user and password.
    Reconnecting waits 50 ms at first, twice as long each time, up to 2 s; then `on_reconnect` is called.
    What happens to the connection is logged to `partsong.nats`.

    Raises:
        InvalidInput: the URL is not one (`nats.bad_url`).
        Unavailable: nobody answered in time (`nats.unreachable`), the credentials were refused (`nats.refused`), or
            the server is too old for the platform (`nats.too_old`).
    """
    servers = [_server(part.strip(), url) for part in url.split(",")]
    client = NatsClient()
    watch = _Watch(client, url, name, on_reconnect)
    try:
        async with asyncio.timeout(within):
            await client.connect(
                servers=servers,
                name=name,
                error_cb=watch.error,
                disconnected_cb=watch.disconnected,
                reconnected_cb=watch.reconnected,
                closed_cb=watch.closed,
                reconnect_to_server_handler=watch.pick,
                reconnect_time_wait=1,
                max_reconnect_attempts=-1,
                ping_interval=5,
                pending_size=_PENDING,
                inbox_prefix=inbox_prefix,
                user_credentials=credentials,
                nkeys_seed_str=nkey_seed,
            )
        watch.refuse_older()
    except TimeoutError as error:
        await disconnect(client)
        raise watch.unreachable(within) from error
    except PartsongError:
        await disconnect(client)
        raise
    except nats.errors.Error as error:  # before anything was opened
        raise _bad(url, str(error)) from error
    watch.stands = True
    _log.info("nats.connected", extra=watch.tags)
    return client


async def disconnect(client: Client, *, within: float = 5.0) -> None:
    """Close the connection in time, whatever state it is in; what it held back while down is dropped."""
    if not client.is_connected:
        # close() would write it to the dead socket, raise, and leave its subscriptions running
        client._pending, client._pending_data_size = [], 0  # noqa: SLF001
    with suppress(OSError, nats.errors.Error):  # TimeoutError is an OSError
        async with asyncio.timeout(within):
            await client.close()


def _server(part: str, url: str) -> str:
    scheme, sep, _ = part.partition("://")
    if sep and scheme not in _SCHEMES:
        raise _bad(url, f"scheme {scheme!r} is none of {', '.join(_SCHEMES)}")
    return part


def _bad(url: str, why: str) -> InvalidInput:
    return InvalidInput(
        "nats.bad_url",
        f"{without_password(url)!r} is not a NATS URL: {why}",
        where="url",
        fix="write it as nats://host:4222, or nats://user:password@host:4222 with %-escapes for signs like / and @",
    )


class _Watch:
    """What the client tells us about one connection, and how long to wait before the next attempt."""

    def __init__(
        self,
        client: NatsClient,
        url: str,
        name: str,
        on_reconnect: Callable[[], Awaitable[None]] | None,
    ) -> None:
        self.stands = False
        self._client = client
        self._on_reconnect = on_reconnect
        self.tags = {"connection": name, "url": without_password(url)}
        self._attempts = 0
        self._last: Exception | None = None

    def pick(self, servers: list[Server], _info: dict[str, Any]) -> tuple[Server | None, float]:
        """The server least often tried since it last answered, and the pause before trying it."""
        delay = min(_FIRST_WAIT * 2**self._attempts, _LONGEST_WAIT)
        self._attempts = min(self._attempts + 1, 10)
        return min(servers, key=lambda server: server.reconnects), delay

    async def error(self, error: Exception) -> None:
        self._last = error
        if self.stands:
            _log.warning("nats.error", extra={**self.tags, "error": repr(error)})
        elif "authorization" in str(error).lower():
            raise Unavailable(
                "nats.refused",
                f"the server refused the credentials: {error}",
                where=self.tags["url"],
                fix="check user and password in the URL, or the credentials file",
            )

    async def disconnected(self) -> None:
        if self.stands and not self._client.is_closed:
            _log.warning("nats.disconnected", extra=self.tags)

    async def reconnected(self) -> None:
        self._attempts = 0
        _log.info("nats.reconnected", extra=self.tags)
        try:
            self.refuse_older()  # another server of the cluster, or one that was put in its place
        except Unavailable as error:
            _log.error("nats.too_old", extra={**self.tags, "error": error.problem.message})
        if self._on_reconnect is None:
            return
        try:
            await self._on_reconnect()
        except Exception as error:  # the client would take it for a failed reconnect
            _log.exception("nats.on_reconnect_failed", extra={**self.tags, "error": repr(error)})

    async def closed(self) -> None:
        if self.stands:
            _log.info("nats.closed", extra=self.tags)

    def refuse_older(self) -> None:
        """Refuse a server that cannot do all that the platform asks of it: it would fail later, and unclearly."""
        refuse_older(
            f"the server at {self.tags['url']}",
            self._client.server_version,
            where=self.tags["url"],
            fix=f"run nats-server {needed()} or newer there; `partsong up` brings one",
        )

    def unreachable(self, within: float) -> Unavailable:
        why = f": {self._last}" if self._last else ""
        return Unavailable(
            "nats.unreachable",
            f"no NATS server answered within {within:g} s{why}",
            where=self.tags["url"],
            fix="start one (`partsong up` does), or give the URL of a running one",
            retryable=True,
        )
