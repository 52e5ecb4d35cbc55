"""What goes out over each wire is what the vendor's own SDK says a request may hold, and not a key more."""

from __future__ import annotations

import json
import typing
from collections.abc import Callable, Iterator, Mapping

import pytest
from pydantic import JsonValue, TypeAdapter, ValidationError

from partsong.contracts.graph import Effort
from partsong.contracts.talk.messages import (
    AssistantMessage,
    RefusalPart,
    TextPart,
    ToolCallPart,
    ToolMessage,
    ToolSpec,
    UserMessage,
)
from partsong.models.port import Provider, TurnRequest
from partsong.testing.fake_llm import Answer, Ask, Call, FakeLLM, Finish, Reply, Say, Seal, Think
from tests.support.providers import asked, connected, then, turned
from tests.support.typed_json import misfits

CLOSED: dict[str, JsonValue] = {
    "type": "object",
    "properties": {"city": {"type": "string"}},
    "required": ["city"],
    "additionalProperties": False,
}
OPEN: dict[str, JsonValue] = {
    "type": "object",
    "properties": {"prices": {"type": "object", "additionalProperties": {"type": "number"}}},
}
REFUND = ToolSpec.model_validate(
    {
        "name": "refund",
        "description": "Refunds.",
        "parameters": {"type": "object", "properties": {"amount": {"type": "integer"}}},
        "approval": "args.amount > 100",
        "from_a_newer_version": {"of": "ours"},
    }
)
MODELS = {
    "anthropic": ("claude-opus-5", "claude-sonnet-5-5", "claude-haiku-4-5", "claude-opus-4-1"),
    "openai": ("gpt-5.6", "gpt-5.4", "gpt-4.1"),
    "openai-chat": ("gpt-5.6", "gpt-5.4", "gpt-4.1", "qwen3:8b"),
    "google": ("gemini-3-pro", "gemini-2.5-flash"),
}
EFFORTS: tuple[Effort | None, ...] = (None, *typing.get_args(Effort))


def _anthropic(body: Mapping[str, JsonValue]) -> list[str]:
    from anthropic.types.message_create_params import MessageCreateParamsStreaming

    # A temperature goes by `extra_body`: the SDK has no word for it any more, the API still takes it.
    return misfits(
        {k: v for k, v in body.items() if k != "temperature"}, MessageCreateParamsStreaming
    )


def _responses(body: Mapping[str, JsonValue]) -> list[str]:
    from openai.types.responses.response_create_params import ResponseCreateParamsStreaming

    return misfits(dict(body), ResponseCreateParamsStreaming)


def _chat(body: Mapping[str, JsonValue]) -> list[str]:
    from openai.types.chat.completion_create_params import CompletionCreateParamsStreaming

    # Servers that say what they think want it back, under the name they have for it and OpenAI has not.
    messages = [
        {k: v for k, v in m.items() if k != "reasoning_content"} if isinstance(m, dict) else m
        for m in typing.cast("list[JsonValue]", body["messages"])
    ]
    return misfits({**body, "messages": messages}, CompletionCreateParamsStreaming)


def _google(body: Mapping[str, JsonValue]) -> list[str]:
    from google.genai import types

    parts: dict[str, typing.Any] = {
        "contents": list[types.Content],
        "systemInstruction": types.Content,
        "tools": list[types.Tool],
        "toolConfig": types.ToolConfig,
        "generationConfig": types.GenerationConfig,
        "safetySettings": list[types.SafetySetting],
        "cachedContent": str,
    }
    found = [f"{key}: not a field of the request" for key in body.keys() - parts.keys()]
    for key in body.keys() & parts.keys():
        try:
            TypeAdapter(parts[key]).validate_json(json.dumps(body[key]))
        except ValidationError as error:
            found += [f"{key}.{e['loc']}: {e['msg']}" for e in error.errors(include_url=False)]
    return found


CHECK: dict[str, Callable[[Mapping[str, JsonValue]], list[str]]] = {
    "anthropic": _anthropic,
    "openai": _responses,
    "openai-chat": _chat,
    "google": _google,
}


