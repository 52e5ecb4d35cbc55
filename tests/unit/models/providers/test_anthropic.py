"""Anthropic Messages: what only this format says, wants to be told, and gets wrong in its SDK."""

from __future__ import annotations

import json
import re
from typing import cast

import pytest
from pydantic import BaseModel, Field, JsonValue

from partsong.contracts.talk.chunks import (
    Citation,
    Reasoning,
    ReasoningState,
    Refusal,
    ServerTool,
    Text,
)
from partsong.contracts.talk.messages import (
    AssistantMessage,
    ReasoningStatePart,
    ServerToolPart,
    TextPart,
    ToolCallPart,
    ToolMessage,
    UserMessage,
)
from partsong.testing.fake_llm import (
    Bytes,
    Event,
    FakeLLM,
    Finish,
    Say,
    Seal,
    Step,
)
from tests.support.providers import (
    LOOKUP,
    asked,
    broken,
    connected,
    dig,
    heard,
    scripted,
    then,
    turned,
)


async def test_a_tool_the_vendor_ran_is_shown_kept_and_sent_back() -> None:
    ran: dict[str, str | dict[str, str]] = {
        "type": "server_tool_use",
        "id": "srv_1",
        "name": "web_search",
    }
    steps = (
        Event({"type": "content_block_start", "index": 0, "content_block": {**ran, "input": {}}}),  # type: ignore[dict-item]
        Event(
            {
                "type": "content_block_delta",
                "index": 0,
                "delta": {"type": "input_json_delta", "partial_json": '{"query":'},
            }
        ),
        Event(
            {
                "type": "content_block_delta",
                "index": 0,
                "delta": {"type": "input_json_delta", "partial_json": '"x"}'},
            }
        ),
        Event({"type": "content_block_stop", "index": 0}),
        Finish(),
    )
    whole = {**ran, "input": {"query": "x"}}
    async with scripted(*steps) as llm, connected(llm, "anthropic") as provider:
        request = asked("any")
        chunks = await heard(provider, request)
        (shown,) = (chunk for chunk in chunks if isinstance(chunk, ServerTool))
        assert shown.data == whole

        turn = await turned(provider, request)
        assert turn.message.parts == (ServerToolPart(provider="anthropic", data=shown.data),)
        assert not turn.message.tool_calls
        await turned(provider, then(request, turn.message, UserMessage(text="and?")))
        assert json.dumps(whole, sort_keys=True) in json.dumps(llm.calls[2].body, sort_keys=True)


async def test_results_and_what_the_user_adds_are_one_message_for_anthropic() -> None:
    calls = tuple(ToolCallPart(id=f"c{n}", name="lookup", args={}) for n in (1, 2))
    results = (ToolMessage(call_id=f"c{n}", name="lookup", content=n) for n in (1, 2))
    answer = AssistantMessage(parts=(TextPart(text="  "), *calls))
    request = asked(
        "text:1", UserMessage(text="a"), answer, *results, UserMessage(text="b"), tools=(LOOKUP,)
    )
    async with FakeLLM() as llm, connected(llm, "anthropic") as provider:
        await turned(provider, request)
        messages = llm.calls[0].body["messages"]
    assert isinstance(messages, list)
    assert [dig(message, "role") for message in messages] == ["user", "assistant", "user"]
    kinds = [
        [dig(block, "type") for block in cast("list[JsonValue]", dig(m, "content"))]
        for m in messages
    ]
    assert kinds == [["text"], ["tool_use", "tool_use"], ["tool_result", "tool_result", "text"]]


async def test_redacted_thinking_goes_back_untouched() -> None:
    steps = (Seal("cmVkYWN0ZWQ=", redacted=True), Say("ok"), Finish())
    async with scripted(*steps) as llm, connected(llm, "anthropic") as provider:
        request = asked("any")
        turn = await turned(provider, request)
        await turned(provider, then(request, turn.message, UserMessage(text="and?")))
        block = dig(llm.calls[1].body, "messages", 1, "content", 0)
    assert block == {"type": "redacted_thinking", "data": "cmVkYWN0ZWQ="}


