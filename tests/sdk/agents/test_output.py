"""Structured output: the provider's own way or a tool, always checked, sent back when it does not fit."""

from __future__ import annotations

import json
from dataclasses import dataclass
from enum import Enum
from typing import Literal, cast

import pytest
from pydantic import BaseModel, Field, JsonValue, field_validator
from typing_extensions import TypedDict

from partsong.agents import Agent, AgentFailed, BadOutput, ToolEnabledAgent
from partsong.agents.output import Unfit, output_of
from partsong.contracts.errors import InvalidInput
from partsong.contracts.graph.nodes import ANSWER, OutputMode
from partsong.contracts.talk.chunks import End, Text
from partsong.testing.fake_llm import Call, FakeLLM, Finish
from partsong.tools import ToolRegistry, tool
from partsong.tools.builtin.calculator import calculator
from partsong.workflow import AgentSpec, WorkflowGraph
from tests.support.agents import WIRES, asking, call, read, saying, steps


class Invoice(BaseModel):
    """What the tests ask for."""

    number: str
    total: float = Field(ge=0)
    currency: Literal["EUR", "USD"]


GOOD = '{"number": "A-7", "total": 12.5, "currency": "EUR"}'
NEGATIVE = '{"number": "A-7", "total": -1, "currency": "EUR"}'
SCHEMA: dict[str, JsonValue] = {
    "type": "object",
    "properties": {"total": {"type": "number", "minimum": 0}},
    "required": ["total"],
}


@pytest.mark.parametrize("wire", WIRES)
async def test_an_answer_becomes_an_instance_of_the_model(wire: str) -> None:
    async with FakeLLM(saying(GOOD)) as llm:
        result = await asking(llm, f"{wire}:any").call("Read it", output=Invoice)
    assert result.output == Invoice(number="A-7", total=12.5, currency="EUR")
    assert result.text == GOOD
    assert '"currency"' in json.dumps(dict(llm.calls[0].body))  # the provider was told
    assert llm.calls[0].ask.tools == ()


async def test_a_json_schema_is_checked_and_the_value_stays_plain() -> None:
    async with FakeLLM(saying('```json\n{"total": 3}\n```')) as llm:
        result = await asking(llm, output=SCHEMA).call("Read it")
    assert result.output == {"total": 3}


@pytest.mark.parametrize(
    ("wire", "output"),
    [*((wire, Invoice) for wire in WIRES), ("openai-chat", SCHEMA)],
    ids=[*WIRES, "a plain schema"],
)
async def test_what_does_not_fit_is_sent_back_with_the_reason(
    wire: str,
    output: type[BaseModel] | dict[str, JsonValue],
) -> None:
    async with FakeLLM(saying("Here you are!", NEGATIVE, GOOD)) as llm:
        result = await asking(llm, f"{wire}:any", output=output).call("Read it")
    assert result.turns == 3
    assert "the answer is not JSON" in llm.calls[1].ask.prompt
    assert "$.total: " in llm.calls[2].ask.prompt
    assert result.text == GOOD
    assert result.usage.output_total >= 3


async def test_repairs_have_an_end() -> None:
    async with FakeLLM(saying(NEGATIVE)) as llm:
        with pytest.raises(BadOutput, match=r"\$\.total") as failed:
            await asking(llm, output=Invoice, repairs=1).call("Read it")
    assert failed.value.problem.code == "agent.bad_output"
    assert len(llm.calls) == 2
    assert NEGATIVE in failed.value.problem.message
    assert len(failed.value.messages) == 4


async def test_text_that_was_shown_is_not_followed_by_another_answer() -> None:
    async with FakeLLM(saying(NEGATIVE, GOOD)) as llm:
        agent = asking(llm, output=Invoice)
        shown: list[str] = []
        with pytest.raises(BadOutput):
            await read(agent.call_stream("Read it"), shown)
        assert "".join(shown) == NEGATIVE
        assert len(llm.calls) == 1


async def test_chunks_show_the_repair_as_a_turn_of_its_own() -> None:
    async with FakeLLM(saying(NEGATIVE, GOOD)) as llm:
        stream = asking(llm, output=Invoice).call_stream("Read it")
        turns = {chunk.call_id async for chunk in stream.chunks()}
    assert turns == {"agent:1/t1", "agent:1/t2"}
    assert isinstance(stream.result.output, Invoice)


