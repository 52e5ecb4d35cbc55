"""Prompt caching: what is marked and what is not, what a long conversation costs, and that prompts begin as they began."""

from __future__ import annotations

import itertools
import json
import typing
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from pydantic import JsonValue

from partsong.agents import Agent, AgentRole, Conversation, RoleBasedAgent
from partsong.contracts.events import AgentTurnCompleted, TurnUsage
from partsong.contracts.graph import CacheMode
from partsong.contracts.talk.messages import (
    AssistantMessage,
    Message,
    ReasoningStatePart,
    TextPart,
    ToolCallPart,
    ToolMessage,
    UserMessage,
)
from partsong.models.core.caching import cache_key, mark, minimum
from partsong.models.port import TurnRequest
from partsong.models.pricing import cost_of
from partsong.models.providers.anthropic_request import params as anthropic
from partsong.models.providers.openai_chat_request import params as chat
from partsong.testing import FakeLLM
from partsong.testing.fake_llm import Answer, Ask, Call, Finish, PromptCache, Reply, Say
from partsong.tools import tool
from partsong.workflow import AgentSpec, WorkflowGraph
from tests.support.providers import LOOKUP
from tests.support.vendors import no_vendor_settings

__all__ = ["no_vendor_settings"]

LONG = "You know the whole history of the city, street by street. " * 200
TURNS = 20


@tool(side_effect="read")
def look(page: int) -> str:
    """Looks up a page."""
    return f"page {page}: " + "what stands there " * 100


def _long_task(ask: Ask) -> Reply:
    if ask.nth + 1 < TURNS:
        return Answer(
            (Call("look", f'{{"page": {ask.nth}}}', id=f"call_{ask.nth}"), Finish("tool_calls"))
        )
    return Answer((Say("done"), Finish()))


def _at(llm: FakeLLM, model: str, **options: Any) -> Agent:
    url = llm.url if model.startswith(("anthropic", "google")) else f"{llm.url}/v1"
    options = {"instructions": LONG, "tools": [look], **options}
    return Agent(model, api_key="fake", base_url=url, **options)


async def _usage(model: str, **options: Any) -> TurnUsage:
    async with FakeLLM(_long_task, cache=PromptCache()) as llm:
        return (await _at(llm, model, **options).call("Find it.")).usage


MODELS = (
    "anthropic:claude-sonnet-5-5",
    "openai:gpt-5.4",
    "openai-chat:gpt-5.4",
    "google:gemini-2.5-flash",
)


@pytest.mark.parametrize("model", MODELS)
async def test_twenty_turns_read_most_of_what_they_are_given_out_of_the_cache(model: str) -> None:
    usage = await _usage(model)
    assert usage.cache_read >= 0.85 * usage.input_total


