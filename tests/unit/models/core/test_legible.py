"""What a model's server wrote and nobody could send or store: a sign stands in its place, and the turn is not lost."""

from __future__ import annotations

import pytest
from pydantic import JsonValue

from partsong.contracts.talk.chunks import (
    Chunk,
    End,
    Raw,
    Reasoning,
    ReasoningState,
    Start,
    Text,
    ToolArgs,
)
from partsong.models.core.arguments import tool_end
from partsong.models.core.assemble import Turn, assemble
from partsong.models.core.legible import Legible, legible
from partsong.testing.fake_llm import Call, Event, Finish, Say
from tests.support.providers import LOOKUP, asked, connected, heard, scripted


@pytest.mark.parametrize(
    ("chunk", "wanted"),
    [
        (Text(text="a\0b\ud800c"), Text(text="a\ufffdb\ufffdc")),
        (Start(provider="p", model="\udfff"), Start(provider="p", model="\ufffd")),
        (Raw(data={"a\0": ["\ud800"]}), Raw(data={"a\ufffd": ["\ufffd"]})),
    ],
)
def test_what_no_other_program_can_read_is_replaced(chunk: Chunk, wanted: Chunk) -> None:
    assert legible(chunk) == wanted
    legible(chunk).model_dump_json()


@pytest.mark.parametrize("chunk", [Text(text="zu groß 🧨"), Raw(data=[1, {"a": None}])])
def test_what_can_be_read_is_left_as_it_is(chunk: Chunk) -> None:
    assert legible(chunk) is chunk


def test_what_is_nested_too_deep_is_left_out() -> None:
    deep: JsonValue = 1
    for _ in range(200):
        deep = [deep]
    for chunk in (Raw(data=deep), ReasoningState(form="signature", opaque=deep)):
        assert "nested deeper than 100 levels" in legible(chunk).model_dump_json()


@pytest.mark.parametrize(
    "raw",
    [
        '{"q": "a\\u0000b"}', '{"q": "\\ud800"}', '{"q": NaN}', '{"q": 1e999}', f'{{"q": {"9" * 30}}}',
        f'{{"q": {"9" * 5000}}}', '{"q": ' + "[" * 120 + "]" * 120 + "}", '{"q": ' + "[" * 9000,
    ],
)  # fmt: skip
def test_arguments_that_do_not_pass_the_gate_for_values_are_none(raw: str) -> None:
    end = tool_end("c", "lookup", raw)
    assert (end.ok, end.args) == (False, None)


async def test_a_turn_with_such_text_is_a_turn_on_every_wire(wire: str) -> None:
    deep: JsonValue = 1
    for _ in range(150):
        deep = [deep]
    stray = Event({"type": "response.future.thing", "deep": deep})
    said = (
        Say("a\0"),
        *((stray,) if wire == "openai" else ()),
        Say("\ud800b"),
        Call("lookup", '{"query": "x"}'),
    )
    async with scripted(*said, Finish("tool_calls")) as llm, connected(llm, wire) as provider:
        chunks = await heard(provider, asked("any", tools=(LOOKUP,)))
    assert all(chunk.model_dump_json() for chunk in chunks)
    turn = assemble(chunks)
    assert isinstance(turn, Turn), turn
    assert turn.message.text == "a\ufffd\ufffdb"


@pytest.mark.parametrize(
    ("pieces", "shown"),
    [
        (["a\ud83d", "\ude00b"], "a\U0001f600b"),
        (["\ud83d", "\ude00"], "\U0001f600"),
        (["\ud83d", "", "\ude00"], "\U0001f600"),
        (["x\ud83d\ude00y"], "x\U0001f600y"),
        (["\ud83d\ude00\ud83d", "\ude00"], "\U0001f600\U0001f600"),
        (["a\ud83d", "b"], "a\ufffdb"),
        (["a\ud83d"], "a\ufffd"),
        (["\ude00", "\ud83d"], "\ufffd\ufffd"),
    ],
)
@pytest.mark.parametrize("kind", [Text, Reasoning, ToolArgs])
def test_a_sign_that_comes_in_halves_is_whole(
    kind: type[Text | Reasoning | ToolArgs], pieces: list[str], shown: str
) -> None:
    read = Legible()
    more = {"id": "1"} if kind is ToolArgs else {}
    chunks: list[Chunk] = [kind.model_validate({"text": piece, **more}) for piece in pieces]
    out = [c for chunk in (*chunks, End(stop="stop")) for c in read(chunk)]
    assert isinstance(out.pop(), End)
    assert "".join(c.text for c in out if isinstance(c, Text | Reasoning | ToolArgs)) == shown


def test_halves_of_different_blocks_are_not_one_sign() -> None:
    read = Legible()
    out = [*read(Text(i=0, text="\ud83d")), *read(Text(i=1, text="\ude00"))]
    assert [c.text for c in out if isinstance(c, Text)] == ["\ufffd", "\ufffd"]
