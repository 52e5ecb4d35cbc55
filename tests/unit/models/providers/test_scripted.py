"""The scripted provider: the same path as the vendors', the same answer every time."""

from __future__ import annotations

import json

import pytest
from pydantic import BaseModel

from partsong.contracts.talk.chunks import End, Reasoning, Start, Text
from partsong.contracts.talk.messages import ToolCallPart, ToolMessage, ToolSpec, UserMessage
from partsong.models.core.scripted_replies import ScriptedTurn
from partsong.models.port import TurnRequest
from partsong.models.providers.scripted import ScriptedProvider
from tests.support.providers import LOOKUP, asked, broken, heard, then, turned

TEXT = """Summarise this:

The northern depot will move to the new hall in March. The new hall has no fire certificate yet, which may delay the move.
The canteen serves soup. The depot must keep shipping during the move, so the depot needs two teams for the depot hall."""


@pytest.fixture
def provider() -> ScriptedProvider:
    """Without pauses."""
    return ScriptedProvider(delay=0)


async def test_it_is_labelled_and_streams_word_by_word(provider: ScriptedProvider) -> None:
    chunks = await heard(provider, asked("echo", UserMessage(text="one two  three\nfour")))
    assert isinstance(chunks[0], Start)
    assert chunks[0].provider == "scripted"
    words = [chunk.text for chunk in chunks if isinstance(chunk, Text)]
    assert words == ["one ", "two  ", "three\n", "four"]
    assert isinstance(chunks[-1], End)


async def test_the_same_question_has_the_same_answer(provider: ScriptedProvider) -> None:
    request = asked("summary", UserMessage(text=TEXT))
    assert await heard(provider, request) == await heard(provider, request)


async def test_a_summary_quotes_the_sentences_that_matter_and_not_the_order(
    provider: ScriptedProvider,
) -> None:
    said = (await turned(provider, asked("summary:2", UserMessage(text=TEXT)))).message.text
    assert "depot must keep shipping" in said
    assert "canteen" not in said
    assert "Summarise" not in said


async def test_risks_are_the_sentences_that_name_them(provider: ScriptedProvider) -> None:
    said = (await turned(provider, asked("risks", UserMessage(text=TEXT)))).message.text
    assert said.startswith("- ")
    assert "fire certificate" in said
    assert "soup" not in said


async def test_actions_are_what_must_be_done(provider: ScriptedProvider) -> None:
    said = (await turned(provider, asked("actions", UserMessage(text=TEXT)))).message.text
    assert "must keep shipping" in said
    assert "soup" not in said


@pytest.mark.parametrize("persona", ["risks", "actions"])
async def test_an_empty_text_has_nothing_to_list(provider: ScriptedProvider, persona: str) -> None:
    said = (await turned(provider, asked(persona, UserMessage(text="Soup.")))).message.text
    assert said.startswith("- The text ")


async def test_a_title_is_a_few_words(provider: ScriptedProvider) -> None:
    said = (await turned(provider, asked("title:3", UserMessage(text=TEXT)))).message.text
    assert len(said.split()) == 3
    assert "depot" in said.lower()


async def test_text_is_as_long_as_it_is_told(provider: ScriptedProvider) -> None:
    said = (await turned(provider, asked("text:7", UserMessage(text="a b c")))).message.text
    assert said == "a b c a b c a"


async def test_a_tool_is_called_with_what_the_user_quoted_and_its_result_is_quoted(
    provider: ScriptedProvider,
) -> None:
    request = asked("tool", UserMessage(text='Look up "song thrush" please'), tools=(LOOKUP,))
    first = await turned(provider, request)
    (call,) = first.message.tool_calls
    assert (call.name, call.args) == ("lookup", {"query": "song thrush"})
    assert first.stop == "tool_calls"

    result = ToolMessage(call_id=call.id, name=call.name, content="a bird")
    second = await turned(provider, then(request, first.message, result))
    assert "a bird" in second.message.text
    assert second.stop == "stop"


async def test_a_calculator_gets_the_sum(provider: ScriptedProvider) -> None:
    schema = ToolSpec(
        name="calculator",
        parameters={"type": "object", "properties": {"expression": {"type": "string"}}},
    )
    turn = await turned(
        provider, asked("tool", UserMessage(text="What is 6 * (7 + 1)?"), tools=(schema,))
    )
    assert turn.message.tool_calls[0].args == {"expression": "6 * (7 + 1)"}


async def test_a_structured_answer_fits_its_schema(provider: ScriptedProvider) -> None:
    class Verdict(BaseModel):
        verdict: str
        risks: list[str]

    request = asked("risks", UserMessage(text=TEXT), output_schema=Verdict.model_json_schema())
    answer = Verdict.model_validate(json.loads((await turned(provider, request)).message.text))
    assert "fire certificate" in answer.verdict


async def test_an_unknown_persona_is_refused_by_name(provider: ScriptedProvider) -> None:
    lost = await broken(provider, asked("gpt-9"))
    assert lost.problem.code == "provider.invalid_request"
    assert "scripted:summary" in lost.problem.message
    assert not lost.problem.retryable


async def test_a_script_plays_what_it_is_given() -> None:
    def script(request: TurnRequest) -> ScriptedTurn:
        call = ToolCallPart(id="c9", name="lookup", args={"query": request.model})
        return ScriptedTurn("On it.", (call,), reasoning="First things first.")

    provider = ScriptedProvider(delay=0, script=script)
    chunks = await heard(provider, asked("anything"))
    assert "".join(c.text for c in chunks if isinstance(c, Reasoning)) == "First things first."
    turn = await turned(provider, asked("anything"))
    assert turn.message.tool_calls == (
        ToolCallPart(id="c9", name="lookup", args={"query": "anything"}),
    )


async def test_a_script_that_fails_fails_the_turn_and_not_the_gateway() -> None:
    def script(_request: TurnRequest) -> ScriptedTurn:
        raise ZeroDivisionError("oops")

    lost = await broken(ScriptedProvider(delay=0, script=script), asked("x"))
    assert lost.problem.code == "provider.server"
    assert "oops" in lost.problem.message