async def test_anthropic_says_why_it_refuses() -> None:
    details = {"type": "refusal", "category": "cyber", "explanation": None}
    delta = Event(
        {
            "type": "message_delta",
            "delta": {"stop_reason": "refusal", "stop_details": cast("JsonValue", details)},
            "usage": {"output_tokens": 1},
        }
    )
    async with (
        scripted(delta, Event({"type": "message_stop"})) as llm,
        connected(llm, "anthropic") as provider,
    ):
        chunks = await heard(provider, asked("any"))
    assert [chunk.text for chunk in chunks if isinstance(chunk, Refusal)] == ["refused: cyber"]


async def test_anthropic_cites() -> None:
    citation = {"type": "char_location", "cited_text": "x", "document_index": 0}
    steps = (
        Say("a"),
        Event(
            {
                "type": "content_block_delta",
                "index": 0,
                "delta": {"type": "citations_delta", "citation": cast("JsonValue", citation)},
            }
        ),
        Finish(),
    )
    async with scripted(*steps) as llm, connected(llm, "anthropic") as provider:
        chunks = await heard(provider, asked("any"))
    assert [chunk.data for chunk in chunks if isinstance(chunk, Citation)] == [citation]


async def test_a_block_that_begins_with_text_loses_none_of_it() -> None:
    def begins(index: int, block: dict[str, JsonValue]) -> tuple[Event, Event]:
        start = {"type": "content_block_start", "index": index, "content_block": block}
        return Event(cast("dict[str, JsonValue]", start)), Event(
            {"type": "content_block_stop", "index": index}
        )

    steps = (
        *begins(0, {"type": "thinking", "thinking": "hm", "signature": ""}),
        *begins(1, {"type": "text", "text": "at once"}),
        Finish(),
    )
    async with scripted(*steps) as llm, connected(llm, "anthropic") as provider:
        chunks = await heard(provider, asked("any"))
    assert [chunk.text for chunk in chunks if isinstance(chunk, Reasoning | Text)] == [
        "hm",
        "at once",
    ]
    (state,) = (chunk for chunk in chunks if isinstance(chunk, ReasoningState))
    assert dig(state.opaque, "thinking") == "hm"


async def test_the_key_travels_as_the_versions_of_the_api_want_it() -> None:
    async with FakeLLM() as llm, connected(llm, "anthropic") as provider:
        await turned(provider, asked("text:1"))
        headers = llm.calls[0].headers
    assert headers["authorization"] == "Bearer fake"
    assert headers["anthropic-version"] >= "2023-06-01"


async def test_a_proxy_that_strips_the_names_of_events_leaves_no_answer_to_believe() -> None:
    """The SDK skips events without a name, all of them, and then calls the stream finished."""
    async with FakeLLM() as llm, connected(llm, "anthropic") as provider:
        await turned(provider, asked("text:3"))
        body = bytes(llm.calls[0].sent)
    unnamed = Bytes(re.sub(rb"event: \w+\n", b"", body))
    async with scripted(unnamed) as llm, connected(llm, "anthropic") as provider:
        outcome = await broken(provider, asked("any"))
    assert outcome.problem.code == "provider.truncated"


async def test_a_tool_call_without_its_end_is_not_an_empty_call() -> None:
    """The SDK's own accumulator reads broken arguments as `{}`, and says `tool_use`."""
    start = {"type": "tool_use", "id": "call_1", "name": "lookup", "input": {}}
    steps = (
        Event(
            {"type": "content_block_start", "index": 0, "content_block": cast("JsonValue", start)}
        ),
        Event(
            {
                "type": "content_block_delta",
                "index": 0,
                "delta": {"type": "input_json_delta", "partial_json": '{"que'},
            }
        ),
        Finish("tool_calls"),
    )
    async with scripted(*steps) as llm, connected(llm, "anthropic") as provider:
        outcome = await broken(provider, asked("any", tools=(LOOKUP,)))
    assert outcome.problem.code == "provider.malformed_tool_call"


