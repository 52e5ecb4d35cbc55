"""The fake LLM server: three vendors' wire formats on loopback, so that tests drive the real SDKs.

    async with FakeLLM() as llm:
        ...                      # base URLs for the SDKs: llm.env()
        assert len(llm.calls) == 1

What it answers follows from the model's name (`scenarios`) or from a `script`, a function of the request.
"""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from types import TracebackType
from typing import Self

from pydantic import JsonValue

from partsong.testing.fake_llm import scenarios
from partsong.testing.fake_llm.anthropic import AnthropicWire
from partsong.testing.fake_llm.chat import ChatWire
from partsong.testing.fake_llm.gemini import GeminiWire
from partsong.testing.fake_llm.http import Connection, Request, listen
from partsong.testing.fake_llm.manners import OPENAI, Manners
from partsong.testing.fake_llm.prompt_cache import PromptCache
from partsong.testing.fake_llm.responses import ResponsesWire
from partsong.testing.fake_llm.steps import (
    Answer,
    Ask,
    Bytes,
    Cut,
    Deny,
    Drop,
    Ending,
    Reply,
    Reset,
    Script,
    Stall,
    Step,
    Tokens,
    Wait,
    WireName,
)
from partsong.testing.fake_llm.wire import Wire

__all__ = ["FakeLLM", "Recorded"]


@dataclass(slots=True, eq=False)
class Recorded:
    """One request the server got, and what became of its answer."""

    number: int
    """0 for the first one."""
    wire: WireName
    model: str
    path: str
    ask: Ask
    headers: Mapping[str, str]
    body: Mapping[str, JsonValue]
    received: float
    """Loop time."""
    tokens: Tokens
    """What the answer cost, once it has finished."""
    writes: list[float] = field(default_factory=list)
    """Loop times at which the stream's pieces went to the socket."""
    sent: bytearray = field(default_factory=bytearray)
    """The stream's body so far, without HTTP's own framing."""
    done: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when the answer is over, for whatever reason."""
    disconnected: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when the client left before the answer was over."""

    @property
    def first_write(self) -> float | None:
        """Loop time of the first piece."""
        return self.writes[0] if self.writes else None


