"""Anthropic Messages as server-sent events."""

from __future__ import annotations

from collections.abc import Iterator

from pydantic import JsonValue

from partsong.testing.fake_llm.steps import (
    Ask,
    Break,
    Call,
    Deny,
    ErrorKind,
    Event,
    Finish,
    Offer,
    Refuse,
    Result,
    Say,
    Seal,
    Step,
    Stop,
    Think,
    Tokens,
    WireName,
)
from partsong.testing.fake_llm.wire import (
    Json,
    counted,
    event_bytes,
    json_bytes,
    objects,
    pieces,
    text_of,
)

__all__ = ["AnthropicWire"]

_STOP: dict[Stop, str] = {
    "stop": "end_turn",
    "length": "max_tokens",
    "tool_calls": "tool_use",
    "refusal": "refusal",
    "blocked": "refusal",
    "pause": "pause_turn",
    "malformed_tool_call": "tool_use",
}
_ERROR: dict[ErrorKind, str] = {
    "rate_limited": "rate_limit_error",
    "overloaded": "overloaded_error",
    "server": "api_error",
    "auth": "authentication_error",
    "invalid_request": "invalid_request_error",
    "quota": "billing_error",
}


class AnthropicWire:
    """`POST /v1/messages`."""

    name: WireName = "anthropic"

    def ask(self, path: str, body: Json) -> Ask:  # noqa: ARG002  # Gemini's path names the model
        """The request, read."""
        prompt, results = "", []
        for message in objects(body.get("messages")):
            content = message.get("content")
            found = [part for part in objects(content) if part.get("type") == "tool_result"]
            results += [
                Result(str(part.get("tool_use_id")), text_of(part.get("content"))) for part in found
            ]
            if message.get("role") == "user" and (said := text_of(content)):
                prompt, results = said, results if found else []
        tools = tuple(
            Offer(
                str(tool["name"]),
                schema if isinstance(schema := tool.get("input_schema"), dict) else {},
            )
            for tool in objects(body.get("tools"))
        )
        model = str(body.get("model"))
        return Ask(
            self.name, model, text_of(body.get("system")), prompt, tools, tuple(results), body
        )

    def voice(self, ask: Ask, number: int, tokens: Tokens) -> _Voice:
        """Somebody to write the answer."""
        return _Voice(ask, number, tokens)

    def denial(self, deny: Deny) -> bytes:
        """The body of an HTTP error."""
        return json_bytes(_error(deny.kind, deny.message))


def _error(kind: ErrorKind, message: str) -> dict[str, JsonValue]:
    return {"type": "error", "error": {"type": _ERROR[kind], "message": message}}


def _event(data: dict[str, JsonValue]) -> bytes:
    return event_bytes(str(data["type"]), data)


class _Voice:
    def __init__(self, ask: Ask, number: int, tokens: Tokens) -> None:
        self.tokens = tokens
        self._model = ask.model
        self._number = number
        self._started = False
        self._index = -1
        self._open: str | None = None

    def speak(self, step: Step) -> Iterator[bytes]:
        if not self._started:
            self._started = True
            yield self._message_start()
            yield _event({"type": "ping"})
        match step:
            case Say(text) | Refuse(text):
                self.tokens = counted(self.tokens, text)
                yield from self._in_block("text", {"text": ""})
                yield self._delta({"type": "text_delta", "text": text})
            case Think(text):
                self.tokens = counted(self.tokens, text, thought=True)
                yield from self._in_block("thinking", {"thinking": "", "signature": ""})
                yield self._delta({"type": "thinking_delta", "thinking": text})
            case Seal(state, redacted=True):
                yield from self._close()
                yield from self._in_block("redacted_thinking", {"data": state})
                yield from self._close()
            case Seal(state):
                yield from self._in_block("thinking", {"thinking": "", "signature": ""})
                yield self._delta({"type": "signature_delta", "signature": state})
                yield from self._close()
            case Call():
                yield from self._call(step)
            case Break(kind, message):
                yield _event(_error(kind, message))
            case Event(data):
                yield _event(dict(data))
            case Finish(stop):
                yield from self._finish(stop)
            case _:
                pass

    def _message_start(self) -> bytes:
        tokens = self.tokens
        usage: dict[str, JsonValue] = {
            "input_tokens": tokens.input_total - tokens.cache_read - tokens.cache_write,
            "cache_read_input_tokens": tokens.cache_read,
            "cache_creation_input_tokens": tokens.cache_write,
            "cache_creation": {
                "ephemeral_5m_input_tokens": tokens.cache_write - tokens.cache_write_1h,
                "ephemeral_1h_input_tokens": tokens.cache_write_1h,
            },
            "output_tokens": 1,
        }
        message: dict[str, JsonValue] = {
            "id": f"msg_{self._number}",
            "type": "message",
            "role": "assistant",
            "model": self._model,
            "content": [],
            "stop_reason": None,
            "usage": usage,
        }
        return _event({"type": "message_start", "message": message})

    def _in_block(self, kind: str, empty: dict[str, JsonValue]) -> Iterator[bytes]:
        if self._open == kind:
            return
        yield from self._close()
        self._open, self._index = kind, self._index + 1
        block: JsonValue = {"type": kind, **empty}
        yield _event({"type": "content_block_start", "index": self._index, "content_block": block})

    def _delta(self, delta: dict[str, JsonValue]) -> bytes:
        return _event({"type": "content_block_delta", "index": self._index, "delta": delta})

    def _close(self) -> Iterator[bytes]:
        if self._open is not None:
            self._open = None
            yield _event({"type": "content_block_stop", "index": self._index})

    def _call(self, call: Call) -> Iterator[bytes]:
        self.tokens = counted(self.tokens, call.args)
        yield from self._close()
        yield from self._in_block("tool_use", {"id": call.id, "name": call.name, "input": {}})
        for piece in ("", *pieces(call)):
            yield self._delta({"type": "input_json_delta", "partial_json": piece})
        yield from self._close()

    def _finish(self, stop: Stop) -> Iterator[bytes]:
        yield from self._close()
        native = _STOP[stop]
        details: JsonValue = {"type": "refusal", "category": None} if native == "refusal" else None
        usage: dict[str, JsonValue] = {
            "input_tokens": None,
            "output_tokens": self.tokens.output_total,
            "output_tokens_details": {"thinking_tokens": self.tokens.reasoning},
        }
        delta: JsonValue = {"stop_reason": native, "stop_sequence": None, "stop_details": details}
        yield _event({"type": "message_delta", "delta": delta, "usage": usage})
        yield _event({"type": "message_stop"})
