"""Google Gemini, through `streamGenerateContent`.

Whatever the SDK would do on its own is off: calling functions, continuing, retrying, choosing aiohttp. And since
leaving its generators does not close the socket, the responses are ours: caught as they open, closed when we leave.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from pydantic import JsonValue

from partsong.contracts.talk.chunks import Chunk, Failed
from partsong.models.core.failure import failed
from partsong.models.port import TurnRequest
from partsong.models.providers import transport
from partsong.models.providers.google_reader import Reader
from partsong.models.providers.google_request import config, contents
from partsong.models.streaming import relay

if TYPE_CHECKING:
    import httpx2
    from google import genai

__all__ = ["GoogleProvider"]

_URL = "https://generativelanguage.googleapis.com"


@dataclass(slots=True)
class _Exchange:
    """What one call does on the wire, which the SDK does not show."""

    idle: float
    responses: list[httpx2.Response] = field(default_factory=list)


_EXCHANGE: ContextVar[_Exchange] = ContextVar("exchange")
"""Of the task that makes the call; each stream has a task of its own."""


class GoogleProvider:
    """Google's models, through the Gemini API."""

    name = "google"

    def __init__(self, api_key: str, base_url: str = "") -> None:
        self._api_key = api_key or "none"
        self._base_url = base_url or _URL
        self._http: httpx2.AsyncClient | None = None
        self._connection = transport.Connection(self._connect)

    async def warm(self) -> None:
        """Import the SDK."""
        await transport.import_sdk("google.genai", "httpx2")

    def stream(self, request: TurnRequest) -> AsyncGenerator[Chunk, None]:
        """The answer."""
        return relay(self._chunks(request), self._explain, timeout=request.timeout)

    async def aclose(self) -> None:
        """Close the pool."""
        if (client := self._connection.take()) is not None:
            client.close()
        if self._http is not None:
            await self._http.aclose()
            self._http = None

    async def _chunks(self, request: TurnRequest) -> AsyncGenerator[Chunk, None]:
        await self.warm()
        client = await self._connection.get()
        exchange = _Exchange(request.idle_timeout)
        _EXCHANGE.set(exchange)
        reader = Reader(turn=len(request.messages))
        try:
            events = await client.aio.models.generate_content_stream(
                model=request.model, contents=contents(request.messages), config=config(request)
            )
            async for event in events:
                for chunk in reader.read(event):
                    yield chunk
        finally:
            for response in exchange.responses:
                await response.aclose()
        for chunk in reader.ended():
            yield chunk

    def _explain(self, error: Exception) -> Failed:
        own = self._base_url == _URL
        return _explain(error) if own else transport.at_address(_explain(error), self._base_url)

    def _connect(self) -> genai.Client:
        import httpx2
        from google import genai
        from google.genai import types

        self._http = httpx2.AsyncClient(
            limits=transport.limits(),
            event_hooks={"request": [_limit_silence], "response": [_remember]},
        )
        client = genai.Client(
            vertexai=False,
            api_key=self._api_key,
            http_options=types.HttpOptions(
                base_url=self._base_url, api_version="v1beta", httpx_async_client=self._http
            ),
        )
        _ = client.aio.models  # loads it
        return client


async def _limit_silence(request: httpx2.Request) -> None:
    """The SDK knows one time-out for everything, and tells it to the server as the limit of the whole answer."""
    limits = dict(request.extensions.get("timeout", {}))
    request.extensions["timeout"] = {
        **limits,
        "read": _EXCHANGE.get().idle,
        "connect": transport.CONNECT,
    }


async def _remember(response: httpx2.Response) -> None:
    _EXCHANGE.get().responses.append(response)


def _explain(error: Exception) -> Failed:
    from google.genai import errors

    match error:
        case errors.APIError():
            response: Any = error.response
            body: JsonValue = error.details
            return transport.refused(
                error.message or str(error),
                status=error.code,
                code=error.status,
                headers=getattr(response, "headers", None),
                body=body,
            )
        case errors.UnknownApiResponseError():
            return failed("truncated", f"an event is no complete JSON: {error}")
        case _:
            return transport.explain(error)