def _script(ask: Ask) -> Reply:
    if ask.nth % 2:
        return Answer((Say("done"), Finish()))
    thought = (Think("hm, "), Think("well"), Seal("c2VhbGVk"))
    call = Call("refund", '{"amount": 7}', id=f"call_{ask.nth}", state="c2lnbmVk")
    return Answer((*thought, Say("Let me see. "), call, Finish("tool_calls")))


def _requests(model: str) -> list[TurnRequest]:
    """Every option by itself, and all of them together."""
    history = (
        UserMessage(text="hello"),
        AssistantMessage(parts=(TextPart(text="hi"), RefusalPart(text="not that"))),
        UserMessage(text="and?"),
        AssistantMessage(parts=(ToolCallPart(id="c0", name="refund", args={"amount": 1}),)),
        ToolMessage(call_id="c0", name="refund", content={"paid": [1, None]}, is_error=False),
        AssistantMessage(parts=(ToolCallPart(id="c1", name="refund", args={}),)),
        ToolMessage(call_id="c1", name="refund", content="no amount", is_error=True),
        UserMessage(text="go on"),
    )
    full = asked(model, *history, instructions="Be kind.", tools=(REFUND,), output_schema=CLOSED)
    return [
        asked(model),
        asked(model, instructions="Be kind.", temperature=0.5),
        asked(model, output_schema=CLOSED),
        asked(model, output_schema=OPEN, tools=(REFUND,)),
        full,
        *(asked(model, *history, tools=(REFUND,), effort=effort) for effort in EFFORTS),
    ]


async def _bodies(llm: FakeLLM, provider: Provider, model: str) -> list[Mapping[str, JsonValue]]:
    """What goes out for every request, and for the turn after its tool has run, with all that the model has thought."""
    begun = len(llm.calls)
    for request in _requests(model):
        turn = await turned(provider, request)
        results = [
            ToolMessage(call_id=c.id, name=c.name, content="paid") for c in turn.message.tool_calls
        ]
        await turned(provider, then(request, turn.message, *results))
    return [call.body for call in llm.calls[begun:]]


@pytest.mark.parametrize(("wire", "model"), [(w, m) for w, ms in MODELS.items() for m in ms])
async def test_a_request_holds_what_the_vendor_knows_and_nothing_else(
    wire: str, model: str
) -> None:
    async with FakeLLM(_script) as llm, connected(llm, wire) as provider:
        bodies = await _bodies(llm, provider, model)
    assert len(bodies) == 2 * len(_requests(model))
    for body in bodies:
        assert CHECK[wire](body) == [], body
        assert "args.amount" not in json.dumps(dict(body))


@pytest.mark.parametrize("wire", MODELS)
async def test_a_key_of_our_own_is_seen_wherever_it_stands(wire: str) -> None:
    async with FakeLLM(_script) as llm, connected(llm, wire) as provider:
        bodies = await _bodies(llm, provider, MODELS[wire][0])
    planted = 0
    for body in bodies:
        for broken in _with_a_key_more(dict(body)):
            planted += 1
            assert isinstance(broken, dict)
            assert CHECK[wire](broken) != [], broken
    assert planted > 100


def _with_a_key_more(value: JsonValue) -> Iterator[JsonValue]:
    """The value with one key planted, at each object whose keys are the vendor's."""
    match value:
        case dict():
            yield {**value, "approval": "always"}
            for key, inner in value.items():
                if not (key in _OURS and isinstance(inner, dict)):
                    yield from ({**value, key: changed} for changed in _with_a_key_more(inner))
        case list():
            for i, inner in enumerate(value):
                for changed in _with_a_key_more(inner):
                    yield [*value[:i], changed, *value[i + 1 :]]
        case _:
            pass


_OURS = frozenset(
    {
        "args",
        "input",
        "input_schema",
        "parameters",
        "parameters_json_schema",
        "response",
        "responseJsonSchema",
        "schema",
    }
)
"""Objects whose keys are the user's."""
