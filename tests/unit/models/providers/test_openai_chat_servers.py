"""Ollama, vLLM and llama.cpp answer by `base_url` alone, each with its own idea of Chat Completions."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import pytest
from pydantic import BaseModel, JsonValue

from partsong.agents import Agent, OpenAIAgent
from partsong.contracts.talk.chunks import Reasoning, ReasoningState
from partsong.contracts.talk.messages import ToolMessage, UserMessage
from partsong.models.port import Provider
from partsong.testing.fake_llm import (
    LLAMA_CPP,
    OLLAMA,
    VLLM,
    Answer,
    Ask,
    Break,
    Bytes,
    Call,
    FakeLLM,
    Finish,
    Manners,
    Reply,
    Say,
    Script,
    Step,
    Think,
)
from partsong.tools import tool
from tests.support.providers import (
    COUNT,
    LOOKUP,
    asked,
    broken,
    connected,
    dig,
    failure,
    heard,
    then,
    turned,
)

SERVERS = {"ollama": OLLAMA, "vllm": VLLM, "llama.cpp": LLAMA_CPP}
ODD = {
    **SERVERS,
    "no usage": Manners(usage="never"),
    "no [DONE]": Manners(done=False),
    "no ids": Manners(call_ids="none"),
    "no ids, one index": Manners(call_ids="none", call_index="zero"),
    "no ids, no index": Manners(call_ids="none", call_index="none", whole_calls=True),
    "objects": Manners(object_arguments=True, whole_calls=True),
    "keeps alive": Manners(keep_alive=b": still working\n\n"),
    "null for a name": Manners(call_names="null", call_ids="empty"),
    "another id in each piece": Manners(call_ids="random"),
    "another id in each piece, one index": Manners(call_ids="random", call_index="zero"),
    "id and name in each piece": Manners(call_ids="repeated", call_names="repeated"),
    "id and name in each piece, one index": Manners(
        call_ids="repeated", call_names="repeated", call_index="zero"
    ),
    "names in pieces": Manners(call_names="pieces"),
    "names in pieces, one index": Manners(call_names="pieces", call_index="zero"),
    "names in pieces, no ids": Manners(call_names="pieces", call_ids="none"),
    "no arguments at first": Manners(null_arguments=True),
    "a whole call in each chunk": Manners(whole_calls=True, call_index="zero"),
    "content in parts": Manners(parts=True),
    "thoughts in tags": Manners(think_tags=True),
}
"""Servers by name, and each oddity by itself."""


@pytest.fixture(params=ODD)
def manners(request: pytest.FixtureRequest) -> Manners:
    """Each server in turn."""
    return ODD[str(request.param)]


@asynccontextmanager
async def serving(
    manners: Manners, script: Script | None = None
) -> AsyncIterator[tuple[FakeLLM, Provider]]:
    """A server with these manners, and the provider in front of it."""
    async with FakeLLM(script, manners=manners) as llm, connected(llm, "openai-chat") as provider:
        yield llm, provider


def playing(*steps: Step) -> Script:
    """A script that always says the same."""
    return lambda _ask: Answer(steps)


async def test_text_thoughts_and_usage_are_understood(manners: Manners) -> None:
    async with serving(manners) as (llm, provider):
        chunks = await heard(provider, asked("think"))
        turn = await turned(provider, asked("think"))
        charged = llm.calls[0].tokens
    thoughts = [chunk.text for chunk in chunks if isinstance(chunk, Reasoning)]
    assert thoughts == ["first ", "this, ", "then that"]
    assert turn.message.text == "the quick brown fox jumps over"
    assert turn.stop == "stop"
    if manners.usage == "never":
        assert turn.usage.estimated
        assert turn.usage.output_total > 0
    else:
        assert not turn.usage.estimated
        assert turn.usage.output_total == charged.output_total


async def test_parallel_calls_are_told_apart_and_get_their_own_results(manners: Manners) -> None:
    async with serving(manners) as (llm, provider):
        request = asked("tools2", tools=(LOOKUP, COUNT))
        turn = await turned(provider, request)
        calls = turn.message.tool_calls
        assert turn.stop == "tool_calls"
        assert [(call.name, call.args) for call in calls] == [
            ("lookup", {"query": "hello there"}),
            ("count", {"from": 1}),
        ]
        assert len({call.id for call in calls}) == 2
        assert all(call.id for call in calls)

        results = [ToolMessage(call_id=c.id, name=c.name, content=f"{c.name}!") for c in calls]
        last = await turned(provider, then(request, turn.message, *results))
        assert "lookup!" in last.message.text
        assert [r.call_id for r in llm.calls[1].ask.results] == [call.id for call in calls]


async def test_two_calls_of_one_tool_are_two(manners: Manners) -> None:
    calls = (Call("count", '{"from": 1}', id="a"), Call("count", '{"from": 2}', id="b"))
    async with serving(manners, playing(*calls, Finish("tool_calls"))) as (_, provider):
        turn = await turned(provider, asked("any", tools=(COUNT,)))
    assert [call.args for call in turn.message.tool_calls] == [{"from": 1}, {"from": 2}]


@pytest.mark.parametrize("model", ["cut", "tear"])
async def test_a_cut_stream_is_no_turn_whoever_was_talking(manners: Manners, model: str) -> None:
    async with serving(manners) as (_, provider):
        assert (await broken(provider, asked(model))).problem.code == "provider.truncated"


async def test_broken_arguments_run_no_tool() -> None:
    for manners in SERVERS.values():
        async with serving(manners) as (_, provider):
            turn = await turned(provider, asked("badjson", tools=(LOOKUP,)))
        assert [made.malformed for made in turn.message.tool_calls] == ['{"query": "Par']


def _thinks_then_calls(ask: Ask) -> Reply:
    if ask.results or ask.prompt == "and now?":
        return Answer((Say("Done."), Finish()))
    return Answer(
        (Think("Hm, "), Think("so."), Call("lookup", '{"query": "x"}'), Finish("tool_calls"))
    )


@pytest.mark.parametrize("name", SERVERS)
async def test_a_thought_goes_back_while_its_tools_run_and_not_later(name: str) -> None:
    """Models that think between calls lose the thread without it, and some servers refuse to go on."""
    server = SERVERS[name]
    async with serving(server, _thinks_then_calls) as (llm, provider):
        request = asked("any", tools=(LOOKUP,))
        chunks = await heard(provider, request)
        (state,) = (chunk for chunk in chunks if isinstance(chunk, ReasoningState))
        (field,) = {"ollama": ["reasoning"]}.get(name, ["reasoning_content"])
        assert state.opaque == {field: "Hm, so."}

        turn = await turned(provider, request)
        (call,) = turn.message.tool_calls
        result = ToolMessage(call_id=call.id, name=call.name, content="found")
        within = then(request, turn.message, result)
        last = await turned(provider, within)
        await turned(provider, then(within, last.message, UserMessage(text="and now?")))

        assert dig(llm.calls[2].body, "messages", 1, field) == "Hm, so."
        assert "Hm, so." not in json.dumps(dict(llm.calls[3].body))


@pytest.mark.parametrize(
    ("model", "error", "retryable"),
    [
        ("r400", "invalid_request", False),
        ("r404", "invalid_request", False),
        ("r503", "overloaded", True),
    ],
)
async def test_an_error_over_http_is_read(model: str, error: str, *, retryable: bool) -> None:
    for manners in SERVERS.values():
        async with serving(manners) as (_, provider):
            lost = await failure(provider, asked(model))
        assert (lost.error, lost.retryable, lost.status) == (error, retryable, int(model[1:]))
        assert lost.message == f"the fake answers {model[1:]}"


async def test_an_error_in_the_stream_whose_code_is_a_status_is_read_by_it() -> None:
    for manners in (VLLM, LLAMA_CPP):
        script = playing(Say("x"), Break("invalid_request", "the context is full"))
        async with serving(manners, script) as (_, provider):
            lost = await failure(provider, asked("any"))
        assert (lost.error, lost.status, lost.retryable) == ("invalid_request", 400, False)
        assert lost.message == "the context is full"


@pytest.mark.parametrize(
    ("said", "error", "message"),
    [
        (b'data: {"error": "out of memory"}\n\n', "server", "out of memory"),
        (b'error: {"code": 500, "message": "gone"}\n\n', "truncated", "terminal marker"),
        (b'data: {"detail": "odd"}\n\n', "truncated", "terminal marker"),
    ],
    ids=["a bare text", "an event of its own kind", "something else"],
)
async def test_an_error_in_any_other_form_is_still_no_turn(
    said: bytes, error: str, message: str
) -> None:
    async with serving(OLLAMA, playing(Say("x"), Bytes(said))) as (_, provider):
        lost = await failure(provider, asked("any"))
    assert lost.error == error
    assert message in lost.message


class Verdict(BaseModel):
    """What is asked for."""

    fine: bool


@pytest.mark.parametrize("name", SERVERS)
@pytest.mark.parametrize("mode", ["native", "tool"])
async def test_an_agent_needs_nothing_but_the_address(name: str, mode: str) -> None:
    """No key: tools run, and the answer is structured."""

    @tool
    def lookup(query: str) -> str:
        """Look something up."""
        return f"{query} is fine"

    def answers() -> Iterator[Reply]:
        yield Answer((Think("Hm."), Call("lookup", '{"query": "tea"}'), Finish("tool_calls")))
        yield Answer((Say("It is fine."), Finish()))
        if mode == "tool":
            yield Answer((Call("final_answer", '{"fine": true}'), Finish("tool_calls")))
        yield Answer((Say('{"fine": true}'), Finish()))

    played = answers()
    async with FakeLLM(lambda _ask: next(played), manners=SERVERS[name]) as llm:
        agent = OpenAIAgent(
            "qwen3",
            base_url=f"{llm.url}/v1",
            tools=[lookup],
            output=Verdict,
            mode="native" if mode == "native" else "tool",
        )
        result = await agent.call("Is the tea fine?")
        assert llm.calls[0].path == "/v1/chat/completions"
        assert llm.calls[1].ask.results[0].text == "tea is fine"
    assert result.output == Verdict(fine=True)
    assert result.turns == 3


async def test_a_model_with_a_colon_in_its_name_is_asked_for_by_all_of_it() -> None:
    async with FakeLLM(playing(Say("Hi."), Finish()), manners=OLLAMA) as llm:
        await Agent("openai-chat:qwen3:8b", base_url=f"{llm.url}/v1").call("Hello")
        assert llm.calls[0].model == "qwen3:8b"


async def test_the_servers_own_fields_are_passed_on() -> None:
    extra: dict[str, JsonValue] = {
        "chat_template_kwargs": {"enable_thinking": False},
        "reasoning_effort": "high",
    }
    async with serving(VLLM) as (llm, provider):
        await turned(provider, asked("text:1", extra=extra))
        assert {name: llm.calls[0].body[name] for name in extra} == extra
