"""Supervisor and handoff: members as tools, conversations that change hands."""

from __future__ import annotations

import pytest
from pydantic import JsonValue

from partsong.agents import RoleLibrary
from partsong.contracts.errors import InvalidInput
from partsong.teams import Member, Player, handoff, supervisor
from partsong.testing import Fails, ToolCall
from partsong.testing.scripted import Answer
from partsong.workflow import WorkflowGraph
from tests.support.teams import model, models

DESK: dict[str, Player | Member] = {
    "front": Member(model("front"), "Greets people."),
    "billing": Member(model("billing"), "Questions about money."),
}


async def test_a_leader_gives_parts_to_its_members_and_answers_with_their_results() -> None:
    team = supervisor(
        model("leader"),
        {
            "research": Member(model("research"), "Finds things out."),
            "write": Member(model("write"), "Writes."),
        },
    )
    asks = [ToolCall("research", {"input": "tea"}), ToolCall("write", {"input": "a line"})]
    with models(leader=[asks, "Tea is old."], research=["2737 BC"], write=["It is old."]) as asked:
        result = await team.execute({"input": "Tell me of tea"})
    assert result.raise_for_status()["answer"] == "Tea is old."
    assert asked["research"].asked[0].messages[-1].text == "tea"
    assert [m.text for m in asked["leader"].asked[1].messages[-2:]] == ["2737 BC", "It is old."]
    assert "You lead a team" in asked["leader"].asked[0].instructions


async def test_a_member_that_fails_is_told_to_the_leader_who_goes_on() -> None:
    team = supervisor(model("leader"), {"research": Member(model("research"), "Finds out.")})
    script: dict[str, list[Answer]] = {
        "leader": [ToolCall("research", {"input": "tea"}), "I do not know."],
        "research": [Fails("auth", "no such key")],
    }
    with models(**script) as asked:
        result = await team.execute({"input": "Tell me of tea"})
    assert result.raise_for_status()["answer"] == "I do not know."
    assert "no such key" in asked["leader"].asked[1].messages[-1].text


async def test_a_whole_graph_is_a_member_with_parameters_and_a_result() -> None:
    sums = WorkflowGraph("sums").add_transform("sum", {"total": "state.a + state.b"})
    numbers: dict[str, JsonValue] = {
        "type": "object",
        "properties": {"a": {"type": "integer"}, "b": {"type": "integer"}},
    }
    member = Member(sums, "Adds two numbers.", parameters=numbers, result="total")
    with models(leader=[ToolCall("add", {"a": 2, "b": 3}), "5"]) as asked:
        result = await supervisor(model("leader"), {"add": member}).execute({"input": "2 + 3?"})
    assert result.raise_for_status()["answer"] == "5"
    assert asked["leader"].asked[1].messages[-1].text == "5"


async def test_a_conversation_goes_to_whoever_it_is_handed_to_and_back() -> None:
    script: dict[str, list[Answer]] = {
        "front": [
            ToolCall("transfer_to_billing", {"message": "She asks for her bill."}),
            "Anything else?",
        ],
        "billing": [ToolCall("transfer_to_front", {"message": "It is 5 $, say goodbye."})],
    }
    with models(**script) as asked:
        result = await handoff(DESK).execute({"input": "my bill?"})
    assert result.raise_for_status()["answer"] == "Anything else?"
    heard = [message.text for message in asked["billing"].asked[0].messages]
    assert (heard[0], heard[-1]) == ("my bill?", "She asks for her bill.")
    assert asked["front"].asked[1].messages[-1].text == "It is 5 $, say goodbye."


async def test_members_that_hand_over_without_end_meet_the_limit() -> None:
    script: dict[str, list[Answer]] = {
        "front": [ToolCall("transfer_to_billing", {"message": "you"})] * 2,
        "billing": [ToolCall("transfer_to_front", {"message": "no, you"})] * 2,
    }
    with models(**script):
        result = await handoff(DESK, max_visits=2).execute({"input": "my bill?"})
    assert result.status == "limit_exceeded"


def test_paths_say_who_may_hand_over_to_whom() -> None:
    graph = handoff(DESK, paths={"front": ["billing"]}).compile()
    assert [(edge.source, edge.to) for edge in graph.edges if edge.on] == [("front", "billing")]
    with pytest.raises(InvalidInput, match="paths name 'sales'"):
        handoff(DESK, paths={"front": ["sales"]})


def test_whom_work_is_passed_to_must_say_what_it_is_for() -> None:
    supervisor("test:l", {"dev": RoleLibrary.DEVELOPER}, model="test:m").compile()
    nameless: tuple[Player | Member, ...] = ("test:x", Member("test:x"))
    for player in nameless:
        members = {"x": player}
        with pytest.raises(InvalidInput) as refused:
            supervisor("test:l", members)
        assert refused.value.problem.code == "team.no_about"
    graph = Member(WorkflowGraph("g"), "A graph.")
    with pytest.raises(InvalidInput) as refused:
        handoff({**DESK, "graph": graph})
    assert refused.value.problem.code == "team.not_an_agent"
