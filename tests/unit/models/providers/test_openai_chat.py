"""OpenAI Chat Completions, as OpenAI speaks it and as compatible servers do."""

from __future__ import annotations

from typing import cast

from partsong.contracts.talk.chunks import Raw
from partsong.contracts.talk.messages import (
    ToolCallPart,
)
from partsong.testing.fake_llm import (
    Event,
    FakeLLM,
    Finish,
)
from tests.support.providers import (
    asked,
    connected,
    heard,
    scripted,
    turned,
)


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


async def test_what_a_delta_holds_beside_words_is_passed_on_untouched() -> None:
    picture = {"images": [{"type": "image_url", "image_url": {"url": "data:…"}}]}
    parts = {
        "content": [{"type": "reference", "reference_ids": [1]}, {"type": "text", "text": "Hi"}]
    }
    deltas = [
        Event({"choices": [{"index": 0, "delta": cast("None", d)}]}) for d in (picture, parts)
    ]
    async with scripted(*deltas, Finish()) as llm, connected(llm, "openai-chat") as provider:
        chunks = await heard(provider, asked("any"))
    raw = [chunk.data for chunk in chunks if isinstance(chunk, Raw)]
    assert raw == [picture, {"content": {"type": "reference", "reference_ids": [1]}}]


async def test_a_call_in_the_older_form_is_a_call() -> None:
    said = [{"name": "lookup", "arguments": ""}, {"arguments": '{"query": "x"}'}]
    deltas = [
        Event({"choices": [{"index": 0, "delta": {"function_call": cast("None", one)}}]})
        for one in said
    ]
    async with scripted(*deltas, Finish()) as llm, connected(llm, "openai-chat") as provider:
        turn = await turned(provider, asked("any"))
    (call,) = turn.message.tool_calls
    assert (call.name, call.args) == ("lookup", {"query": "x"})
