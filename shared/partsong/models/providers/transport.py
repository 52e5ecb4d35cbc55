"""What the vendors' SDKs share: they all speak httpx2, and fail in its words where they have none of their own."""

from __future__ import annotations

import asyncio
import importlib
import json
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Generic, TypeVar, cast

from pydantic import JsonValue

from partsong.contracts.talk.chunks import Failed
from partsong.models.core.failure import error_class, failed
from partsong.models.port import TurnRequest
from partsong.runtime.clock import now

if TYPE_CHECKING:
    import httpx2

__all__ = [
    "CONNECT",
    "Connection",
    "at_address",
    "explain",
    "import_sdk",
    "late",
    "limits",
    "lost",
    "refused",
    "timeout",
]

C = TypeVar("C")

CONNECT = 10.0
"""Seconds to connect in."""


async def import_sdk(*modules: str) -> None:
    """Import an SDK without holding up the event loop; free once it is done."""
    for module in modules:
        await asyncio.to_thread(importlib.import_module, module)


class Connection(Generic[C]):
    """A vendor's client, made once and in a thread: certificates and parts that load late would hold up the event loop."""

    def __init__(self, make: Callable[[], C]) -> None:
        """`make` touches what it can of the client, so that it is loaded there."""
        self._make, self._lock = make, asyncio.Lock()
        self._client: C | None = None

    async def get(self) -> C:
        """The client."""
        if self._client is None:
            async with self._lock:
                if self._client is None:
                    self._client = await asyncio.to_thread(self._make)
        return self._client

    def take(self) -> C | None:
        """The client, if it was made, for closing; the next `get` makes another one."""
        client, self._client = self._client, None
        return client


def timeout(request: TurnRequest) -> httpx2.Timeout:
    """The SDK's own time-outs; the whole turn's deadline is the relay's."""
    import httpx2

    return httpx2.Timeout(request.timeout, connect=CONNECT, read=request.idle_timeout)


def limits() -> httpx2.Limits:
    """Room for a thousand streams at once; httpx2's default makes the 101st wait."""
    import httpx2

    return httpx2.Limits(max_connections=1000, max_keepalive_connections=100)


def refused(
    message: str,
    *,
    status: int | None,
    code: str | None,
    headers: Mapping[str, str] | None = None,
    body: object = None,
) -> Failed:
    """The provider said no, before the stream or in it; an error event comes under status 200, which says nothing."""
    return failed(
        error_class(status, code),
        message,
        status=status if status is not None and status >= 400 else None,
        headers=headers,
        body=cast("JsonValue", body),
        now=now(),
    )


def explain(error: Exception) -> Failed:
    """A failure that the SDK passed on as it was, or did not foresee."""
    import httpx2

    match error:
        case httpx2.TimeoutException():
            return late(error)
        case httpx2.HTTPError() | httpx2.StreamError():
            return lost(error)
        case json.JSONDecodeError() | UnicodeDecodeError():  # a body may end within a character
            return failed("truncated", f"an event is no complete JSON: {_said(error)}")
        case _:
            return failed("server", _said(error)).model_copy(update={"retryable": False})


def at_address(failure: Failed, address: str) -> Failed:
    """The failure with the address at which it happened, if that is not the vendor's: a local server may not run."""
    if not address or failure.error not in {"connection", "timeout"}:
        return failure
    lost = failure.error == "connection"
    fix = f"see whether the server at {address} runs, and whether the address is right"
    said = {"message": f"{failure.message} ({address})", "fix": fix if lost else None}
    return failure.model_copy(update=said)


def late(error: Exception) -> Failed:
    """No answer in time."""
    return failed("timeout", f"no answer in time: {_said(error.__cause__ or error)}")


def lost(error: Exception) -> Failed:
    """The connection could not be made, or broke."""
    return failed("connection", f"connection lost: {_said(error.__cause__ or error)}")


def _said(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}".removesuffix(": ")