async def test_a_count_that_is_null_keeps_the_last_one() -> None:
    deltas = (
        {
            "output_tokens": 7,
            "cache_read_input_tokens": None,
            "output_tokens_details": {"thinking_tokens": 3},
        },
        {"output_tokens": 9, "input_tokens": None},
    )
    steps: tuple[Step, ...] = (
        Say("x"),
        *(
            Event(
                {
                    "type": "message_delta",
                    "delta": {"stop_reason": None},
                    "usage": cast("JsonValue", delta),
                }
            )
            for delta in deltas
        ),
        Event(
            {
                "type": "message_delta",
                "delta": {"stop_reason": "end_turn"},
                "usage": {"output_tokens": 9},
            }
        ),
        Event({"type": "message_stop"}),
    )
    async with scripted(*steps) as llm, connected(llm, "anthropic") as provider:
        turn = await turned(provider, asked("any", instructions="x" * 400))
        charged = llm.calls[0].tokens
    assert (turn.usage.input_total, turn.usage.cache_read) == (
        charged.input_total,
        charged.cache_read,
    )
    assert (turn.usage.output_total, turn.usage.reasoning) == (9, 3)


@pytest.mark.parametrize(
    ("said", "thinks"),
    [
        (AssistantMessage(parts=(ToolCallPart(id="c", name="lookup"),)), False),
        (
            AssistantMessage(
                parts=(
                    ReasoningStatePart(
                        provider="anthropic",
                        form="signature",
                        opaque={"type": "thinking", "thinking": "", "signature": "s"},
                    ),
                    ToolCallPart(id="c", name="lookup"),
                )
            ),
            True,
        ),
    ],
    ids=["begun without thinking", "begun with thinking"],
)
async def test_a_model_with_a_budget_thinks_on_only_where_it_began_to(
    said: AssistantMessage, *, thinks: bool
) -> None:
    """It refuses to think in a turn that another model, or this one without thinking, has begun."""
    result = ToolMessage(call_id="c", name="lookup", content="found")
    request = asked(
        "claude-haiku-4-5", UserMessage(text="a"), said, result, tools=(LOOKUP,), effort="high"
    )
    async with FakeLLM() as llm, connected(llm, "anthropic") as provider:
        await turned(provider, request)
        await turned(provider, then(request, UserMessage(text="b")))
        assert ["thinking" in call.body for call in llm.calls] == [thinks, True]


async def test_a_schema_has_no_keyword_that_anthropic_refuses() -> None:
    class Bill(BaseModel):
        total: float = Field(ge=0, description="In euros.")
        tag: str = Field(min_length=2)

    async with FakeLLM() as llm, connected(llm, "anthropic") as provider:
        await turned(provider, asked("text:1", output_schema=Bill.model_json_schema()))
        schema = dig(llm.calls[0].body, "output_config", "format", "schema")
    assert dig(schema, "properties") == {
        "total": {"type": "number", "title": "Total", "description": "In euros. (minimum: 0)"},
        "tag": {"type": "string", "title": "Tag", "description": "(minLength: 2)"},
    }
    assert dig(schema, "additionalProperties") is False


async def test_a_schema_that_no_model_can_be_kept_to_is_told_in_words() -> None:
    """An open map, or a value of any kind: Anthropic would refuse the whole request."""

    class Stock(BaseModel):
        pounds: dict[str, int]

    async with FakeLLM() as llm, connected(llm, "anthropic") as provider:
        request = asked("text:1", instructions="Count.", output_schema=Stock.model_json_schema())
        await turned(provider, request)
        body = llm.calls[0].body
    assert "output_config" not in body
    system = body["system"]
    assert isinstance(system, str)
    assert system.startswith("Count.\n\nAnswer with nothing but one JSON value")
    assert '"pounds"' in system
