"""What the vendors' SDKs do that a gateway must not pass on: truncation, repair, retries, telemetry of their own."""

from __future__ import annotations

import asyncio

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from partsong.contracts.talk.chunks import Raw, Start, Text, ToolEnd
from partsong.models.port import Provider
from partsong.testing.fake_llm import (
    Break,
    Call,
    Cut,
    Event,
    FakeLLM,
    Finish,
    Reset,
    Say,
    Step,
    Wait,
)
from partsong.testing.fake_llm.scenarios import words
from tests.support.providers import (
    LOOKUP,
    asked,
    broken,
    connected,
    failure,
    heard,
    scripted,
    turned,
)


@pytest.mark.parametrize("model", ["cut", "tear"])
async def test_a_body_that_just_ends_is_truncated_and_no_turn(
    provider: Provider, model: str
) -> None:
    outcome = await broken(provider, asked(model))
    assert outcome.problem.code == "provider.truncated"
    assert outcome.problem.retryable
    assert outcome.partial == "the quick brown"
    assert outcome.usage.estimated


async def test_a_body_without_a_single_event_is_truncated(wire: str) -> None:
    async with scripted(Cut()) as llm, connected(llm, wire) as provider:
        lost = await failure(provider, asked("any"))
    assert (lost.error, lost.mid_stream) == ("truncated", False)


async def test_a_tool_call_before_a_cut_is_never_a_turn(wire: str) -> None:
    call = Call("lookup", '{"query": "x"}')
    async with scripted(call, Cut()) as llm, connected(llm, wire) as provider:
        outcome = await broken(provider, asked("any", tools=(LOOKUP,)))
    assert outcome.problem.code == "provider.truncated"


async def test_broken_arguments_are_never_repaired(provider: Provider, llm: FakeLLM) -> None:
    chunks = await heard(provider, asked("badjson", tools=(LOOKUP,)))
    assert not [chunk for chunk in chunks if isinstance(chunk, ToolEnd) and chunk.ok]

    if provider.name == "google":  # which says that the call is malformed, and not what it was
        outcome = await broken(provider, asked("badjson", tools=(LOOKUP,)))
        assert outcome.problem.code == "provider.malformed_tool_call"
        assert outcome.problem.retryable
    else:
        turn = await turned(provider, asked("badjson", tools=(LOOKUP,)))
        assert [(made.args, made.malformed) for made in turn.message.tool_calls] == [
            ({}, '{"query": "Par')
        ]
    assert len(llm.calls) == 2


@pytest.mark.parametrize("raw", ["", '{"query": "Par'])
@pytest.mark.parametrize("wire", ["anthropic", "openai", "openai-chat"])
async def test_a_call_cut_off_by_the_token_limit_does_not_run(wire: str, raw: str) -> None:
    async with (
        scripted(Call("lookup", raw), Finish("length")) as llm,
        connected(llm, wire) as provider,
    ):
        outcome = await broken(provider, asked("any", tools=(LOOKUP,)))
    assert outcome.problem.code == "provider.tool_call_cut"
    assert not outcome.problem.retryable


async def test_a_call_without_arguments_is_sound(wire: str) -> None:
    async with (
        scripted(Call("lookup", "{}"), Finish("tool_calls")) as llm,
        connected(llm, wire) as provider,
    ):
        turn = await turned(provider, asked("any", tools=(LOOKUP,)))
    assert turn.message.tool_calls[0].args == {}


async def test_a_broken_call_leaves_its_sound_sibling_as_it_is(wire: str) -> None:
    calls = (Call("lookup", '{"query": "x"}', id="a"), Call("lookup", '{"query"', id="b"))
    async with (
        scripted(*calls, Finish("malformed_tool_call")) as llm,
        connected(llm, wire) as provider,
    ):
        if provider.name == "google":
            outcome = await broken(provider, asked("any", tools=(LOOKUP,)))
            assert outcome.problem.code == "provider.malformed_tool_call"
            return
        turn = await turned(provider, asked("any", tools=(LOOKUP,)))
    assert [made.malformed for made in turn.message.tool_calls] == [None, '{"query"']


async def test_a_reset_in_the_middle_is_a_lost_connection(provider: Provider) -> None:
    lost = await failure(provider, asked("reset"))
    assert (lost.error, lost.retryable, lost.status) == ("connection", True, None)


async def test_a_connection_closed_in_the_middle_is_no_turn(provider: Provider) -> None:
    lost = await failure(provider, asked("drop"))
    assert (lost.error, lost.retryable, lost.mid_stream) == ("connection", True, True)


async def test_a_slow_answer_is_a_whole_one(provider: Provider) -> None:
    turn = await turned(provider, asked("slow:5", idle_timeout=10))
    assert turn.message.text == "the quick brown fox jumps"


async def test_a_flood_loses_nothing(provider: Provider) -> None:
    turn = await turned(provider, asked("flood:800"))
    assert turn.message.text == "".join(words(800))


@pytest.mark.parametrize("model", ["r503:after", "r500:after", "r529:after"])
async def test_a_server_in_trouble_may_say_when_to_come_back(
    provider: Provider, model: str
) -> None:
    lost = await failure(provider, asked(model))
    assert (lost.retry_after, lost.retryable) == (2.0, True)


