"""OpenAI Chat Completions as server-sent events, with the reasoning field that compatible servers add."""

from __future__ import annotations

import json
from collections.abc import Iterator

from pydantic import JsonValue

from partsong.testing.fake_llm.manners import OPENAI, Manners
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
_STATUS: dict[ErrorKind, int] = {
    "rate_limited": 429,
    "overloaded": 503,
    "server": 500,
    "auth": 401,
    "invalid_request": 400,
    "quota": 429,
}


def openai_error(kind: ErrorKind, message: str) -> dict[str, JsonValue]:
    """An error as OpenAI writes it."""
    type_, code = _ERROR[kind]
    return {"message": message, "type": type_, "param": None, "code": code}


class ChatWire:
    """`POST /v1/chat/completions`, as a server with these manners answers it."""

    name: WireName = "openai-chat"

    def __init__(self, manners: Manners = OPENAI) -> None:
        self._manners = manners

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
        return _Voice(ask, number, tokens, self._manners)

    def refusal(self, path: str, ask: Ask) -> Deny | None:
        """Why a server with these manners does not answer."""
        manners = self._manners
        if manners.under_v1 and "/v1/" not in path:
            return Deny(404, "invalid_request", "404 page not found")
        if manners.models and ask.model not in manners.models:
            return Deny(404, "invalid_request", f"model '{ask.model}' not found")
        for name in sorted(manners.refuses & ask.body.keys()):
            return Deny(400, "invalid_request", f"unknown field: {name}")
        return None

    def denial(self, deny: Deny) -> bytes:
        """The body of an HTTP error."""
        return json_bytes({"error": _error(deny.kind, deny.message, self._manners, deny.status)})


def _error(
    kind: ErrorKind, message: str, manners: Manners, status: int | None = None
) -> dict[str, JsonValue]:
    error = openai_error(kind, message)
    return {**error, "code": status or _STATUS[kind]} if manners.status_codes else error


class _Voice:
    def __init__(self, ask: Ask, number: int, tokens: Tokens, manners: Manners) -> None:
        self.tokens = tokens
        self._manners = manners
        self._frame: dict[str, JsonValue] = {
            "id": f"chatcmpl-{number}",
            "object": "chat.completion.chunk",
            "created": 1,
            "model": ask.model,
            **manners.extra,
        }
        options = ask.body.get("stream_options")
        self._with_usage = isinstance(options, dict) and options.get("include_usage") is True
        self._started = False
        self._thinking = False
        self._calls = 0

    def speak(self, step: Step) -> Iterator[bytes]:
        if not self._started:
            self._started = True
            yield self._delta({"role": "assistant", "content": self._manners.first_content})
        match step:
            case Say(text):
                self.tokens = counted(self.tokens, text)
                yield self._text(text)
            case Think(text):
                self.tokens = counted(self.tokens, text, thought=True)
                yield self._thought(text)
            case Refuse(text):
                self.tokens = counted(self.tokens, text)
                yield self._delta({"refusal": text})
            case Call():
                yield from self._call(step)
            case Break(kind, message):
                yield self._data({"error": _error(kind, message, self._manners)})
            case Event(data):
                yield self._data({**self._frame, **data})
            case Finish(stop):
                yield from self._finish(stop)
            case _:
                pass

    def _data(self, data: Json) -> bytes:
        return b"%sdata: %s\n\n" % (self._manners.keep_alive, json_bytes(dict(data)))

    def _delta(self, delta: dict[str, JsonValue]) -> bytes:
        choice: JsonValue = {"index": 0, "delta": delta, "finish_reason": None}
        return self._data({**self._frame, "choices": [choice]})

    def _text(self, text: str) -> bytes:
        if self._thinking:
            self._thinking, text = False, f"</think>\n\n{text}"
        said: JsonValue = [{"type": "text", "text": text}] if self._manners.parts else text
        return self._delta({"content": said})

    def _thought(self, text: str) -> bytes:
        if self._manners.think_tags:
            begins, self._thinking = not self._thinking, True
            return self._delta({"content": f"<think>{text}" if begins else text})
        if self._manners.parts:
            thought: JsonValue = {"type": "thinking", "thinking": [{"type": "text", "text": text}]}
            return self._delta({"content": [thought]})
        return self._delta(dict.fromkeys(self._manners.thoughts, text))

    def _call(self, call: Call) -> Iterator[bytes]:
        self.tokens = counted(self.tokens, call.args)
        manners, index = self._manners, self._calls
        self._calls += 1
        place: dict[str, JsonValue] = {}
        if manners.call_index != "none":
            place["index"] = index if manners.call_index == "counted" else 0
        said: JsonValue = call.args if manners.whole_calls else ""
        if manners.object_arguments:
            said = json.loads(call.args)
        name, later_name = call.name, ""
        if manners.call_names == "pieces":
            name, later_name = call.name[:4], call.name[4:]
        function: dict[str, JsonValue] = {"name": name, "arguments": said}
        if manners.null_arguments and not said:
            function["arguments"] = None
        yield self._piece(place, call, 0, function, "function")
        if later_name:
            yield self._piece(place, call, 1, {"name": later_name, "arguments": ""})
        for number, piece in enumerate(() if said else pieces(call), 2):
            function = {"arguments": piece}
            if manners.call_names in {"null", "repeated"}:
                function["name"] = "null" if manners.call_names == "null" else call.name
            yield self._piece(place, call, number, function)

    def _piece(
        self,
        place: dict[str, JsonValue],
        call: Call,
        number: int,
        function: dict[str, JsonValue],
        kind: str = "",
    ) -> bytes:
        ids: dict[str, JsonValue] = {}
        match self._manners.call_ids:
            case "none":
                pass
            case "random":
                ids = {"id": f"{call.id}-{self._calls}-{number}"}
            case "same":
                ids = {"id": "call_0"} if number == 0 else {}
            case "repeated":
                ids = {"id": call.id}
            case "empty":
                ids = {"id": call.id if number == 0 else ""}
            case "first":
                ids = {"id": call.id} if number == 0 else {}
        piece: dict[str, JsonValue] = {**place, **ids, "function": function}
        return self._delta({"tool_calls": [{**piece, "type": kind} if kind else piece]})

    def _finish(self, stop: Stop) -> Iterator[bytes]:
        manners = self._manners
        native = manners.calls_end if stop == "tool_calls" else _STOP[stop]
        choice: JsonValue = {"index": 0, "delta": {}, "finish_reason": native}
        last: dict[str, JsonValue] = {**self._frame, "choices": [choice]}
        yield self._data({**last, "usage": self._usage()} if manners.usage == "last" else last)
        if self._with_usage and manners.usage == "asked":
            yield self._data({**self._frame, "choices": [], "usage": self._usage()})
        if manners.done:
            yield b"data: [DONE]\n\n"

    def _usage(self) -> JsonValue:
        tokens = self.tokens
        return {
            "prompt_tokens": tokens.input_total,
            "completion_tokens": tokens.output_total,
            "total_tokens": tokens.input_total + tokens.output_total,
            "prompt_tokens_details": {
                "cached_tokens": tokens.cache_read,
                "cache_write_tokens": tokens.cache_write,
            },
            "completion_tokens_details": {"reasoning_tokens": tokens.reasoning},
        }
