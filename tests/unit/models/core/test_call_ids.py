"""Ids of tool calls: unique whatever a server gives, accepted whoever is asked next, and the same from turn to turn."""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Callable
from typing import Any

import pytest
from pydantic import JsonValue

from partsong.agents import Agent, Conversation
from partsong.contracts.talk.messages import (
    AssistantMessage,
    Message,
    TextPart,
    ToolCallPart,
    ToolMessage,
    UserMessage,
)
from partsong.models.core.call_ids import nine, renamed, safe
from partsong.testing import FakeLLM
from partsong.testing.fake_llm import Answer, Ask, Call, Deny, Finish, Manners, Recorded, Reply, Say
from partsong.tools import tool
from partsong.workflow import AgentSpec, WorkflowGraph
from tests.support.agents import AT_ONCE, WIRES, address
from tests.support.vendors import no_vendor_settings

__all__ = ["no_vendor_settings"]

ODD = ("functions.look:0", "call " + "x" * 90, "", "ü", "a/b", "a.b")
SAFE = re.compile("[A-Za-z0-9_-]{1,40}")


@tool(side_effect="read")
def look(page: int) -> str:
    """Looks up a page."""
    return f"page {page}"


def _agent(llm: FakeLLM, model: str, **options: Any) -> Agent:
    wire = model.partition(":")[0]
    return Agent(
        model, api_key="fake", base_url=address(llm, wire), tools=[look], retry=AT_ONCE, **options
    )


def _calls(*turns: tuple[str, ...]) -> Callable[[Ask], Reply]:
    """A script that calls `look` under these ids, turn by turn, and is done then."""
    pages = iter(range(100))

    def script(ask: Ask) -> Reply:
        if ask.nth >= len(turns):
            return Answer((Say("done"), Finish()))
        called = [Call("look", f'{{"page": {next(pages)}}}', id=id_) for id_ in turns[ask.nth]]
        return Answer((*called, Finish("tool_calls")))

    return script


def _sent(call: Recorded) -> tuple[list[str], list[tuple[str, str]]]:
    """The ids of calls and of results in a request, and what the results say."""
    calls: list[str] = []
    results: list[tuple[str, str]] = []

    def walk(value: JsonValue) -> None:
        match value:
            case {"type": "tool_use", "id": str(id_)} | {
                "type": "function_call",
                "call_id": str(id_),
            }:
                calls.append(id_)
            case {"type": "function", "id": str(id_)} | {"functionCall": {"id": str(id_)}}:
                calls.append(id_)
            case (
                {"tool_use_id": str(id_), "content": said}
                | {"tool_call_id": str(id_), "content": said}
                | {"call_id": str(id_), "output": said}
                | {"functionResponse": {"id": str(id_), "response": said}}
            ):
                results.append((id_, json.dumps(said)))
            case dict():
                for inner in value.values():
                    walk(inner)
            case list():
                for inner in value:
                    walk(inner)
            case _:
                pass

    walk({k: v for k, v in call.body.items() if k in {"messages", "input", "contents"}})
    return calls, results


def _fits(llm: FakeLLM, pages: int) -> None:
    calls, results = _sent(llm.calls[-1])
    assert len({*calls}) == len(calls) == pages
    assert [id_ for id_, _ in results] == calls
    assert all(SAFE.fullmatch(id_) for id_ in calls)
    for page, (_, said) in enumerate(results):
        assert f"page {page}" in said


@pytest.mark.parametrize("wire", WIRES)
@pytest.mark.parametrize(
    "turns",
    [
        (("x", "x"),),
        (("call_0",), ("call_0",), ("call_0",)),
        (("call_0", "call_1"), ("call_0", "call_1")),
        (ODD,),
        tuple((id_,) for id_ in ODD),
    ],
    ids=["two under one id", "repeated", "repeated pairs", "odd", "odd in turn"],
)
async def test_ids_that_go_back_are_unique_and_in_order(
    wire: str, turns: tuple[tuple[str, ...], ...]
) -> None:
    async with FakeLLM(_calls(*turns)) as llm:
        result = await _agent(llm, f"{wire}:m").call("q")
    _fits(llm, sum(map(len, turns)))
    said = [
        call.id for m in result.messages if isinstance(m, AssistantMessage) for call in m.tool_calls
    ]
    assert len({*said}) == len(said)