@pytest.mark.parametrize(("model", "error"), [("err", "overloaded"), ("err:rate", "rate_limited")])
async def test_an_error_event_fails_the_turn_though_the_status_was_200(
    provider: Provider, model: str, error: str
) -> None:
    lost = await failure(provider, asked(model))
    assert (lost.error, lost.retryable, lost.mid_stream) == (error, True, True)
    assert lost.message == "the fake breaks off"


@pytest.mark.parametrize(
    ("model", "error", "retryable"),
    [
        ("r400", "invalid_request", False),
        ("r401", "auth", False),
        ("r403", "auth", False),
        ("r404", "invalid_request", False),
        ("r429", "rate_limited", True),
        ("r500", "server", True),
        ("r503", "overloaded", True),
        ("r529", "overloaded", True),
    ],
)
async def test_an_http_error_is_one_failed_request_and_no_retry(
    provider: Provider, llm: FakeLLM, model: str, error: str, *, retryable: bool
) -> None:
    lost = await failure(provider, asked(model))
    assert (lost.error, lost.retryable, lost.mid_stream) == (error, retryable, False)
    assert lost.status == int(model[1:])
    assert lost.message == f"the fake answers {model[1:]}"
    assert len(llm.calls) == 1


@pytest.mark.parametrize(
    ("hint", "seconds"), [("after", 2.0), ("ms", 1.5), ("date", 3.0), ("none", None)]
)
async def test_a_retry_hint_is_read_in_each_of_its_forms(
    provider: Provider, hint: str, seconds: float | None
) -> None:
    lost = await failure(provider, asked(f"r429:{hint}"))
    assert lost.retry_after == seconds
    assert lost.retryable


async def test_a_provider_that_forbids_a_retry_is_obeyed(provider: Provider) -> None:
    assert not (await failure(provider, asked("r429:never"))).retryable


@pytest.mark.parametrize("wire", ["anthropic", "openai", "openai-chat"])
async def test_an_empty_account_is_a_limit_and_not_worth_a_retry(provider: Provider) -> None:
    lost = await failure(provider, asked("r429:quota"))
    assert (lost.error, lost.retryable) == ("limit", False)


async def test_a_connection_lost_before_the_answer_is_not_tried_again(wire: str) -> None:
    async with scripted(Reset()) as llm, connected(llm, wire) as provider:
        lost = await failure(provider, asked("any"))
        assert len(llm.calls) == 1
    assert (lost.error, lost.mid_stream) == ("connection", False)


async def test_a_server_that_is_not_there_is_a_lost_connection(wire: str) -> None:
    async with FakeLLM() as llm:
        pass  # and its port is free again
    async with connected(llm, wire) as provider:
        lost = await failure(provider, asked("any"))
    assert (lost.error, lost.retryable, lost.mid_stream) == ("connection", True, False)


async def test_silence_is_a_timeout(provider: Provider) -> None:
    lost = await failure(provider, asked("stall", idle_timeout=1.0))
    assert (lost.error, lost.retryable, lost.mid_stream) == ("timeout", True, True)


async def test_a_server_that_never_answers_is_a_timeout(wire: str) -> None:
    async def deaf(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    server = await asyncio.start_server(deaf, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with server, connected(FakeLLM(port=port), wire) as provider:
        lost = await failure(provider, asked("any", idle_timeout=1.0))
    assert (lost.error, lost.retryable, lost.mid_stream) == ("timeout", True, False)


async def test_a_stream_that_goes_on_for_ever_is_a_timeout(wire: str) -> None:
    drip: tuple[Step, ...] = (Say("drip "), Wait(0.05)) * 2000
    async with scripted(*drip) as llm, connected(llm, wire) as provider:
        lost = await failure(provider, asked("any", timeout=1.5))
    assert (lost.error, lost.mid_stream) == ("timeout", True)


async def test_no_span_and_no_trace_header_comes_from_an_sdk(
    llm: FakeLLM, wire: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    exporter = InMemorySpanExporter()
    tracing = TracerProvider()
    tracing.add_span_processor(SimpleSpanProcessor(exporter))
    monkeypatch.setattr(trace, "_TRACER_PROVIDER", tracing)
    async with connected(llm, wire) as provider:
        await turned(provider, asked("text:2"))
    assert exporter.get_finished_spans() == ()
    assert "traceparent" not in llm.calls[0].headers


@pytest.mark.parametrize("wire", ["anthropic", "openai"])
async def test_an_event_nobody_knows_is_kept_and_does_no_harm(wire: str) -> None:
    stray = Event({"type": "response.future.thing", "novelty": {"deep": [1, 2]}})
    async with (
        scripted(Say("a "), stray, Say("b"), Finish()) as llm,
        connected(llm, wire) as provider,
    ):
        chunks = await heard(provider, asked("any"))
    (raw,) = (chunk for chunk in chunks if isinstance(chunk, Raw))
    assert isinstance(raw.data, dict)
    assert raw.data["type"] == "response.future.thing"
    assert raw.data["novelty"] == {"deep": [1, 2]}
    assert "".join(chunk.text for chunk in chunks if isinstance(chunk, Text)) == "a b"


async def test_the_start_names_the_request_for_support(wire: str) -> None:
    async with (
        scripted(Say("x"), Break("server"), Finish()) as llm,
        connected(llm, wire) as provider,
    ):
        chunks = await heard(provider, asked("any"))
    assert isinstance(chunks[0], Start)
    assert chunks[0].response_id
