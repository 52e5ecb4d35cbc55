"""OpenAI Chat Completions, which Ollama, vLLM, llama.cpp and many others speak too."""

from __future__ import annotations

from collections.abc import AsyncGenerator

from partsong.contracts.talk.chunks import Chunk
from partsong.models.port import TurnRequest
from partsong.models.providers import openai_client, transport
from partsong.models.providers.openai_chat_reader import Reader
from partsong.models.providers.openai_chat_request import params
from partsong.models.streaming import relay

__all__ = ["ChatProvider"]


class ChatProvider:
    """Any server that speaks Chat Completions."""

    name = "openai-chat"

    def __init__(self, api_key: str, base_url: str = "") -> None:
        self._compatible = not openai_client.is_own(base_url)
        self._connection = transport.Connection(lambda: openai_client.connect(api_key, base_url))

    async def warm(self) -> None:
        """Import the SDK."""
        await transport.import_sdk("openai")

    def stream(self, request: TurnRequest) -> AsyncGenerator[Chunk, None]:
        """The answer."""
        return relay(self._chunks(request), openai_client.explain, timeout=request.timeout)

    async def aclose(self) -> None:
        """Close the pool."""
        if (client := self._connection.take()) is not None:
            await client.close()

    async def _chunks(self, request: TurnRequest) -> AsyncGenerator[Chunk, None]:
        await self.warm()
        client = await self._connection.get()
        stream = await client.chat.completions.create(
            **params(request, compatible=self._compatible),
            stream=True,
            timeout=transport.timeout(request),
        )
        reader = Reader(stream.response.headers.get("x-request-id"))
        async with stream:
            async for event in stream:
                for chunk in reader.read(event):
                    yield chunk
        for chunk in reader.ended():
            yield chunk