class FakeLLM:
    """A loopback server that speaks Anthropic Messages, OpenAI Responses and Chat Completions, and Gemini."""

    def __init__(
        self,
        script: Script | None = None,
        *,
        manners: Manners = OPENAI,
        cache: PromptCache | None = None,
        host: str = "127.0.0.1",
        port: int = 0,
    ) -> None:
        """Nothing listens yet; `manners` are those of the server that it is in Chat Completions.

        With a `cache` tokens are counted as vendors count them that keep prompts; without one they are made up.
        """
        self._cache = cache
        self._script = script or scenarios.reply
        self._chat = ChatWire(manners)
        self._wires: tuple[tuple[str, Wire], ...] = (
            ("/messages", AnthropicWire()),
            ("/responses", ResponsesWire()),
            ("/chat/completions", self._chat),
            (":streamGenerateContent", GeminiWire()),
        )
        self._host = host
        self._port = port
        self._server: asyncio.Server | None = None
        self._seen: Counter[str] = Counter()
        self._connections: dict[asyncio.Task[None], Connection] = {}
        self._changed = asyncio.Condition()
        self._failure: Exception | None = None
        self.calls: list[Recorded] = []
        """Every request so far, in the order of arrival."""

    @property
    def url(self) -> str:
        """Where it listens, without a path."""
        return f"http://{self._host}:{self._port}"

    def env(self) -> dict[str, str]:
        """Environment variables that send the gateway's providers here."""
        return {
            "ANTHROPIC_API_KEY": "fake",
            "ANTHROPIC_BASE_URL": self.url,
            "OPENAI_API_KEY": "fake",
            "OPENAI_BASE_URL": f"{self.url}/v1",
            "GOOGLE_API_KEY": "fake",
            "GOOGLE_BASE_URL": self.url,
        }

    async def __aenter__(self) -> Self:
        self._server = await listen(self._connected, self._host, self._port)
        self._port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._server is None:
            return
        self._server.close()
        tasks = list(self._connections)
        for task in tasks:
            self._connections[task].close()
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._server.wait_closed()
        self._server = None
        if error is None and self._failure is not None:
            raise self._failure  # a script's own mistake must not look like the provider's

    async def wait_calls(self, count: int) -> list[Recorded]:
        """The requests so far, once there are so many; the caller sets the deadline."""
        async with self._changed:
            await self._changed.wait_for(lambda: len(self.calls) >= count)
        return self.calls

    def _connected(self, connection: Connection) -> None:
        task = asyncio.get_running_loop().create_task(self._serve(connection))
        self._connections[task] = connection
        task.add_done_callback(self._connections.pop)

    async def _serve(self, connection: Connection) -> None:
        try:
            with suppress(ConnectionError):
                while (request := await connection.request()) is not None:
                    await self._exchange(connection, request)
        except Exception as error:
            self._failure = self._failure or error
        finally:
            connection.close()

    async def _exchange(self, connection: Connection, request: Request) -> None:
        wire = next((wire for end, wire in self._wires if request.path.endswith(end)), None)
        if wire is None:
            known = ", ".join(f"POST …{end}" for end, _ in self._wires)
            return await connection.answer(
                404, {}, f'{{"error":"the fake knows {known}"}}'.encode()
            )
        recorded = await self._record(wire, request)
        counted: Tokens | Deny | None = None
        if wire is self._chat:
            counted = self._chat.refusal(request.path, recorded.ask)
        if counted is None:
            counted = self._cache.count(recorded.ask) if self._cache else recorded.tokens
        if isinstance(counted, Deny):
            reply: Reply = counted
        else:
            recorded.tokens = counted
            reply = self._script(recorded.ask)
        leaving = asyncio.ensure_future(connection.gone.wait())
        speaking = asyncio.ensure_future(_speak(connection, wire, recorded, reply))
        try:
            await asyncio.wait({leaving, speaking}, return_when=asyncio.FIRST_COMPLETED)
            if not speaking.done():
                recorded.disconnected.set()
        finally:
            for task in (leaving, speaking):
                task.cancel()
            _, outcome = await asyncio.gather(leaving, speaking, return_exceptions=True)
            recorded.done.set()
        if isinstance(outcome, ConnectionError):
            recorded.disconnected.set()
        elif isinstance(outcome, Exception):
            raise outcome
        return None

    async def _record(self, wire: Wire, request: Request) -> Recorded:
        body = json.loads(request.body)
        ask = wire.ask(request.path, body)
        ask = replace(ask, nth=self._seen[ask.model])
        self._seen[ask.model] += 1
        size = len(request.body) // 4
        tokens = Tokens(size, cache_read=size // 4, cache_write=size // 8)
        now = asyncio.get_running_loop().time()
        recorded = Recorded(
            len(self.calls),
            wire.name,
            ask.model,
            request.path,
            ask,
            request.headers,
            body,
            now,
            tokens,
        )
        async with self._changed:
            self.calls.append(recorded)
            self._changed.notify_all()
        return recorded


async def _speak(
    connection: Connection, wire: Wire, recorded: Recorded, reply: Answer | Deny
) -> None:
    if isinstance(reply, Deny):
        return await connection.answer(reply.status, reply.headers, wire.denial(reply))
    voice = wire.voice(recorded.ask, recorded.number, recorded.tokens)
    clock = asyncio.get_running_loop().time
    await connection.begin({"request-id": "req_fake", "x-request-id": "req_fake"})

    async def write(data: bytes) -> bool:
        """Whether the answer goes on."""
        room = None if reply.cut_after is None else reply.cut_after - len(recorded.sent)
        said = data[:room]
        if said:
            recorded.writes.append(clock())
            recorded.sent += said
            await connection.write(said)
        if room is None or room > len(data):
            return True
        await _end(connection, reply.ending)
        return False

    due = clock()
    for step in reply.steps:
        if isinstance(step, Wait):
            due += step.seconds
            await asyncio.sleep(due - clock())
        elif await _happens(step, connection):
            return None
        for event in (step.data,) if isinstance(step, Bytes) else voice.speak(step):
            recorded.tokens = voice.tokens
            if not await write(event):
                return None
    return await connection.end()


async def _end(connection: Connection, ending: Ending) -> None:
    match ending:
        case "end":
            await connection.end()
        case "drop":
            connection.drop()
        case "reset":
            connection.reset()


async def _happens(step: Step, connection: Connection) -> bool:
    """What a step does to the connection instead of saying something; whether the answer is over with it."""
    match step:
        case Stall():
            await asyncio.get_running_loop().create_future()  # ends when the client leaves
        case Cut(torn):
            if torn:
                await connection.write(b'data: {"type":"half of an ev')
            await connection.end()
            return True
        case Drop():
            connection.drop()
            return True
        case Reset():
            connection.reset()
            return True
        case _:
            pass
    return False
