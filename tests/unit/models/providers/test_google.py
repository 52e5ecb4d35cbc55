"""Gemini: what only this format says, wants to be told, and gets wrong in its SDK."""

from __future__ import annotations

import json
from typing import cast

import pytest
from pydantic import JsonValue

from partsong.contracts.talk.chunks import (
    Citation,
    Raw,
    Reasoning,
    ReasoningState,
)
from partsong.contracts.talk.messages import (
    ServerToolPart,
    TextPart,
    UserMessage,
)
from partsong.models.port import Provider
from partsong.testing.fake_llm import (
    Bytes,
    Event,
    FakeLLM,
    Finish,
    Reset,
    Say,
    Seal,
)
from tests.support.providers import (
    LOOKUP,
    asked,
    connected,
    dig,
    failure,
    heard,
    scripted,
    then,
    turned,
)


def _parts(*parts: dict[str, JsonValue]) -> Event:
    return Event({"candidates": [{"content": {"role": "model", "parts": list(parts)}}]})


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
        turn = await turned(provider, asked("any"))
    assert [made.args for made in turn.message.tool_calls if made.malformed] == [{}]


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


@pytest.mark.parametrize("wire", ["google"])
async def test_a_retry_hint_is_read_from_the_body(provider: Provider) -> None:
    assert (await failure(provider, asked("r429:info"))).retry_after == 4.5


@pytest.mark.parametrize("wire", ["google"])
async def test_gemini_is_asked_in_v1beta_and_never_continued_on_its_own(
    provider: Provider, llm: FakeLLM
) -> None:
    turn = await turned(provider, asked("pause"))
    assert turn.stop == "pause"
    assert [call.path for call in llm.calls] == ["/v1beta/models/pause:streamGenerateContent"]


@pytest.mark.parametrize("wire", ["google"])
async def test_gemini_is_told_the_deadline_and_not_the_idle_time(
    provider: Provider, llm: FakeLLM
) -> None:
    await turned(provider, asked("text:1", timeout=120, idle_timeout=7))
    assert llm.calls[0].headers["x-server-timeout"] == "120"


@pytest.mark.parametrize("wire", ["google"])
async def test_gemini_stays_gemini_when_the_environment_asks_for_vertex(
    llm: FakeLLM, wire: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GOOGLE_GENAI_USE_VERTEXAI", "true")
    async with connected(llm, wire) as provider:
        await turned(provider, asked("text:1"))
    assert llm.calls[0].path.startswith("/v1beta/models/")


async def test_gemini_goes_over_httpx2_also_where_aiohttp_is_installed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """With aiohttp the SDK tries a lost connection again by itself, after up to ten seconds."""
    from google.genai import _api_client

    monkeypatch.setattr(_api_client, "has_aiohttp", True)
    async with scripted(Reset()) as llm, connected(llm, "google") as provider:
        lost = await failure(provider, asked("any"))
        assert len(llm.calls) == 1
    assert lost.error == "connection"


async def test_gemini_calls_no_function_on_its_own() -> None:
    async with FakeLLM() as llm, connected(llm, "google") as provider:
        turn = await turned(provider, asked("tool", tools=(LOOKUP,)))
        assert len(llm.calls) == 1
    assert turn.stop == "tool_calls"


async def test_gemini_may_say_more_after_it_has_finished() -> None:
    finish: dict[str, JsonValue] = {
        "candidates": [
            {"content": {"role": "model", "parts": [{"text": "a"}]}, "finishReason": "STOP"}
        ]
    }
    after: dict[str, JsonValue] = {
        "usageMetadata": {"promptTokenCount": 5, "candidatesTokenCount": 1, "thoughtsTokenCount": 2}
    }
    async with (
        scripted(Event(finish), Bytes(b"data: %s\r\n\r\n" % json.dumps(after).encode())) as llm,
        connected(llm, "google") as provider,
    ):
        turn = await turned(provider, asked("any"))
    assert (turn.message.text, turn.stop) == ("a", "stop")
    assert (turn.usage.input_total, turn.usage.output_total, turn.usage.reasoning) == (5, 3, 2)


async def test_an_error_that_gemini_says_bare_fails_the_turn() -> None:
    """The SDK gathers lines without `data: ` as one JSON value."""
    error: dict[str, JsonValue] = {
        "error": {"code": 503, "message": "gone", "status": "UNAVAILABLE"}
    }
    bare = Bytes(json.dumps(error, indent=1).encode())
    async with scripted(Say("x"), bare) as llm, connected(llm, "google") as provider:
        lost = await failure(provider, asked("any"))
    assert (lost.error, lost.retryable, lost.mid_stream) == ("overloaded", True, True)


async def test_the_schemas_of_answer_and_tools_reach_gemini_as_json_schema() -> None:
    schema: dict[str, JsonValue] = {
        "type": "object",
        "properties": {"n": {"type": "integer", "minimum": 1}},
    }
    async with FakeLLM() as llm, connected(llm, "google") as provider:
        await turned(provider, asked("text:1", output_schema=schema, tools=(LOOKUP,)))
        body = llm.calls[0].body
        (offer,) = llm.calls[0].ask.tools
    assert dict(offer.schema) == LOOKUP.parameters
    assert "application/json" in json.dumps(body)
    assert json.dumps(schema) in json.dumps(body)


async def test_what_was_searched_is_passed_on_beside_the_answer() -> None:
    found: JsonValue = {"webSearchQueries": ["tea"]}
    event = Event({"candidates": [{"index": 0, "groundingMetadata": found}]})
    async with scripted(Say("Hi"), event, Finish()) as llm, connected(llm, "google") as provider:
        chunks = await heard(provider, asked("any"))
    assert [chunk.data for chunk in chunks if isinstance(chunk, Raw)] == [
        {"grounding_metadata": {"web_search_queries": ["tea"]}}
    ]
