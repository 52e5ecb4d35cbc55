"""Tools in an agent's hands: what it may call, who is asked, when it is stopped."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from partsong.agents import (
    Agent,
    AgentLimits,
    Edited,
    LimitReached,
    LoopDetected,
    Rejected,
    ToolEnabledAgent,
    Toolset,
)
from partsong.agents.toolset import Approve
from partsong.contracts.errors import InvalidInput, NotFound
from partsong.contracts.talk.chunks import Text
from partsong.contracts.talk.messages import AssistantMessage, ToolCallPart, ToolMessage
from partsong.testing import ScriptedModel, ToolCall
from partsong.testing.fake_llm import Call, FakeLLM, Finish, Say, Step
from partsong.tools import NodeContext, ToolRegistry, tool
from partsong.tools.builtin.code import run_code
from partsong.tools.tool import SideEffect
from tests.support.agents import PATIENCE, asking, call, read, steps

DONE: tuple[Step, ...] = (Say("Done."), Finish())


@tool(side_effect="destructive", approval="always", redact=("token",))
def erase(path: str, token: str = "") -> str:
    """Erase a file."""
    return f"erased {path}"


@tool(side_effect="write")
def note(text: str) -> str:
    """Write a note."""
    return f"noted {text}"


@tool(side_effect="read")
async def look(place: str) -> str:
    """Look somewhere."""
    return f"nothing in {place}"


def results(messages: tuple[object, ...]) -> list[ToolMessage]:
    return [message for message in messages if isinstance(message, ToolMessage)]


async def test_a_plain_function_is_a_tool() -> None:
    def shout(text: str) -> str:
        """Say it louder."""
        return text.upper()

    async with FakeLLM(steps(call("shout", '{"text": "hey"}'), DONE)) as llm:
        result = await asking(llm, tools=[shout]).call("Shout hey")
    (answer,) = results(result.messages)
    assert (answer.content, answer.is_error) == ("HEY", False)
    assert llm.calls[0].ask.tools[0].name == "shout"


async def test_a_turns_calls_run_side_by_side_and_answer_in_order() -> None:
    both_run = asyncio.Barrier(2)

    @tool
    async def meet(name: str) -> str:
        """Wait for the other one."""
        await both_run.wait()
        return f"I am {name}"

    two = (
        Call("meet", '{"name": "a"}', id="1"),
        Call("meet", '{"name": "b"}', id="2"),
        Finish("tool_calls"),
    )
    async with FakeLLM(steps(two, DONE)) as llm, asyncio.timeout(PATIENCE):
        result = await asking(llm, tools=[meet]).call("Meet")
    answers = [(message.call_id, message.content) for message in results(result.messages)]
    assert answers == [("1", "I am a"), ("2", "I am b")]


@pytest.mark.parametrize(
    ("made", "said"),
    [
        (call("nothing", "{}"), "tool.unknown: there is no tool 'nothing'; there are: look"),
        (call("look", '{"plaice": "here"}'), "tool.invalid_arguments"),
        (call("look", '{"place": 7}'), "tool.invalid_arguments"),
        (call("look", '{"place": "he'), "tool.malformed_arguments: look was not called"),
        (call("look", '["here"]'), "tool.malformed_arguments: look was not called"),
    ],
)
async def test_a_wrong_call_is_answered_and_the_model_goes_on(
    made: tuple[Step, ...], said: str
) -> None:
    async with FakeLLM(steps(made, DONE)) as llm:
        result = await asking(llm, tools=[look]).call("Look")
    (answer,) = results(result.messages)
    assert answer.is_error
    assert str(answer.content).startswith(said)
    assert result.text == "Done."


async def test_a_tool_that_raises_is_answered_too() -> None:
    @tool
    def fail(text: str) -> str:
        """Fail."""
        raise OSError("disk full")

    async with FakeLLM(steps(call("fail", '{"text": "x"}'), DONE)) as llm:
        result = await asking(llm, tools=[fail]).call("Go")
    (answer,) = results(result.messages)
    assert answer.is_error
    assert "disk full" in str(answer.content)


def answering(yes: bool, asked: list[ToolCallPart]) -> Callable[[ToolCallPart], Awaitable[bool]]:
    async def approve(made: ToolCallPart) -> bool:
        asked.append(made)
        return yes

    return approve


@pytest.mark.parametrize(("yes", "said"), [(True, "erased a.txt"), (False, "tool.rejected")])
async def test_a_person_is_asked_and_sees_no_secret(yes: bool, said: str) -> None:
    asked: list[ToolCallPart] = []
    made = call("erase", '{"path": "a.txt", "token": "s3cret"}')
    async with FakeLLM(steps(made, DONE)) as llm:
        agent = asking(llm, tools=[erase], approve=answering(yes, asked))
        result = await agent.call("Erase a.txt")
    assert str(results(result.messages)[0].content).startswith(said)
    assert [made.args for made in asked] == [{"path": "a.txt", "token": "[redacted]"}]


async def test_where_nobody_can_be_asked_nothing_runs() -> None:
    async with FakeLLM(steps(call("erase", '{"path": "a.txt"}'), DONE)) as llm:
        result = await asking(llm, tools=[erase]).call("Erase a.txt")
    assert str(results(result.messages)[0].content).startswith("tool.needs_approval")


async def desk_closed(_: ToolCallPart) -> bool:
    raise ConnectionError("the desk is closed")


def unclear(_: ToolCallPart) -> bool:
    return "no"  # type: ignore[return-value]


@pytest.mark.parametrize("approve", [desk_closed, unclear])
async def test_an_approver_that_fails_lets_nothing_run(approve: Approve) -> None:

    async with FakeLLM(steps(call("erase", '{"path": "a.txt"}'), DONE)) as llm:
        result = await asking(llm, tools=[erase], approve=approve).call("Erase a.txt")
    said = str(results(result.messages)[0].content)
    assert said.startswith("tool.approval_failed")
    assert "the desk is closed" in said or "returned 'no'" in said


async def test_who_approves_may_give_other_arguments_and_the_model_is_told_which() -> None:
    made = call("erase", '{"path": "a.txt", "token": "s3cret"}')
    async with FakeLLM(steps(made, DONE)) as llm:
        agent = asking(
            llm, tools=[erase], approve=lambda asked: Edited({**asked.args, "path": "b.txt"})
        )
        result = await agent.call("Erase a.txt")
    assert results(result.messages)[0].content == {
        "arguments_changed_by_a_person": {"path": "b.txt", "token": "[redacted]"},
        "result": "erased b.txt",
    }


@pytest.mark.parametrize(
    ("edit", "code"),
    [
        ({"path": 3}, "tool.invalid_arguments"),
        ("b.txt", "tool.invalid_arguments"),
        ({"path": {"b.txt"}}, "approval.bad_edit"),
    ],
)
async def test_other_arguments_are_checked_as_a_models_are(edit: object, code: str) -> None:
    async with FakeLLM(steps(call("erase", '{"path": "a.txt"}'), DONE)) as llm:
        agent = asking(llm, tools=[erase], approve=lambda _asked: Edited(edit))
        result = await agent.call("Erase a.txt")
    (answer,) = results(result.messages)
    assert answer.is_error
    assert str(answer.content).startswith(code)


async def test_a_refusal_has_its_reason() -> None:
    async with FakeLLM(steps(call("erase", '{"path": "a.txt"}'), DONE)) as llm:
        agent = asking(llm, tools=[erase], approve=lambda _asked: Rejected("still needed"))
        result = await agent.call("Erase a.txt")
    assert str(results(result.messages)[0].content).endswith(
        "refused to let erase run: still needed"
    )


async def test_nobody_is_waited_for_beyond_the_deadline() -> None:
    async def never(_asked: ToolCallPart) -> bool:
        await asyncio.Event().wait()
        return True

    async with FakeLLM(steps(call("erase", '{"path": "a.txt"}'), DONE)) as llm:
        agent = asking(llm, tools=[erase], approve=never, approval_deadline=0.01)
        result = await agent.call("Erase a.txt")
    assert str(results(result.messages)[0].content).startswith("approval.expired")


async def test_nobody_is_asked_about_a_call_that_cannot_be_made() -> None:
    asked: list[ToolCallPart] = []
    async with FakeLLM(steps(call("erase", "{}"), DONE)) as llm:
        await asking(llm, tools=[erase], approve=answering(True, asked)).call("Erase")
    assert asked == []


def test_a_toolset_has_what_is_named_or_what_may_be_used() -> None:
    registry = ToolRegistry([erase, note, look])
    allowed: dict[SideEffect, set[str]] = {
        "none": set(),
        "read": {"look"},
        "write": {"look", "note"},
        "destructive": {"look", "note", "erase"},
    }
    ours = {"erase", "note", "look"}
    for may, names in allowed.items():
        assert ours & set(Toolset(registry, may=may).names) == names
    assert Toolset(registry, ["note"]).names == ("note",)
    with pytest.raises(InvalidInput, match="destructive, allowed is up to write"):
        Toolset(registry, ["erase"], may="write")
    with pytest.raises(NotFound, match="erasse"):
        Toolset(registry, ["erasse"])


async def test_a_toolset_can_ask_for_more_than_its_tools_do() -> None:
    asked: list[ToolCallPart] = []
    toolset = Toolset(ToolRegistry([note, look]), ["note", "look"], asks="write")
    both = (Call("look", '{"place": "x"}', id="1"), *call("note", '{"text": "y"}', "2"))
    async with FakeLLM(steps(both, DONE)) as llm:
        await asking(llm, tools=toolset, approve=answering(True, asked)).call("Go")
    assert [made.name for made in asked] == ["note"]


def test_an_agent_is_told_at_once_which_tool_is_missing() -> None:
    with pytest.raises(NotFound, match="calculatr"):
        ToolEnabledAgent(tool_registry=ToolRegistry(), allow=["calculatr"])


async def test_the_same_call_with_the_same_result_is_a_loop() -> None:
    async with FakeLLM(steps(call("look", '{"place": "x"}'))) as llm:
        with pytest.raises(LoopDetected, match="4 times") as stopped:
            await asking(llm, tools=[look]).call("Find it")
    assert stopped.value.problem.code == "agent.loop"
    assert len(llm.calls) == 4
    assert len(results(stopped.value.messages)) == 4


async def test_polling_is_no_loop() -> None:
    count = iter(range(100))

    @tool
    def poll() -> int:
        """Ask how far it is."""
        return next(count)

    polls = [call("poll", "{}", str(i)) for i in range(6)]
    async with FakeLLM(steps(*polls, DONE)) as llm:
        result = await asking(llm, tools=[poll]).call("Wait for it")
    assert result.tool_calls == 6


@pytest.mark.parametrize(
    ("limits", "code", "requests"),
    [
        (AgentLimits(turns=2), "agent.max_turns", 2),
        (AgentLimits(tool_calls=1), "agent.max_tool_calls", 2),
        (AgentLimits(tool_calls=0), "agent.max_tool_calls", 1),
    ],
)
async def test_limits_stop_a_call_between_its_turns(
    limits: AgentLimits, code: str, requests: int
) -> None:
    async with FakeLLM(steps(call("look", '{"place": "x"}'))) as llm:
        with pytest.raises(LimitReached) as stopped:
            await asking(llm, tools=[look], limits=limits).call("Find it")
    assert stopped.value.problem.code == code
    assert len(llm.calls) == requests
    assert stopped.value.usage.input_total > 0


@pytest.mark.parametrize(
    ("limits", "code"),
    [
        (AgentLimits(turns=0), "agent.max_turns"),
        (AgentLimits(tokens=0), "agent.max_tokens"),
        (AgentLimits(tokens=1), "agent.max_tokens"),
        (AgentLimits(cost=0), "agent.max_cost"),
    ],
)
async def test_with_nothing_to_spend_nobody_is_asked(limits: AgentLimits, code: str) -> None:
    async with FakeLLM(steps(DONE)) as llm:
        with pytest.raises(LimitReached) as stopped:
            await asking(llm, "openai:gpt-5.4", limits=limits).call("Find it")
    assert (stopped.value.problem.code, len(llm.calls)) == (code, 0)


async def test_a_stream_is_cut_where_its_limit_is_met() -> None:
    heard: list[str] = []
    words = tuple(Say(f"word number {i} of a long story. ") for i in range(400))
    async with FakeLLM(steps((*words, Finish()))) as llm:
        stream = asking(llm, limits=AgentLimits(tokens=400)).call_stream("Tell me")
        with pytest.raises(LimitReached) as stopped:
            await read(stream, heard)
    assert stopped.value.problem.code == "agent.max_tokens"
    assert 400 <= stopped.value.usage.tokens < 600
    assert len("".join(heard)) < 400 * 5
    assert len(llm.calls) == 1


async def test_a_model_is_warned_before_it_is_stopped() -> None:
    same = call("look", '{"place": "x"}')
    async with FakeLLM(steps(same)) as llm:
        with pytest.raises(LoopDetected) as stopped:
            await asking(llm, tools=[look]).call("Find it")
        last = [str(recorded.body) for recorded in llm.calls]
    assert (stopped.value.problem.code, len(llm.calls)) == ("agent.loop", 4)
    assert ["ends the task" in text for text in last] == [False, False, False, True]


async def test_tools_that_there_are_not_are_warned_of_and_then_stop_the_model() -> None:
    made_up = [call(f"made_up_{i}", "{}", str(i)) for i in range(9)]
    async with FakeLLM(steps(*made_up)) as llm:
        with pytest.raises(LoopDetected) as stopped:
            await asking(llm, tools=[look]).call("Find it")
        told = str(llm.calls[-1].body)
    assert (stopped.value.problem.code, len(llm.calls)) == ("agent.unknown_tools", 4)
    assert "There are: look." in told


async def test_who_heeds_the_warning_goes_on() -> None:
    made_up = [call(f"made_up_{i}", "{}", str(i)) for i in range(3)]
    async with FakeLLM(steps(*made_up, call("look", '{"place": "x"}'), DONE)) as llm:
        assert (await asking(llm, tools=[look]).call("Find it")).text == "Done."


@pytest.mark.parametrize(
    "wrong", [{"turns": -1}, {"tool_calls": -1}, {"tokens": -1}, {"repeats": 0}]
)
def test_a_limit_that_makes_no_sense_is_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(InvalidInput, match="limits"):
        AgentLimits(**wrong)


async def test_every_call_in_an_error_has_its_result() -> None:
    async with FakeLLM(steps(call("look", '{"place": "x"}'))) as llm:
        with pytest.raises(LimitReached) as stopped:
            await asking(llm, tools=[look], limits=AgentLimits(tool_calls=2)).call("Find it")
    made = [
        part.id
        for message in stopped.value.messages
        if isinstance(message, AssistantMessage)
        for part in message.tool_calls
    ]
    assert made == [message.call_id for message in results(stopped.value.messages)]


async def test_what_a_tool_shows_is_among_the_chunks_and_not_in_the_text() -> None:
    @tool
    def read(context: NodeContext) -> str:
        """Read."""
        context.emit("page 3")
        return "read"

    async with FakeLLM(steps(call("read", "{}"), DONE)) as llm:
        agent = asking(llm, tools=[read])
        chunks = [chunk async for chunk in agent.call_stream("Read").chunks()]
        text = "".join([piece async for piece in agent.call_stream("Read")])
    shown = [c.text for c in chunks if isinstance(c, Text) and c.call_id == "agent:1/t1/c0"]
    assert shown == ["page 3"]
    assert text == "Done."


def test_the_spec_of_an_agent_is_what_a_graph_takes() -> None:
    spec = Agent(
        "scripted:echo",
        instructions="Be brief.",
        tools=[look],
        limits=AgentLimits(turns=3),
        max_tokens=99,
        output={"type": "object"},
    ).spec()
    assert spec.model_dump(exclude_defaults=True) == {
        "model": "scripted:echo",
        "instructions": "Be brief.",
        "tools": ("look",),
        "max_turns": 3,
        "max_tokens": 99,
        "output_schema": {"type": "object"},
    }


def test_a_name_that_no_graph_could_use_is_refused() -> None:
    with pytest.raises(InvalidInput, match="my agent"):
        Agent("scripted:echo", name="my agent")


@pytest.mark.parametrize(("yes", "large"), [(True, "erased b"), (False, "tool.rejected")])
async def test_code_of_a_lone_agent_calls_its_other_tools_and_the_same_person_is_asked(
    yes: bool, large: str
) -> None:
    asked: list[str] = []

    async def approve(wanted: ToolCallPart) -> bool:
        asked.append(f"{wanted.name} {wanted.args}")
        return yes

    code = """
try:
    erased = erase("b", token="t0p")
except RuntimeError as error:
    erased = str(error).partition(":")[0]
[note(text="a"), erased]
"""
    with ScriptedModel(ToolCall("run_code", {"code": code}), "done") as model:
        agent = Agent(model.model, tools=[note, erase, run_code], approve=approve)
        assert (await agent.call("go")).text == "done"
    said = model.asked[1].messages[-1]
    assert isinstance(said, ToolMessage)
    assert said.content == {"value": ["noted a", large], "printed": ""}
    assert asked == ["erase {'path': 'b', 'token': '[redacted]'}"]
