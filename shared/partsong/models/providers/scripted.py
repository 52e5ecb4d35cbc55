"""The scripted provider: recorded parts instead of a model, in process, with no key and no network.

It plays through the very same path as the vendors' providers, and every turn is labelled `provider: scripted`.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncGenerator, Callable, Iterator

from partsong.contracts.errors import PartsongError
from partsong.contracts.talk.chunks import (
    Chunk,
    End,
    Failed,
    Reasoning,
    Start,
    Text,
    ToolArgs,
    ToolStart,
    Usage,
)
from partsong.models.core.arguments import tool_end
from partsong.models.core.failure import failed
from partsong.models.core.scripted_replies import ScriptedTurn, perform
from partsong.models.port import TurnRequest
from partsong.models.streaming import relay

__all__ = ["ScriptedProvider"]


class ScriptedProvider:
    """Plays what `script` says, word by word, `delay` seconds apart; by default the personas."""

    name = "scripted"

    def __init__(
        self, *, delay: float = 0.01, script: Callable[[TurnRequest], ScriptedTurn] = perform
    ) -> None:
        self._delay = delay
        self._script = script

    async def warm(self) -> None:
        """Nothing to do."""

    def stream(self, request: TurnRequest) -> AsyncGenerator[Chunk, None]:
        """The answer."""
        return relay(self._chunks(request), _explain, timeout=request.timeout)

    async def aclose(self) -> None:
        """Nothing to do."""

    async def _chunks(self, request: TurnRequest) -> AsyncGenerator[Chunk, None]:
        turn = self._script(request)
        heard = " ".join([request.instructions, *(m.model_dump_json() for m in request.messages)])
        yield Start(provider="scripted", model=request.model)
        spoken = 0
        for chunk in _deltas(turn):
            spoken += 1
            yield chunk
            await asyncio.sleep(self._delay)
        for i, call in enumerate(turn.calls, start=2):
            raw = json.dumps(call.args, ensure_ascii=False)
            yield ToolStart(i=i, id=call.id, name=call.name)
            yield ToolArgs(i=i, id=call.id, text=raw)
            yield tool_end(call.id, call.name, raw, i=i)
        yield Usage(input_total=len(heard.split()), output_total=spoken + len(turn.calls))
        yield End(stop="tool_calls" if turn.calls else "stop", native="scripted")


def _deltas(turn: ScriptedTurn) -> Iterator[Chunk]:
    for word in _words(turn.reasoning):
        yield Reasoning(text=word)
    for word in _words(turn.text):
        yield Text(i=1, text=word)


def _words(text: str) -> list[str]:
    """Words with the space that follows each: joined, they are the text."""
    return re.findall(r"\s*\S+\s*", text)


def _explain(error: Exception) -> Failed:
    if isinstance(error, PartsongError):
        return failed("invalid_request", error.problem.message)
    return failed("server", f"the script failed: {error!r}").model_copy(update={"retryable": False})