@pytest.mark.parametrize("wire", WIRES)
async def test_in_tool_mode_the_answer_is_a_tool_call(wire: str) -> None:
    async with FakeLLM(steps(call(ANSWER, GOOD))) as llm:
        agent = asking(llm, f"{wire}:any", output=Invoice, mode="tool", instructions="Be exact.")
        result = await agent.call("Read it")
    assert isinstance(result.output, Invoice)
    assert json.loads(result.text) == json.loads(GOOD)
    assert (result.turns, result.tool_calls) == (1, 0)
    (asked,) = llm.calls
    assert [offer.name for offer in asked.ask.tools] == [ANSWER]
    assert asked.ask.system.startswith("Be exact.\n\nWhen you have the answer")
    assert result.messages[-1].text == result.text


@pytest.mark.parametrize("wire", WIRES)
async def test_in_tool_mode_the_answer_is_shown_as_text_while_it_comes(wire: str) -> None:
    async with FakeLLM(steps(call(ANSWER, GOOD))) as llm:
        stream = asking(llm, f"{wire}:any", output=Invoice, mode="tool").call_stream("Read it")
        shown = [chunk async for chunk in stream.chunks()]
    assert json.loads("".join(c.text for c in shown if isinstance(c, Text))) == json.loads(GOOD)
    assert {chunk.kind for chunk in shown} <= {"start", "text", "reasoning_state", "usage", "end"}
    assert isinstance(shown[-1], End)
    assert shown[-1].stop == "stop"


@pytest.mark.parametrize("wire", WIRES)
async def test_in_tool_mode_what_does_not_fit_is_sent_back_with_the_reason(wire: str) -> None:
    async with FakeLLM(steps(call(ANSWER, NEGATIVE), call(ANSWER, GOOD, "call_2"))) as llm:
        result = await asking(llm, f"{wire}:any", output=Invoice, mode="tool").call("Read it")
    assert "$.total: " in llm.calls[1].ask.prompt
    assert isinstance(result.output, Invoice)


async def test_in_tool_mode_an_answer_in_words_is_taken_if_it_fits() -> None:
    async with FakeLLM(saying("I would say 12.5 euros.", GOOD)) as llm:
        result = await asking(llm, output=Invoice, mode="tool").call("Read it")
    assert isinstance(result.output, Invoice)
    assert result.turns == 2


async def test_what_is_called_beside_the_answer_is_not_run() -> None:
    ran: list[str] = []

    @tool
    def pay(to: str) -> str:
        """Pay somebody."""
        ran.append(to)
        return "paid"

    both = (Call("pay", '{"to": "Bob"}', id="a"), Call(ANSWER, GOOD, id="b"), Finish("tool_calls"))
    async with FakeLLM(steps(both)) as llm:
        result = await asking(llm, tools=[pay], output=Invoice, mode="tool").call("Read it")
    assert ran == []
    assert isinstance(result.output, Invoice)
    assert (result.turns, result.tool_calls) == (1, 0)


async def test_gemini_with_tools_answers_by_a_tool_and_without_them_natively() -> None:
    async with FakeLLM(steps(call(ANSWER, GOOD))) as llm:
        agent = asking(llm, "google:any", tools=[calculator], output=Invoice)
        await agent.call("Read it")
    assert [offer.name for offer in llm.calls[0].ask.tools] == ["calculator", ANSWER]


@pytest.mark.parametrize("mode", ["native", "tool"])
async def test_the_scripted_provider_fits_the_schema_too(mode: OutputMode) -> None:
    result = await Agent("scripted:echo", mode=mode).call("A-7", output=Invoice)
    assert result.output == Invoice(number="A-7", total=0, currency="EUR")


@pytest.mark.parametrize("mode", ["native", "tool"])
async def test_tools_and_structured_output_go_together(mode: OutputMode) -> None:
    agent = ToolEnabledAgent(tool_registry=ToolRegistry(), output=SCHEMA, mode=mode)
    result = await agent.call("What is 2 * 3?")
    assert result.output == {"total": 0}
    assert result.tool_calls == 1


async def test_a_refusal_is_not_repaired(llm: FakeLLM) -> None:
    with pytest.raises(AgentFailed) as failed:
        await asking(llm, "openai-chat:refuse", output=Invoice).call("Read it")
    assert failed.value.problem.code == "agent.refusal"
    assert len(llm.calls) == 1