async def test_a_graph_reads_as_much_and_pays_a_quarter_of_what_it_would_without(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    spent: dict[str, float] = {}
    for cache in ("auto", "off"):
        spec = AgentSpec.model_validate(
            {
                "model": "anthropic:claude-sonnet-5-5",
                "instructions": LONG,
                "tools": ["look"],
                "cache": cache,
            }
        )
        async with FakeLLM(_long_task, cache=PromptCache()) as llm:
            for name, value in llm.env().items():
                monkeypatch.setenv(name, value)
            run = (
                await WorkflowGraph("g", tools=[look]).add_agent("a", spec).execute({"input": "?"})
            )
        used = [event.usage for event in run.events if isinstance(event, AgentTurnCompleted)]
        read, given = sum(u.cache_read for u in used), sum(u.input_total for u in used)
        assert (read >= 0.85 * given) is (cache == "auto")
        spent[cache] = sum(u.cost or 0.0 for u in used)
    assert spent["auto"] < spent["off"] / 3


async def test_what_is_kept_for_an_hour_costs_twice_to_write_and_is_there_after_ten_minutes() -> (
    None
):
    now = [0.0]

    def slow(ask: Ask) -> Reply:
        now[0] += 600.0
        return _long_task(ask)

    read: dict[str, int] = {}
    for cache in ("auto", "1h"):
        async with FakeLLM(slow, cache=PromptCache(lambda: now[0])) as llm:
            usage = (await _at(llm, MODELS[0], cache=cache).call("Find it.")).usage
        read[cache] = usage.cache_read
        assert usage.cache_write_1h == (usage.cache_write if cache == "1h" else 0)
    assert read["auto"] == 0
    assert read["1h"] > 0


async def test_prices_tell_the_kinds_of_writing_and_reading_apart() -> None:
    many = 1_000_000
    costs = [
        await cost_of("anthropic", "claude-opus-5", usage)
        for usage in (
            TurnUsage(input_total=many),
            TurnUsage(input_total=many, cache_write=many),
            TurnUsage(input_total=many, cache_write=many, cache_write_1h=many),
            TurnUsage(input_total=many, cache_read=many),
        )
    ]
    plain = costs[0] or 0.0
    assert costs == pytest.approx([plain, 1.25 * plain, 2 * plain, 0.1 * plain])


@pytest.mark.parametrize("wire", ["anthropic", "openai", "openai-chat", "google"])
async def test_each_prompt_begins_with_the_bytes_of_the_one_before(wire: str) -> None:
    async with FakeLLM(_long_task) as llm:
        model = f"{wire}:gemini-2.5-pro" if wire == "google" else f"{wire}:gpt-5.4"
        conversation = Conversation()
        agent = _at(llm, model, temperature=0.3)
        await agent.call("Find it.", conversation=conversation)
        bodies = [call.body for call in llm.calls]
    assert len(bodies) == TURNS
    prompts = [list(_prompt(body)) for body in bodies]
    for earlier, later in itertools.pairwise(prompts):
        assert later[: len(earlier)] == earlier
        assert len(later) > len(earlier)


def _prompt(body: Mapping[str, JsonValue]) -> Iterator[str]:
    """What a request says, in the order in which vendors read it; with nothing about caching."""
    for key in ("tools", "system", "systemInstruction", "instructions"):
        yield json.dumps(_unmarked(body.get(key)))
    for key in ("messages", "input", "contents"):
        for message in typing.cast("list[JsonValue]", body.get(key) or []):
            yield json.dumps(_unmarked(message))


def _unmarked(value: JsonValue) -> JsonValue:
    match value:
        case dict():
            return {k: _unmarked(v) for k, v in value.items() if k != "cache_control"}
        case list():
            return [_unmarked(v) for v in value]
        case _:
            return value


def _request(*messages: Message, cache: CacheMode = "auto", **options: Any) -> TurnRequest:
    options = {"model": "claude-sonnet-5-5", "instructions": LONG, "tools": (LOOKUP,), **options}
    return TurnRequest(messages=messages or (UserMessage(text="hello"),), cache=cache, **options)


def _talk(calls: int) -> tuple[Message, ...]:
    parts = tuple(ToolCallPart(id=f"c{i}", name="lookup", args={}) for i in range(calls))
    results = (ToolMessage(call_id=f"c{i}", name="lookup", content="so") for i in range(calls))
    return (UserMessage(text="hello"), AssistantMessage(parts=parts), *results)


def _marks(fields: Mapping[str, Any]) -> list[tuple[str, JsonValue]]:
    """What is marked: the place, and how."""
    found = [("tools", t["cache_control"]) for t in fields.get("tools", ()) if "cache_control" in t]
    system = fields.get("system")
    if isinstance(system, list):
        found += [("system", b["cache_control"]) for b in system if "cache_control" in b]
    blocks = [block for message in fields["messages"] for block in message["content"]]
    return found + [
        (f"block {i}", block["cache_control"])
        for i, block in enumerate(blocks)
        if "cache_control" in block
    ]


def test_the_ends_of_tools_instructions_and_conversation_are_marked() -> None:
    wide = LOOKUP.model_copy(update={"description": LONG})
    fields = anthropic(_request(tools=(LOOKUP, wide)))
    ephemeral = {"type": "ephemeral"}
    assert _marks(fields) == [("tools", ephemeral), ("system", ephemeral), ("block 0", ephemeral)]
    assert "cache_control" not in fields["tools"][0]


def test_what_is_too_small_is_not_marked_nor_what_is_not_to_be_kept() -> None:
    assert _marks(anthropic(_request(instructions="Be kind."))) == []
    assert anthropic(_request(instructions="Be kind."))["system"] == "Be kind."
    assert _marks(anthropic(_request(cache="off"))) == []
    (first, _) = _marks(anthropic(_request(cache="1h")))
    assert first == ("system", {"type": "ephemeral", "ttl": "1h"})
    wordy = UserMessage(text=LONG)
    assert [place for place, _ in _marks(anthropic(_request(wordy, instructions="")))] == [
        "block 0"
    ]
    assert _marks(anthropic(_request(wordy, instructions="", model="claude-haiku-4-5"))) == []


def test_what_a_long_turn_adds_does_not_hide_where_the_turn_before_ended() -> None:
    places = [place for place, _ in _marks(anthropic(_request(*_talk(30))))]
    assert places == ["system", "block 0", "block 60"]


def test_a_block_that_cannot_be_marked_is_passed_over() -> None:
    thought = ReasoningStatePart(
        provider="anthropic",
        form="signature",
        opaque={"type": "thinking", "thinking": "hm", "signature": "s"},
    )
    paused = AssistantMessage(parts=(TextPart(text="well"), thought))
    places = [place for place, _ in _marks(anthropic(_request(UserMessage(text="q"), paused)))]
    assert places == ["system", "block 1"]


@pytest.mark.parametrize(
    ("model", "tokens"),
    [
        ("claude-opus-5", 512),
        ("claude-fable-5-1", 512),
        ("claude-sonnet-5-5", 1024),
        ("claude-sonnet-4-6", 1024),
        ("claude-opus-4-8", 1024),
        ("claude-opus-4-6", 4096),
        ("claude-haiku-4-5-20251001", 4096),
        ("gpt-5.4", 1024),
        ("gemini-2.5-flash", 1024),
        ("gemini-2.5-pro", 4096),
        ("gemini-3-flash", 1024),
    ],
)
def test_the_least_that_a_model_keeps(model: str, tokens: int) -> None:
    assert minimum(model) == tokens


def test_openai_is_given_a_key_of_the_conversation_and_no_other_server_is() -> None:
    first, later = _request(*_talk(0)[:1]), _request(*_talk(3))
    key = chat(first, compatible=False)["prompt_cache_key"]
    assert key == chat(later, compatible=False)["prompt_cache_key"] == cache_key(later)
    assert 0 < len(key) <= 64
    assert key != cache_key(_request(UserMessage(text="another")))
    assert "prompt_cache_key" not in chat(first, compatible=True)
    assert "prompt_cache_key" not in chat(_request(cache="off"), compatible=False)


async def test_a_compatible_server_is_told_nothing_of_caching() -> None:
    for model in ("openai:gpt-5.4", "openai-chat:gpt-5.4"):
        async with FakeLLM(_long_task) as llm:
            await _at(llm, model).call("Find it.")
            assert all("cache" not in json.dumps(dict(call.body)) for call in llm.calls)


def test_agents_and_roles_say_for_how_long() -> None:
    assert Agent("scripted:summary").spec().cache == "auto"
    assert Agent("scripted:summary", cache="1h").spec().cache == "1h"
    role = AgentRole.from_yaml("name: Clerk\ngoal: Files.\ncache: off\n")
    assert role.cache == "off"
    assert role.spec("scripted:summary").cache == "off"
    assert RoleBasedAgent(role, "scripted:summary").spec().cache == "off"
    assert RoleBasedAgent(role, "scripted:summary", cache="1h").spec().cache == "1h"
    plain = AgentRole(name="Clerk", goal="Files.")
    assert plain.hash == AgentRole(name="Clerk", goal="Files.", cache="auto").hash != role.hash


def test_marking_leaves_the_tools_of_the_request_as_they_were() -> None:
    request = _request()
    fields: dict[str, JsonValue] = {
        "messages": [{"role": "user", "content": [{"type": "text", "text": LONG}]}]
    }
    mark(request, fields)
    assert _marks(fields)
    assert LOOKUP.model_dump() == request.tools[0].model_dump()
