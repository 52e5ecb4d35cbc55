"""Gemini `streamGenerateContent` as server-sent events."""

from __future__ import annotations

import json
import re
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
    Result,
    Say,
    Seal,
    Step,
    Stop,
    Think,
    Tokens,
    WireName,
)
from partsong.testing.fake_llm.wire import Json, counted, json_bytes, objects, text_of

__all__ = ["GeminiWire"]

_STOP: dict[Stop, str] = {
    "stop": "STOP",
    "length": "MAX_TOKENS",
    "tool_calls": "STOP",
    "refusal": "SAFETY",
    "blocked": "SAFETY",
    "pause": "CONTINUATION",
    "malformed_tool_call": "MALFORMED_FUNCTION_CALL",
}
_ERROR: dict[ErrorKind, tuple[int, str]] = {
    "rate_limited": (429, "RESOURCE_EXHAUSTED"),
    "overloaded": (503, "UNAVAILABLE"),
    "server": (500, "INTERNAL"),
    "auth": (401, "UNAUTHENTICATED"),
    "invalid_request": (400, "INVALID_ARGUMENT"),
    "quota": (429, "RESOURCE_EXHAUSTED"),
}


class GeminiWire:
    """`POST /{version}/models/{model}:streamGenerateContent`."""

    name: WireName = "google"

    def ask(self, path: str, body: Json) -> Ask:
        """The request, read."""
        found = re.search(r"/models/(.+):streamGenerateContent$", path)
        prompt, results = "", []
        for content in objects(body.get("contents")):
            parts = content.get("parts")
            answers = [
                answer
                for part in objects(parts)
                if isinstance(answer := part.get("functionResponse"), dict)
            ]
            results += [
                Result(str(a.get("id")), text_of(_bare(a.get("response")))) for a in answers
            ]
            if content.get("role") == "user" and (said := text_of(parts)):
                prompt, results = said, results if answers else []
        declared = [
            f
            for tool in objects(body.get("tools"))
            for f in objects(tool.get("functionDeclarations"))
        ]
        tools = tuple(Offer(str(f["name"]), _schema(f)) for f in declared)
        system = body.get("systemInstruction")
        told = text_of(system.get("parts")) if isinstance(system, dict) else ""
        model = found[1] if found else ""
        return Ask(self.name, model, told, prompt, tools, tuple(results), body)

    def voice(self, ask: Ask, number: int, tokens: Tokens) -> _Voice:
        """Somebody to write the answer; Gemini does not report what it writes to its cache."""
        return _Voice(ask, number, Tokens(tokens.input_total, tokens.cache_read))

    def denial(self, deny: Deny) -> bytes:
        """The body of an HTTP error."""
        details: list[JsonValue] = []
        if deny.retry_in is not None:
            delay = f"{deny.retry_in:g}s"
            details = [{"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": delay}]
        status = _ERROR[deny.kind][1]
        return json_bytes(
            {
                "error": {
                    "code": deny.status,
                    "message": deny.message,
                    "status": status,
                    "details": details,
                }
            }
        )


def _schema(function: dict[str, JsonValue]) -> dict[str, JsonValue]:
    """The API takes both spellings of its fields, and the SDK sends both."""
    found = function.get("parametersJsonSchema") or function.get("parameters_json_schema")
    return found if isinstance(found, dict) else {}


def _bare(response: JsonValue) -> JsonValue:
    if isinstance(response, dict) and len(response) == 1:
        return next(iter(response.values()))
    return response


class _Voice:
    def __init__(self, ask: Ask, number: int, tokens: Tokens) -> None:
        self.tokens = tokens
        self._model = ask.model
        self._number = number
        self._said = False

    def speak(self, step: Step) -> Iterator[bytes]:
        match step:
            case Say(text):
                self.tokens = counted(self.tokens, text)
                yield self._part({"text": text})
            case Think(text):
                self.tokens = counted(self.tokens, text, thought=True)
                yield self._part({"text": text, "thought": True})
            case Seal(state):
                yield self._part({"text": "", "thoughtSignature": state})
            case Call():
                yield from self._call(step)
            case Break(kind, message):
                code, status = _ERROR[kind]
                yield _event({"error": {"code": code, "message": message, "status": status}})
            case Event(data):
                yield self._event(dict(data))
            case Finish("refusal") if not self._said:
                feedback: JsonValue = {"blockReason": "PROHIBITED_CONTENT"}
                yield self._event({"promptFeedback": feedback})
            case Finish(stop):
                content: JsonValue = {"role": "model", "parts": []}
                finish: dict[str, JsonValue] = {"content": content, "finishReason": _STOP[stop]}
                if stop == "pause":  # what the SDK would answer by asking again, if it were let
                    finish["continuationToken"] = "dG9rZW4="
                yield self._candidate(finish)
            case _:
                pass

    def _call(self, call: Call) -> Iterator[bytes]:
        """A whole call in one part and without an id, as Gemini does it; broken arguments only show in the finish."""
        self.tokens = counted(self.tokens, call.args)
        try:
            args = json.loads(call.args)
        except ValueError:
            return
        part: dict[str, JsonValue] = {"functionCall": {"name": call.name, "args": args}}
        yield self._part({**part, "thoughtSignature": call.state} if call.state else part)

    def _part(self, part: dict[str, JsonValue]) -> bytes:
        self._said = True
        return self._candidate({"content": {"role": "model", "parts": [part]}})

    def _candidate(self, candidate: dict[str, JsonValue]) -> bytes:
        return self._event({"candidates": [{**candidate, "index": 0}]})

    def _event(self, data: dict[str, JsonValue]) -> bytes:
        tokens = self.tokens
        spoken = tokens.output_total - tokens.reasoning
        usage: dict[str, JsonValue] = {
            "promptTokenCount": tokens.input_total,
            "cachedContentTokenCount": tokens.cache_read,
            "candidatesTokenCount": spoken,
            "thoughtsTokenCount": tokens.reasoning,
            "totalTokenCount": tokens.input_total + tokens.output_total,
        }
        frame: dict[str, JsonValue] = {
            "usageMetadata": usage,
            "modelVersion": self._model,
            "responseId": f"gemini-{self._number}",
        }
        return _event({**data, **frame})


def _event(data: dict[str, JsonValue]) -> bytes:
    return b"data: %s\r\n\r\n" % json_bytes(data)
