"""What the real SDKs stream becomes chunks and turns, the same for every wire format."""

from __future__ import annotations

import json

import pytest

from partsong.contracts.talk.chunks import (
    End,
    Reasoning,
    Start,
    StopReason,
    Text,
    ToolArgs,
    ToolEnd,
    ToolStart,
    Usage,
)
from partsong.contracts.talk.messages import (
    AssistantMessage,
    ReasoningStatePart,
    RefusalPart,
    TextPart,
    ToolCallPart,
    ToolMessage,
    UserMessage,
)
from partsong.models.port import Provider
from partsong.testing.fake_llm import Answer, Ask, Call, FakeLLM, Finish, Reply, Say, Seal, Think
from tests.support.providers import (
    COUNT,
    LOOKUP,
    asked,
    connected,
    dig,
    heard,
    then,
    turned,
)


async def test_text_streams_word_by_word_between_start_and_end(
    provider: Provider, wire: str
) -> None:
    chunks = await heard(provider, asked("text:4"))

    assert isinstance(chunks[0], Start)
    assert chunks[0].provider == wire
    assert chunks[0].model == "text:4"
    assert [chunk.text for chunk in chunks if isinstance(chunk, Text)] == [
        "the ",
        "quick ",
        "brown ",
        "fox",
    ]
    assert isinstance(chunks[-1], End)
    assert chunks[-1].stop == "stop"


async def test_a_turn_is_asked_for_once(provider: Provider, llm: FakeLLM) -> None:
    await turned(provider, asked("text:3"))
    assert len(llm.calls) == 1


async def test_the_request_carries_instructions_prompt_and_tools(
    provider: Provider, llm: FakeLLM
) -> None:
    await turned(
        provider,
        asked("text:1", UserMessage(text="why?"), tools=(LOOKUP,), instructions="Be brief."),
    )

    ask = llm.calls[0].ask
    assert (ask.model, ask.system, ask.prompt) == ("text:1", "Be brief.", "why?")
    assert [(tool.name, dict(tool.schema)) for tool in ask.tools] == [("lookup", LOOKUP.parameters)]


async def test_tokens_mean_the_same_for_every_provider(provider: Provider, llm: FakeLLM) -> None:
    turn = await turned(provider, asked("think", instructions="Think. " * 40))

    charged = llm.calls[0].tokens
    assert charged.cache_read > 0
    assert charged.reasoning > 0
    assert turn.usage.input_total == charged.input_total
    assert turn.usage.output_total == charged.output_total
    assert turn.usage.cache_read == charged.cache_read
    assert turn.usage.cache_write == charged.cache_write
    assert turn.usage.reasoning == charged.reasoning
    assert not turn.usage.estimated


async def test_usage_never_goes_back(provider: Provider) -> None:
    totals = [
        c.output_total for c in await heard(provider, asked("text:5")) if isinstance(c, Usage)
    ]
    assert totals
    assert totals == sorted(totals)


async def test_a_tool_call_streams_its_arguments_and_ends_with_them_parsed(
    provider: Provider,
) -> None:
    chunks = await heard(provider, asked("tool", tools=(LOOKUP,)))

    (start,) = (chunk for chunk in chunks if isinstance(chunk, ToolStart))
    (end,) = (chunk for chunk in chunks if isinstance(chunk, ToolEnd))
    pieces = [chunk for chunk in chunks if isinstance(chunk, ToolArgs)]
    assert start.name == end.name == "lookup"
    assert {start.id, end.id} == {piece.id for piece in pieces}
    assert end.ok
    assert (
        end.args == json.loads("".join(piece.text for piece in pieces)) == {"query": "hello there"}
    )
    assert isinstance(chunks[-1], End)
    assert chunks[-1].stop == "tool_calls"


async def test_a_result_goes_back_and_the_next_turn_quotes_it(
    provider: Provider, llm: FakeLLM
) -> None:
    request = asked("tool", tools=(LOOKUP,))
    first = await turned(provider, request)
    (call,) = first.message.tool_calls

    result = ToolMessage(call_id=call.id, name=call.name, content={"answer": 42})
    second = await turned(provider, then(request, first.message, result))

    assert "42" in second.message.text
    assert [found.call_id for found in llm.calls[1].ask.results] == [call.id]


async def test_parallel_calls_keep_their_order_and_get_their_own_results(
    provider: Provider, llm: FakeLLM
) -> None:
    request = asked("tools2", tools=(LOOKUP, COUNT))
    first = await turned(provider, request)
    calls = first.message.tool_calls
    assert [(call.name, call.args) for call in calls] == [
        ("lookup", {"query": "hello there"}),
        ("count", {"from": 1}),
    ]
    assert len({call.id for call in calls}) == 2

    results = [ToolMessage(call_id=c.id, name=c.name, content=f"{c.name} is done") for c in calls]
    second = await turned(provider, then(request, first.message, *results))

    assert "lookup is done" in second.message.text
    assert "count is done" in second.message.text
    assert [found.call_id for found in llm.calls[1].ask.results] == [call.id for call in calls]


async def test_call_ids_are_unique_in_a_conversation(provider: Provider) -> None:
    request = asked("tool", tools=(LOOKUP,))
    first = await turned(provider, request)
    more = then(request, first.message, UserMessage(text="again"))
    second = await turned(provider, more)
    assert first.message.tool_calls[0].id != second.message.tool_calls[0].id


async def test_a_failed_tool_is_told_as_an_error(provider: Provider, llm: FakeLLM) -> None:
    call = ToolCallPart(id="call_7", name="lookup", args={"query": "x"})
    result = ToolMessage(call_id="call_7", name="lookup", content="no such thing", is_error=True)
    request = asked(
        "text:1", UserMessage(text="x"), AssistantMessage(parts=(call,)), result, tools=(LOOKUP,)
    )
    await turned(provider, request)

    sent = json.dumps(llm.calls[0].body)
    assert "no such thing" in sent
    assert "error" in sent.lower()


