"""OpenAI Responses: what only this format says, wants to be told, and gets wrong in its SDK."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Literal

import pytest
from pydantic import BaseModel, Field, JsonValue

from partsong.contracts.talk.chunks import (
    Citation,
    Raw,
    Reasoning,
    ReasoningState,
    ServerTool,
)
from partsong.contracts.talk.messages import (
    AssistantMessage,
    ReasoningStatePart,
    TextPart,
    ToolSpec,
    UserMessage,
)
from partsong.testing.fake_llm import (
    Bytes,
    Event,
    FakeLLM,
    Finish,
    Say,
    Seal,
    Think,
)
from tests.support.providers import (
    asked,
    connected,
    dig,
    failure,
    heard,
    scripted,
    then,
    turned,
)


async def test_a_responses_turn_is_not_stored_with_the_vendor() -> None:
    async with FakeLLM() as llm, connected(llm, "openai") as provider:
        await turned(provider, asked("text:1"))
        assert llm.calls[0].body["store"] is False


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


async def test_a_model_that_thinks_is_asked_for_its_thoughts_sealed() -> None:
    """Nothing is stored with the vendor, so the thought must come along, or the next turn has none."""
    async with FakeLLM() as llm, connected(llm, "openai") as provider:
        for model in ("gpt-5", "gpt-4o"):
            await turned(provider, asked(model))
        sealed, plain = (call.body.get("include") for call in llm.calls)
    assert sealed == ["reasoning.encrypted_content"]
    assert plain is None


@pytest.mark.parametrize(
    ("item", "sent"),
    [
        ({"encrypted_content": "c2VhbGVk", "summary": []}, True),
        ({"content": [{"type": "reasoning_text", "text": "hm"}], "summary": []}, True),
        ({"summary": [{"type": "summary_text", "text": "hm"}]}, False),
    ],
    ids=["sealed", "open", "only a reference"],
)
async def test_a_thought_goes_back_only_if_it_is_whole(
    item: dict[str, JsonValue], *, sent: bool
) -> None:
    """A reasoning item without content is looked up among what was stored, and not found: the turn would be refused."""
    thought: dict[str, JsonValue] = {"type": "reasoning", "id": "rs_1", **item}
    state = ReasoningStatePart(provider="openai", form="reasoning_item", opaque=thought)
    answer = AssistantMessage(parts=(state, TextPart(text="Yes.")))
    async with FakeLLM() as llm, connected(llm, "openai") as provider:
        await turned(
            provider, asked("text:1", UserMessage(text="a"), answer, UserMessage(text="b"))
        )
        items = dig(llm.calls[0].body, "input")
    assert isinstance(items, list)
    assert (thought in items) is sent


async def test_only_the_finished_thought_is_kept() -> None:
    """In `output_item.added` the encrypted content may be incomplete."""
    async with scripted(Think("hm"), Seal("c2VhbGVk"), Say("x"), Finish()) as llm:
        async with connected(llm, "openai") as provider:
            chunks = await heard(provider, asked("any"))
        assert b'"encrypted_content":"incomplete"' in llm.calls[0].sent
    (state,) = (chunk for chunk in chunks if isinstance(chunk, ReasoningState))
    assert dig(state.opaque, "encrypted_content") == "c2VhbGVk"


async def test_an_error_without_a_type_fails_the_turn() -> None:
    error = Bytes(b'data: {"error": {"message": "gone", "code": "server_error"}}\n\n')
    async with scripted(Say("x"), error) as llm, connected(llm, "openai") as provider:
        lost = await failure(provider, asked("any"))
    assert (lost.error, lost.message, lost.mid_stream) == ("server", "gone", True)


class Shop(BaseModel):
    """One of two kinds, with limits that OpenAI does not know."""

    name: str = Field(min_length=2)
    kind: Annotated[Tea | Book, Field(discriminator="is_")]
    owner: Person = Field(description="Who has it.")


class Tea(BaseModel):
    is_: Literal["tea"]
    grams: int = Field(ge=1)


class Book(BaseModel):
    is_: Literal["book"]


class Person(BaseModel):
    name: str


async def test_a_strict_schema_has_no_keyword_that_openai_refuses() -> None:
    async with FakeLLM() as llm, connected(llm, "openai") as provider:
        await turned(provider, asked("text:1", output_schema=Shop.model_json_schema()))
        told = dig(llm.calls[0].body, "text", "format")
    assert dig(told, "strict") is True
    properties = dig(told, "schema", "properties")
    assert dig(properties, "name") == {
        "type": "string",
        "title": "Name",
        "description": "(minLength: 2)",
    }
    assert dig(properties, "kind", "anyOf") == [{"$ref": "#/$defs/Tea"}, {"$ref": "#/$defs/Book"}]
    assert dig(properties, "owner") == {
        "description": "Who has it.",
        "anyOf": [{"$ref": "#/$defs/Person"}],
    }
    assert dig(told, "schema", "$defs", "Tea", "properties", "grams", "minimum") == 1
    assert not {"oneOf", "minLength", "discriminator"} & set(_keys(dig(told, "schema")))


def _keys(schema: JsonValue) -> Iterator[str]:
    match schema:
        case dict():
            for key, inner in schema.items():
                yield key
                yield from _keys(inner)
        case list():
            for inner in schema:
                yield from _keys(inner)
        case _:
            pass


async def test_what_cannot_be_kept_to_is_asked_for_as_it_is() -> None:
    schema: dict[str, JsonValue] = {
        "type": "object",
        "additionalProperties": {"type": "integer", "minimum": 1},
    }
    tool = ToolSpec(name="count", description="Counts.", parameters=schema)
    async with FakeLLM() as llm, connected(llm, "openai") as provider:
        await turned(provider, asked("text:1", output_schema=schema, tools=(tool,)))
        body = llm.calls[0].body
    assert dig(body, "text", "format", "schema") == schema
    assert dig(body, "text", "format", "strict") is False
    assert (dig(body, "tools", 0, "parameters"), dig(body, "tools", 0, "strict")) == (schema, False)


async def test_a_part_of_content_that_nobody_knows_is_passed_on_untouched() -> None:
    part: JsonValue = {"type": "output_hologram", "data": "…"}
    event: dict[str, JsonValue] = {
        "type": "response.content_part.done",
        "item_id": "msg_1",
        "output_index": 0,
        "content_index": 1,
        "part": part,
    }
    steps = (Say("Hi"), Event(event), Finish())
    async with scripted(*steps) as llm, connected(llm, "openai") as provider:
        chunks = await heard(provider, asked("any"))
    (raw,) = (chunk for chunk in chunks if isinstance(chunk, Raw))
    assert dig(raw.data, "part") == part
