"""OpenAI Chat Completions, which Ollama, vLLM, llama.cpp and many others speak too."""

from __future__ import annotations

import logging
import re
from collections.abc import AsyncGenerator
from functools import partial
from typing import TYPE_CHECKING

from partsong.contracts.talk.chunks import Chunk
from partsong.models.port import TurnRequest
from partsong.models.providers import openai_client, transport
from partsong.models.providers.openai_chat_reader import Reader
from partsong.models.providers.openai_chat_request import params
from partsong.models.streaming import relay

if TYPE_CHECKING:
    import openai
    from openai.types.chat import ChatCompletionChunk

__all__ = ["ChatProvider"]

_log = logging.getLogger("partsong.models")

_OPTIONAL = {
    "response_format": re.compile(
        "response_format|json_schema|schema|grammar|structured|guided", re.IGNORECASE
    ),
    "stream_options": re.compile("stream_options|include_usage", re.IGNORECASE),
}
"""Fields without which a turn can be asked for all the same, and the words in which servers refuse them."""
_REFUSALS = frozenset({400, 404, 415, 422, 500, 501})

_UNKNOWN: dict[tuple[str, str], frozenset[str]] = {}
"""Fields that a server has refused for a model, by its address: of the process, for an agent may connect for each call."""


class ChatProvider:
    """Any server that speaks Chat Completions."""

    name = "openai-chat"

    def __init__(self, api_key: str, base_url: str = "") -> None:
        self._base_url = base_url
        self._compatible = not openai_client.is_own(base_url)
        self._connection = transport.Connection(lambda: openai_client.connect(api_key, base_url))

    async def warm(self) -> None:
        """Import the SDK."""
        await transport.import_sdk("openai")

    def stream(self, request: TurnRequest) -> AsyncGenerator[Chunk, None]:
        """The answer."""
        explain = partial(openai_client.explain, base_url=self._base_url, model=request.model)
        return relay(self._chunks(request), explain, timeout=request.timeout)

    async def aclose(self) -> None:
        """Close the pool."""
        if (client := self._connection.take()) is not None:
            await client.close()

    async def _chunks(self, request: TurnRequest) -> AsyncGenerator[Chunk, None]:
        await self.warm()
        stream = await self._begun(request)
        reader = Reader(
            stream.response.headers.get("x-request-id"),
            tools=[tool.name for tool in request.tools],
            tagged=self._compatible,
        )
        async with stream:
            async for event in stream:
                for chunk in reader.read(event):
                    yield chunk
        for chunk in reader.ended():
            yield chunk

    async def _begun(self, request: TurnRequest) -> openai.AsyncStream[ChatCompletionChunk]:
        """The stream; without fields that a compatible server has refused, which has made no turn of that."""
        import openai

        client = await self._connection.get()
        known = _UNKNOWN.get((self._base_url, request.model), frozenset())
        unknown = known
        while True:
            fields = params(request, compatible=self._compatible, unknown=unknown)
            try:
                stream: openai.AsyncStream[
                    ChatCompletionChunk
                ] = await client.chat.completions.create(
                    **fields, stream=True, timeout=transport.timeout(request)
                )
            except openai.APIStatusError as error:
                refused = _refused(error) & fields.keys() if self._compatible else frozenset()
                if not refused:
                    raise
                unknown |= refused
            else:
                if unknown != known:
                    self._learned(request.model, unknown)
                return stream

    def _learned(self, model: str, unknown: frozenset[str]) -> None:
        _UNKNOWN[self._base_url, model] = unknown
        _log.warning(
            "a server does not know what it was asked with, and is asked without",
            extra={"address": self._base_url, "model": model, "unknown": sorted(unknown)},
        )


def _refused(error: openai.APIStatusError) -> frozenset[str]:
    """The fields that an error speaks of."""
    if error.status_code not in _REFUSALS:
        return frozenset()
    said = f"{error.message} {error.body}"
    return frozenset(name for name, words in _OPTIONAL.items() if words.search(said))