def _thinks_then_calls(ask: Ask) -> Reply:
    if ask.results:
        return Answer((Say("Done."), Finish()))
    call = Call("lookup", '{"query": "x"}', state="c2lnbmVk")
    return Answer((Think("Hm. "), Seal("c2VhbGVk"), call, Finish("tool_calls")))


async def test_reasoning_is_shown_but_not_said(provider: Provider) -> None:
    chunks = await heard(provider, asked("think"))
    thoughts = "".join(chunk.text for chunk in chunks if isinstance(chunk, Reasoning))
    text = "".join(chunk.text for chunk in chunks if isinstance(chunk, Text))
    assert thoughts == "first this, then that"
    assert text == "the quick brown fox jumps over"


@pytest.mark.parametrize("wire", ["anthropic", "openai", "google"])
async def test_reasoning_state_goes_back_verbatim_to_its_provider(wire: str) -> None:
    async with FakeLLM(_thinks_then_calls) as llm, connected(llm, wire) as provider:
        request = asked("any", tools=(LOOKUP,))
        first = await turned(provider, request)
        states = [part for part in first.message.parts if isinstance(part, ReasoningStatePart)]
        assert states
        assert {state.provider for state in states} == {wire}

        call = first.message.tool_calls[0]
        result = ToolMessage(call_id=call.id, name=call.name, content="ok")
        await turned(provider, then(request, first.message, result))

        body = llm.calls[1].body
        match wire:
            case "anthropic":
                thought = {"type": "thinking", "thinking": "Hm. ", "signature": "c2VhbGVk"}
                assert dig(body, "messages", 1, "content", 0) == thought
            case "openai":
                assert dig(body, "input", 1) == states[0].opaque
                assert dig(body, "input", 1, "encrypted_content") == "c2VhbGVk"
            case _:
                assert dig(body, "contents", 1, "parts", -1, "thoughtSignature") == "c2lnbmVk"
                assert dig(body, "contents", 1, "parts", -1, "functionCall", "name") == "lookup"


async def test_reasoning_state_goes_to_no_other_provider(
    provider: Provider, wire: str, llm: FakeLLM
) -> None:
    foreign = ReasoningStatePart(
        provider="elsewhere", form="signature", opaque={"type": "thinking", "signature": "xyzzy"}
    )
    answer = AssistantMessage(parts=(foreign, TextPart(text="As I said.")))
    await turned(provider, asked("text:1", UserMessage(text="a"), answer, UserMessage(text="b")))

    sent = json.dumps(llm.calls[0].body)
    assert "As I said." in sent
    assert "xyzzy" not in sent


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        ("text:2", dict.fromkeys(("anthropic", "openai", "openai-chat", "google"), "stop")),
        ("length", dict.fromkeys(("anthropic", "openai", "openai-chat", "google"), "length")),
        (
            "refuse",
            {
                "anthropic": "refusal",
                "openai": "refusal",
                "openai-chat": "refusal",
                "google": "blocked",
            },
        ),
        (
            "blocked",
            {
                "anthropic": "refusal",
                "openai": "blocked",
                "openai-chat": "blocked",
                "google": "blocked",
            },
        ),
        (
            "pause",
            {"anthropic": "pause", "openai": "pause", "openai-chat": "stop", "google": "pause"},
        ),
    ],
)
async def test_each_native_stop_reason_has_its_neutral_word(
    provider: Provider, wire: str, model: str, expected: dict[str, StopReason]
) -> None:
    turn = await turned(provider, asked(model))
    assert turn.stop == expected[wire]
    assert turn.native


async def test_a_structured_answer_is_asked_for_by_schema(provider: Provider, llm: FakeLLM) -> None:
    schema = {
        "type": "object",
        "properties": {"verdict": {"type": "string"}},
        "required": ["verdict"],
    }
    turn = await turned(provider, asked("text:3", output_schema=schema))  # type: ignore[arg-type]  # JSON

    assert turn.message.text
    assert '"verdict"' in json.dumps(llm.calls[0].body)


async def test_temperature_is_sent_only_if_it_is_given(provider: Provider, llm: FakeLLM) -> None:
    await turned(provider, asked("text:1"))
    await turned(provider, asked("text:1", temperature=0.25))
    assert "temperature" not in json.dumps(llm.calls[0].body)
    assert '"temperature": 0.25' in json.dumps(llm.calls[1].body)


async def test_many_streams_run_at_once(provider: Provider, llm: FakeLLM) -> None:
    import asyncio

    turns = await asyncio.gather(*(turned(provider, asked(f"text:{n}")) for n in range(1, 31)))
    assert [len(turn.message.text.split()) for turn in turns] == list(range(1, 31))
    assert len(llm.calls) == 30


async def test_fields_of_the_vendors_own_are_passed_on(wire: str) -> None:
    async with FakeLLM() as llm, connected(llm, wire) as provider:
        await turned(provider, asked("text:1", extra={"vendorsOwn": {"a": 1}}))
        assert llm.calls[0].body["vendorsOwn"] == {"a": 1}


async def test_a_refusal_goes_back_as_what_was_said(wire: str) -> None:
    answer = AssistantMessage(parts=(RefusalPart(text="I had rather not."),))
    async with FakeLLM() as llm, connected(llm, wire) as provider:
        await turned(
            provider, asked("text:1", UserMessage(text="a"), answer, UserMessage(text="b"))
        )
        assert "I had rather not." in json.dumps(llm.calls[0].body)