@pytest.mark.parametrize(
    ("schema", "where"),
    [
        ({"type": "arry"}, "output.type"),
        ({"type": "object", "properties": {"a": {"type": "text"}}}, "output.properties.a.type"),
    ],
)
def test_what_is_no_schema_is_refused_at_once(schema: dict[str, JsonValue], where: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        Agent("scripted:echo", output=schema)
    assert (refused.value.problem.code, refused.value.problem.where) == ("output.bad_schema", where)


@pytest.mark.parametrize("reference", ["http://127.0.0.1:9/schema.json", "#/$defs/missing"])
def test_a_schema_that_leads_elsewhere_is_refused_and_nothing_is_fetched(reference: str) -> None:
    schema: dict[str, JsonValue] = {"type": "object", "properties": {"a": {"$ref": reference}}}
    with pytest.raises(InvalidInput, match="does not lead to a part of it"):
        Agent("scripted:echo", output=schema)


async def test_a_schema_may_refer_to_its_own_parts() -> None:
    schema: dict[str, JsonValue] = {
        "type": "object",
        "properties": {"a": {"$ref": "#/$defs/small"}},
        "$defs": {"small": {"type": "integer", "maximum": 3}},
    }
    async with FakeLLM(saying('{"a": 4}', '{"a": 3}')) as llm:
        result = await asking(llm, output=schema).call("Read it")
    assert (result.output, result.turns) == ({"a": 3}, 2)


def test_a_tool_cannot_have_the_name_of_the_answer() -> None:
    @tool(name=ANSWER)
    def answer(text: str) -> str:
        """Answer."""
        return text

    with pytest.raises(InvalidInput, match="final_answer"):
        Agent("scripted:echo", tools=[answer])


class Panic(BaseException):
    """What a library in native code may raise."""


@pytest.mark.parametrize("error", [RuntimeError("no"), KeyError("k"), Panic("unwrap")])
def test_a_check_of_the_users_that_breaks_lets_no_answer_fit(error: BaseException) -> None:
    class Fussy(BaseModel):
        n: int

        @field_validator("n")
        @classmethod
        def fits(cls, _value: int) -> int:
            raise error

    wanted = output_of(Fussy)
    assert wanted is not None
    with pytest.raises(Unfit, match=type(error).__name__):
        wanted.read('{"n": 1}')


@dataclass
class Point:
    """What a dataclass is read as."""

    x: int
    y: int = 0


class Named(TypedDict):
    """What a TypedDict is read as."""

    name: str


class Colour(Enum):
    """What an Enum is read as."""

    RED = "red"


KINDS: list[tuple[object, str, object]] = [
    (int, '{"value": 4}', 4),
    (float, '{"value": 4.5}', 4.5),
    (bool, '{"value": true}', True),
    (list[int], '{"value": [1, 2]}', [1, 2]),
    (dict[str, int], '{"a": 1}', {"a": 1}),
    (Point, '{"x": 1}', Point(1)),
    (Named, '{"name": "Ann"}', {"name": "Ann"}),
    (Literal["yes", "no"], '{"value": "no"}', "no"),
    (Colour, '{"value": "red"}', Colour.RED),
    (int | Invoice, f'{{"value": {GOOD}}}', Invoice(number="A-7", total=12.5, currency="EUR")),
    (list[Point], '{"value": [{"x": 3}]}', [Point(3)]),
    (int, "4", 4),
    ({"type": "array", "items": {"type": "integer"}}, '{"value": [3]}', [3]),
]


@pytest.mark.parametrize(("output", "said", "meant"), KINDS)
async def test_any_type_is_an_answer_in_an_object_where_vendors_need_one(
    output: object, said: str, meant: object
) -> None:
    async with FakeLLM(saying("none", said)) as llm:
        result = await asking(llm, output=output).call("Read it")
    assert result.output == meant
    assert result.turns == 2
    body = llm.calls[0].body
    assert isinstance(body, dict)
    told = json.loads(json.dumps(body["response_format"]))
    assert told["json_schema"]["schema"]["type"] == "object"


@pytest.mark.parametrize("wire", WIRES)
async def test_a_number_is_a_number_on_every_wire_and_in_a_graph(
    wire: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with FakeLLM(saying('{"value": 4}')) as llm:
        assert (await asking(llm, f"{wire}:m", output=int).call("How many?")).output == 4
        for name, value in llm.env().items():
            monkeypatch.setenv(name, value)
        spec = AgentSpec.model_validate({"model": f"{wire}:m", "output_schema": int})
        result = await WorkflowGraph("g").add_agent("a", spec).execute({"input": "How many?"})
    assert result["a"] == 4


async def test_text_is_text() -> None:
    async with FakeLLM(saying("Four.")) as llm:
        assert (await asking(llm, output=str).call("How many?")).output == "Four."


class Odd:
    """No type that anybody can make a schema of."""


def test_what_no_schema_can_be_made_of_is_refused() -> None:
    with pytest.raises(InvalidInput, match="no JSON Schema can be made of"):
        Agent("scripted:echo", output=Odd)
    with pytest.raises(InvalidInput, match="no JSON Schema can be made of 'prd'"):
        Agent("scripted:echo", output="prd")
    with pytest.raises(InvalidInput, match="no JSON Schema can be made of"):
        AgentSpec(model="scripted:echo", output_schema=cast("dict[str, JsonValue]", Odd))
