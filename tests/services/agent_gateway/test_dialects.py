"""What only one vendor says or wants to be told, read from and written to its wire format."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import cast

import pytest
from pydantic import JsonValue

from partsong.agent_gateway.port import Effort
from partsong.contracts.chunks import (
    Citation,
    Raw,
    Reasoning,
    ReasoningState,
    Refusal,
    ServerTool,
    Text,
)
from partsong.contracts.messages import (
    AssistantMessage,
    RefusalPart,
    ServerToolPart,
    TextPart,
    ToolCallPart,
    ToolMessage,
    UserMessage,
)
from partsong.testing.fake_llm import Event, FakeLLM, Finish, Say, Seal
from tests.services.agent_gateway.support import (
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


def _piece(**fields: object) -> Event:
    delta = {"tool_calls": [fields]}
    return Event(
        cast("dict[str, None]", {"choices": [{"index": 0, "delta": delta, "finish_reason": None}]})
    )


async def test_interleaved_pieces_of_parallel_calls_are_sorted_by_index() -> None:
    steps = (
        _piece(index=0, id="a", function={"name": "lookup", "arguments": '{"query"'}),
        _piece(index=1, id="b", function={"name": "count", "arguments": '{"from"'}),
        _piece(index=0, function={"arguments": ': "x"}'}),
        _piece(index=1, function={"arguments": ": 3}"}),
        Finish("tool_calls"),
    )
    async with scripted(*steps) as llm, connected(llm, "openai-chat") as provider:
        turn = await turned(provider, asked("any"))
    assert turn.message.tool_calls == (
        ToolCallPart(id="a", name="lookup", args={"query": "x"}),
        ToolCallPart(id="b", name="count", args={"from": 3}),
    )


async def test_a_server_that_numbers_all_calls_zero_is_understood() -> None:
    steps = (
        _piece(index=0, id="a", function={"name": "lookup", "arguments": '{"query": "x"}'}),
        _piece(index=0, id="b", function={"name": "lookup", "arguments": '{"query": "y"}'}),
        Finish("stop"),
    )
    async with scripted(*steps) as llm, connected(llm, "openai-chat") as provider:
        turn = await turned(provider, asked("any"))
    assert turn.stop == "tool_calls"
    assert [call.args for call in turn.message.tool_calls] == [{"query": "x"}, {"query": "y"}]


async def test_a_compatible_server_is_told_the_limit_in_its_older_word() -> None:
    async with FakeLLM() as llm, connected(llm, "openai-chat") as provider:
        await turned(provider, asked("text:1"))
        assert llm.calls[0].body["max_tokens"] == 4096
        assert llm.calls[0].body["stream_options"] == {"include_usage": True}


async def test_a_responses_turn_is_not_stored_with_the_vendor() -> None:
    async with FakeLLM() as llm, connected(llm, "openai") as provider:
        await turned(provider, asked("text:1"))
        assert llm.calls[0].body["store"] is False


async def test_a_gemini_call_in_pieces_counts_as_broken() -> None:
    part = {
        "functionCall": {
            "name": "lookup",
            "partialArgs": [{"jsonPath": "$.query", "stringValue": "x"}],
            "willContinue": True,
        }
    }
    piece = cast(
        "dict[str, None]", {"candidates": [{"content": {"role": "model", "parts": [part]}}]}
    )
    async with scripted(Event(piece), Finish()) as llm, connected(llm, "google") as provider:
        outcome = await broken(provider, asked("any"))
    assert outcome.problem.code == "provider.malformed_tool_call"


@pytest.mark.parametrize(
    ("wire", "path", "told"),
    [
        (
            "anthropic",
            ("output_config", "effort"),
            {"minimal": "low", "high": "high", "max": "max"},
        ),
        ("openai", ("reasoning", "effort"), {"minimal": "minimal", "high": "high", "max": "max"}),
        (
            "openai-chat",
            ("reasoning_effort",),
            {"minimal": "minimal", "high": "high", "max": "max"},
        ),
        (
            "google",
            ("generationConfig", "thinkingConfig", "thinking_level"),
            {"minimal": "MINIMAL", "high": "HIGH", "max": "XHIGH"},
        ),
    ],
)
@pytest.mark.parametrize("effort", ["minimal", "high", "max"])
async def test_effort_is_told_in_each_vendors_words(
    wire: str, path: tuple[str, ...], told: Mapping[str, str], effort: Effort
) -> None:
    async with FakeLLM() as llm, connected(llm, wire) as provider:
        await turned(provider, asked("text:1", effort=effort))
        assert dig(llm.calls[0].body, *path) == told[effort]


async def test_fields_of_the_vendors_own_are_passed_on(wire: str) -> None:
    async with FakeLLM() as llm, connected(llm, wire) as provider:
        await turned(provider, asked("text:1", extra={"vendorsOwn": {"a": 1}}))
        assert llm.calls[0].body["vendorsOwn"] == {"a": 1}


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


async def test_a_refusal_goes_back_as_what_was_said(wire: str) -> None:
    answer = AssistantMessage(parts=(RefusalPart(text="I had rather not."),))
    async with FakeLLM() as llm, connected(llm, wire) as provider:
        await turned(
            provider, asked("text:1", UserMessage(text="a"), answer, UserMessage(text="b"))
        )
        assert "I had rather not." in json.dumps(llm.calls[0].body)


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


async def test_openai_cites_and_runs_tools_of_its_own() -> None:
    search: dict[str, JsonValue] = {
        "type": "web_search_call",
        "id": "ws_1",
        "status": "completed",
        "action": {"type": "search", "query": "x"},
    }
    citation: dict[str, JsonValue] = {
        "type": "url_citation",
        "url": "https://example.org",
        "title": "t",
    }
    steps = (
        Event({"type": "response.output_item.added", "output_index": 0, "item": search}),
        Event({"type": "response.output_item.done", "output_index": 0, "item": search}),
        Event(
            {
                "type": "response.output_text.annotation.added",
                "output_index": 1,
                "annotation": citation,
            }
        ),
        Event({"type": "response.reasoning_text.delta", "output_index": 2, "delta": "hm"}),
        Finish(),
    )
    async with scripted(*steps) as llm, connected(llm, "openai") as provider:
        request = asked("any")
        chunks = await heard(provider, request)
        assert [chunk.data for chunk in chunks if isinstance(chunk, ServerTool)] == [search]
        assert [chunk.data for chunk in chunks if isinstance(chunk, Citation)] == [citation]
        assert [chunk.text for chunk in chunks if isinstance(chunk, Reasoning)] == ["hm"]

        turn = await turned(provider, request)
        await turned(provider, then(request, turn.message, UserMessage(text="and?")))
        assert dig(llm.calls[2].body, "input", 1) == search


def _parts(*parts: dict[str, JsonValue]) -> Event:
    return Event({"candidates": [{"content": {"role": "model", "parts": list(parts)}}]})


async def test_gemini_runs_code_of_its_own_and_gets_it_back() -> None:
    code: dict[str, JsonValue] = {"executableCode": {"language": "PYTHON", "code": "6*7"}}
    async with (
        scripted(_parts(code), Say("42"), Finish()) as llm,
        connected(llm, "google") as provider,
    ):
        request = asked("any")
        turn = await turned(provider, request)
        assert [type(part) for part in turn.message.parts] == [ServerToolPart, TextPart]
        await turned(provider, then(request, turn.message, UserMessage(text="and?")))
        assert dig(llm.calls[1].body, "contents", 1, "parts", 0, "executableCode", "code") == "6*7"


async def test_gemini_signs_text_and_gets_the_signature_back_on_that_text() -> None:
    signed: dict[str, JsonValue] = {"text": "signed", "thoughtSignature": "c2lnbmVk"}
    steps = (Say("before "), _parts(signed), Say(" after"), Seal("bGFzdA=="), Finish())
    async with scripted(*steps) as llm, connected(llm, "google") as provider:
        request = asked("any")
        turn = await turned(provider, request)
        assert turn.message.text == "before signed after"
        await turned(provider, then(request, turn.message, UserMessage(text="and?")))
        assert dig(llm.calls[1].body, "contents", 1, "parts") == [
            {"text": "before "},
            signed,
            {"text": " after"},
            {"text": "", "thoughtSignature": "bGFzdA=="},
        ]


async def test_gemini_signs_a_thought() -> None:
    thought: dict[str, JsonValue] = {"text": "hm", "thought": True, "thoughtSignature": "c2lnbmVk"}
    async with (
        scripted(_parts(thought), Say("ok"), Finish()) as llm,
        connected(llm, "google") as provider,
    ):
        chunks = await heard(provider, asked("any"))
    assert [chunk.text for chunk in chunks if isinstance(chunk, Reasoning)] == ["hm"]
    assert [chunk.opaque for chunk in chunks if isinstance(chunk, ReasoningState)] == [
        {"on": "nothing", "signature": "c2lnbmVk"}
    ]


async def test_gemini_says_what_has_no_word_here_and_it_is_kept() -> None:
    blob: dict[str, JsonValue] = {"inlineData": {"mimeType": "image/png", "data": "aGk="}}
    cited = Event(
        {
            "candidates": [
                {
                    "content": {"role": "model", "parts": [blob]},
                    "citationMetadata": {"citationSources": [{"uri": "https://example.org"}]},
                }
            ]
        }
    )
    async with scripted(cited, Finish()) as llm, connected(llm, "google") as provider:
        chunks = await heard(provider, asked("any"))
    assert len([chunk for chunk in chunks if isinstance(chunk, Raw)]) == 1
    (citation,) = (chunk for chunk in chunks if isinstance(chunk, Citation))
    assert dig(citation.data, "citations", 0, "uri") == "https://example.org"