async def test_a_server_without_ids_is_given_some_that_stay() -> None:
    async with FakeLLM(_calls(("",), ("",), ("",)), manners=Manners(call_ids="none")) as llm:
        await _agent(llm, "openai-chat:m").call("q")
    _fits(llm, 3)
    sent = [_sent(call)[0] for call in llm.calls]
    for before, after in itertools.pairwise(sent):
        assert after[: len(before)] == before


@pytest.mark.parametrize("then", ["anthropic:b", "openai:b", "google:b", "openai-chat:b"])
async def test_another_vendor_takes_over_in_the_middle(
    monkeypatch: pytest.MonkeyPatch, then: str
) -> None:
    script = _calls(("functions.look:0", "functions.look:0"))

    def failing(ask: Ask) -> Reply:
        if ask.model == "a" and ask.nth:
            return Deny(500, "server", "gone")
        return script(ask) if ask.model == "a" else Answer((Say("done"), Finish()))

    spec = AgentSpec(model="openai-chat:a", fallbacks=(then,), tools=("look",))
    graph = WorkflowGraph("g", tools=[look]).add_agent("work", spec, retry=AT_ONCE)
    async with FakeLLM(failing) as llm:
        for name, value in llm.env().items():
            monkeypatch.setenv(name, value)
        monkeypatch.setenv("OPENAI_BASE_URL", f"{llm.url}/v1")
        run = await graph.execute({"input": "q"})
    assert run["work"] == "done"
    _fits(llm, 2)


@pytest.mark.parametrize("wire", WIRES)
async def test_a_conversation_of_before_goes_on(wire: str) -> None:
    pages = range(2)
    calls = (ToolCallPart(id="functions.look:0", name="look", args={"page": p}) for p in pages)
    results = (
        ToolMessage(call_id="functions.look:0", name="look", content=f"page {p}") for p in pages
    )
    conversation = Conversation()
    conversation.extend(
        (
            UserMessage(text="q"),
            AssistantMessage(parts=tuple(calls)),
            *results,
            AssistantMessage(parts=(TextPart(text="well"),)),
        )
    )
    async with FakeLLM(_calls()) as llm:
        await _agent(llm, f"{wire}:m").call("go on", conversation=conversation)
    _fits(llm, 2)


async def test_mistral_is_given_nine_letters_and_digits() -> None:
    async with FakeLLM(_calls(("call_0", "call_0"), ("abcdefgh1",))) as llm:
        await _agent(llm, "openai-chat:mistralai/Mistral-Small").call("q")
    calls, results = _sent(llm.calls[-1])
    assert [id_ for id_, _ in results] == calls
    assert len({*calls}) == 3
    assert all(re.fullmatch("[A-Za-z0-9]{9}", id_) for id_ in calls)
    assert calls[-1] == "abcdefgh1"


def test_good_ids_are_left_alone() -> None:
    messages = (
        AssistantMessage(parts=(ToolCallPart(id="toolu_01A-b", name="t"),)),
        ToolMessage(call_id="toolu_01A-b", name="t"),
    )
    assert renamed(messages) is messages
    assert safe("toolu_01A-b") == "toolu_01A-b"


@pytest.mark.parametrize("form", [safe, nine])
def test_a_conversation_that_goes_on_keeps_its_ids(form: Callable[[str, int], str]) -> None:
    ids = ["x", "x", *ODD, "x", "call_0", safe("a.b"), "x_2"]
    messages: list[Message] = []
    for id_ in ids:
        messages += [
            AssistantMessage(parts=(ToolCallPart(id=id_, name="t"),)),
            ToolMessage(call_id=id_, name="t"),
        ]
    whole = renamed(tuple(messages), form)
    for end in range(0, len(messages), 2):
        assert renamed(tuple(messages[:end]), form) == whole[:end]
    told = [call.id for m in whole if isinstance(m, AssistantMessage) for call in m.tool_calls]
    assert len({*told}) == len(ids)
    assert [m.call_id for m in whole if isinstance(m, ToolMessage)] == told


def test_ids_that_differ_by_their_odd_signs_alone_differ() -> None:
    assert safe("a/b") != safe("a.b")
    assert SAFE.fullmatch(safe(""))
    assert SAFE.fullmatch(safe("x" * 500, 12))
