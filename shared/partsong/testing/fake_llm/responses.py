"""OpenAI Responses as server-sent events."""

from __future__ import annotations

from collections.abc import Iterator

from pydantic import JsonValue

from partsong.testing.fake_llm.chat import openai_error
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

__all__ = ["ResponsesWire"]

_INCOMPLETE: dict[Stop, str] = {
    "length": "max_output_tokens",
    "blocked": "content_filter",
    "pause": "steered",
}


class ResponsesWire:
    """`POST /v1/responses`."""

    name: WireName = "openai"

    def ask(self, path: str, body: Json) -> Ask:  # noqa: ARG002  # Gemini's path names the model
        """The request, read."""
        given = body.get("input")
        prompt = given if isinstance(given, str) else ""
        results: list[Result] = []
        for item in objects(given):
            if item.get("type") == "function_call_output":
                results.append(Result(str(item.get("call_id")), text_of(item.get("output"))))
            elif item.get("role") == "user":
                prompt, results = text_of(item.get("content")), []
        tools = tuple(
            Offer(
                str(tool["name"]),
                schema if isinstance(schema := tool.get("parameters"), dict) else {},
            )
            for tool in objects(body.get("tools"))
        )
        model, system = str(body.get("model")), text_of(body.get("instructions"))
        return Ask(self.name, model, system, prompt, tools, tuple(results), body)

    def voice(self, ask: Ask, number: int, tokens: Tokens) -> _Voice:
        """Somebody to write the answer."""
        return _Voice(ask, number, tokens)

    def denial(self, deny: Deny) -> bytes:
        """The body of an HTTP error."""
        return json_bytes({"error": openai_error(deny.kind, deny.message)})


class _Voice:
    def __init__(self, ask: Ask, number: int, tokens: Tokens) -> None:
        self.tokens = tokens
        self._ask = ask
        self._number = number
        self._sequence = -1
        self._output: list[JsonValue] = []
        self._open: str | None = None
        self._said = ""
        self._state: str | None = None

    def speak(self, step: Step) -> Iterator[bytes]:
        if self._sequence < 0:
            yield self._event("response.created", response=self._response("in_progress"))
            yield self._event("response.in_progress", response=self._response("in_progress"))
        match step:
            case Say(text):
                yield from self._text("output_text", text)
            case Refuse(text):
                yield from self._text("refusal", text)
            case Think(text):
                yield from self._text("summary_text", text)
            case Seal(state):
                self._state = state
                yield from self._in_item("summary_text")
                yield from self._close()
            case Call():
                yield from self._call(step)
            case Break(kind, message):
                yield self._break(kind, message)
            case Event(data):
                fields = dict(data)
                yield self._event(str(fields.pop("type")), **fields)
            case Finish(stop):
                yield from self._finish(stop)
            case _:
                pass

    def _event(self, kind: str, **fields: JsonValue) -> bytes:
        self._sequence += 1
        return event_bytes(kind, {"type": kind, "sequence_number": self._sequence, **fields})

    def _response(self, status: str, **fields: JsonValue) -> dict[str, JsonValue]:
        return {
            "id": f"resp_{self._number}",
            "object": "response",
            "created_at": 1,
            "status": status,
            "model": self._ask.model,
            "output": list(self._output),
            "parallel_tool_calls": True,
            "tool_choice": "auto",
            "tools": [],
            **fields,
        }

    def _text(self, kind: str, text: str) -> Iterator[bytes]:
        thought = kind == "summary_text"
        self.tokens = counted(self.tokens, text, thought=thought)
        yield from self._in_item(kind)
        self._said += text
        delta = "reasoning_summary_text" if thought else kind
        yield self._event(f"response.{delta}.delta", **self._place(), delta=text, logprobs=[])

    def _place(self) -> dict[str, JsonValue]:
        part = "summary_index" if self._open == "summary_text" else "content_index"
        return {"item_id": self._id(), "output_index": len(self._output), part: 0}

    def _id(self) -> str:
        prefix = {"summary_text": "rs", "call": "fc"}.get(self._open or "", "msg")
        return f"{prefix}_{self._number}_{len(self._output)}"

    def _item(self, status: str) -> dict[str, JsonValue]:
        if self._open == "summary_text":
            summary: JsonValue = [{"type": "summary_text", "text": self._said}]
            sealed: JsonValue = self._state if status == "completed" else "incomplete"
            return {
                "type": "reasoning",
                "id": self._id(),
                "summary": summary,
                "encrypted_content": sealed,
            }
        content: JsonValue = (
            {"type": "refusal", "refusal": self._said}
            if self._open == "refusal"
            else {"type": "output_text", "text": self._said, "annotations": []}
        )
        return {
            "type": "message",
            "id": self._id(),
            "role": "assistant",
            "status": status,
            "content": [content],
        }

    def _in_item(self, kind: str) -> Iterator[bytes]:
        if self._open == kind:
            return
        yield from self._close()
        self._open, self._said = kind, ""
        item = self._item("in_progress")
        yield self._event("response.output_item.added", output_index=len(self._output), item=item)

    def _close(self) -> Iterator[bytes]:
        if self._open is None:
            return
        item = self._item("completed")
        yield self._event("response.output_item.done", output_index=len(self._output), item=item)
        self._output.append(item)
        self._open, self._state = None, None

    def _call(self, call: Call) -> Iterator[bytes]:
        self.tokens = counted(self.tokens, call.args)
        yield from self._close()
        self._open = "call"
        place: dict[str, JsonValue] = {"item_id": self._id(), "output_index": len(self._output)}
        item: dict[str, JsonValue] = {
            "type": "function_call",
            "id": self._id(),
            "call_id": call.id,
            "name": call.name,
        }
        index = len(self._output)
        fresh: JsonValue = {**item, "arguments": "", "status": "in_progress"}
        yield self._event("response.output_item.added", output_index=index, item=fresh)
        for piece in pieces(call):
            yield self._event("response.function_call_arguments.delta", **place, delta=piece)
        yield self._event(
            "response.function_call_arguments.done", **place, arguments=call.args, name=call.name
        )
        done: JsonValue = {**item, "arguments": call.args, "status": "completed"}
        yield self._event("response.output_item.done", output_index=index, item=done)
        self._output.append(done)
        self._open = None

    def _break(self, kind: ErrorKind, message: str) -> bytes:
        error = openai_error(kind, message)
        if kind == "rate_limited":  # both forms occur: a failed response, and a bare error event
            failed: JsonValue = {"code": error["code"], "message": message}
            return self._event("response.failed", response=self._response("failed", error=failed))
        return self._event("error", code=error["code"], message=message, param=None)

    def _finish(self, stop: Stop) -> Iterator[bytes]:
        yield from self._close()
        tokens = self.tokens
        usage: JsonValue = {
            "input_tokens": tokens.input_total,
            "input_tokens_details": {
                "cached_tokens": tokens.cache_read,
                "cache_write_tokens": tokens.cache_write,
            },
            "output_tokens": tokens.output_total,
            "output_tokens_details": {"reasoning_tokens": tokens.reasoning},
            "total_tokens": tokens.input_total + tokens.output_total,
        }
        if reason := _INCOMPLETE.get(stop):
            details: JsonValue = {"reason": reason}
            response = self._response("incomplete", usage=usage, incomplete_details=details)
            yield self._event("response.incomplete", response=response)
        else:
            yield self._event(
                "response.completed", response=self._response("completed", usage=usage)
            )
