"""OpenAI Chat Completions as server-sent events, with the reasoning field that compatible servers add."""

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
    Step,
    Stop,
    Think,
    Tokens,
    WireName,
)
from partsong.testing.fake_llm.wire import Json, counted, json_bytes, objects, pieces, text_of

__all__ = ["ChatWire", "openai_error"]

_STOP: dict[Stop, str] = {
    "stop": "stop",
    "length": "length",
    "tool_calls": "tool_calls",
    "refusal": "stop",
    "blocked": "content_filter",
    "pause": "stop",
    "malformed_tool_call": "tool_calls",
}
_ERROR: dict[ErrorKind, tuple[str, str]] = {
    "rate_limited": ("rate_limit_error", "rate_limit_exceeded"),
    "overloaded": ("server_error", "server_is_overloaded"),
    "server": ("server_error", "server_error"),
    "auth": ("invalid_request_error", "invalid_api_key"),
    "invalid_request": ("invalid_request_error", "invalid_prompt"),
    "quota": ("insufficient_quota", "insufficient_quota"),
}


def openai_error(kind: ErrorKind, message: str) -> dict[str, JsonValue]:
    """An error as OpenAI writes it."""
    type_, code = _ERROR[kind]
    return {"message": message, "type": type_, "param": None, "code": code}


class ChatWire:
    """`POST /v1/chat/completions`."""

    name: WireName = "openai-chat"

    def ask(self, path: str, body: Json) -> Ask:  # noqa: ARG002  # Gemini's path names the model
        """The request, read."""
        system = prompt = ""
        results: list[Result] = []
        for message in objects(body.get("messages")):
            content = text_of(message.get("content"))
            match message.get("role"):
                case "system" | "developer":
                    system = content
                case "user":
                    prompt, results = content, []
                case "tool":
                    results.append(Result(str(message.get("tool_call_id")), content))
                case _:
                    pass
        functions = [
            function
            for tool in objects(body.get("tools"))
            if isinstance(function := tool.get("function"), dict)
        ]
        tools = tuple(
            Offer(str(f["name"]), schema if isinstance(schema := f.get("parameters"), dict) else {})
            for f in functions
        )
        return Ask(self.name, str(body.get("model")), system, prompt, tools, tuple(results), body)

    def voice(self, ask: Ask, number: int, tokens: Tokens) -> _Voice:
        """Somebody to write the answer."""
        return _Voice(ask, number, tokens)

    def denial(self, deny: Deny) -> bytes:
        """The body of an HTTP error."""
        return json_bytes({"error": openai_error(deny.kind, deny.message)})


class _Voice:
    def __init__(self, ask: Ask, number: int, tokens: Tokens) -> None:
        self.tokens = tokens
        self._frame: dict[str, JsonValue] = {
            "id": f"chatcmpl-{number}",
            "object": "chat.completion.chunk",
            "created": 1,
            "model": ask.model,
        }
        options = ask.body.get("stream_options")
        self._with_usage = isinstance(options, dict) and options.get("include_usage") is True
        self._started = False
        self._calls = 0

    def speak(self, step: Step) -> Iterator[bytes]:
        if not self._started:
            self._started = True
            yield self._delta({"role": "assistant", "content": ""})
        match step:
            case Say(text):
                self.tokens = counted(self.tokens, text)
                yield self._delta({"content": text})
            case Think(text):
                self.tokens = counted(self.tokens, text, thought=True)
                yield self._delta({"reasoning_content": text})
            case Refuse(text):
                self.tokens = counted(self.tokens, text)
                yield self._delta({"refusal": text})
            case Call():
                yield from self._call(step)
            case Break(kind, message):
                yield b"data: %s\n\n" % json_bytes({"error": openai_error(kind, message)})
            case Event(data):
                yield b"data: %s\n\n" % json_bytes({**self._frame, **data})
            case Finish(stop):
                yield self._delta({}, _STOP[stop])
                if self._with_usage:
                    yield self._usage()
                yield b"data: [DONE]\n\n"
            case _:
                pass

    def _delta(self, delta: dict[str, JsonValue], finish: str | None = None) -> bytes:
        choice: JsonValue = {"index": 0, "delta": delta, "finish_reason": finish}
        return b"data: %s\n\n" % json_bytes({**self._frame, "choices": [choice]})

    def _call(self, call: Call) -> Iterator[bytes]:
        self.tokens = counted(self.tokens, call.args)
        index, self._calls = self._calls, self._calls + 1
        function: JsonValue = {"name": call.name, "arguments": ""}
        first: JsonValue = {"index": index, "id": call.id, "type": "function", "function": function}
        yield self._delta({"tool_calls": [first]})
        for piece in pieces(call):
            yield self._delta({"tool_calls": [{"index": index, "function": {"arguments": piece}}]})

    def _usage(self) -> bytes:
        tokens = self.tokens
        usage: JsonValue = {
            "prompt_tokens": tokens.input_total,
            "completion_tokens": tokens.output_total,
            "total_tokens": tokens.input_total + tokens.output_total,
            "prompt_tokens_details": {
                "cached_tokens": tokens.cache_read,
                "cache_write_tokens": tokens.cache_write,
            },
            "completion_tokens_details": {"reasoning_tokens": tokens.reasoning},
        }
        return b"data: %s\n\n" % json_bytes({**self._frame, "choices": [], "usage": usage})
