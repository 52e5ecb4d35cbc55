"""Debate and round robin: who hears what, when it ends, what a failure leaves."""

from __future__ import annotations

import pytest
from pydantic import JsonValue

from partsong.agents import Agent
from partsong.contracts.errors import InvalidInput
from partsong.teams import Player, debate, round_robin
from partsong.testing import Fails
from tests.support.teams import lines, model, models

SIDES: dict[str, Player] = {"pro": model("pro"), "con": model("con")}
VERDICT: dict[str, JsonValue] = {"winner": "con", "reason": "It costs less.", "unresolved": []}


async def test_a_debate_hears_all_sides_each_round_and_then_the_judge() -> None:
    team = debate(SIDES, model("judge"), rounds=2)
    with models(pro=["p1", "p2"], con=["c1", "c2"], judge=[VERDICT]) as asked:
        result = await team.execute({"question": "Tabs?"})
    assert result.raise_for_status()["verdict"] == VERDICT
    assert [(line["round"], line["by"], line["says"]) for line in lines(result, "said")] == [
        (1, "pro", "p1"), (1, "con", "c1"), (2, "pro", "p2"), (2, "con", "c2"),
    ]  # fmt: skip
    opening, rebuttal = (request.messages[-1].text for request in asked["pro"].asked)
    assert "c1" not in opening
    assert "c1" in rebuttal
    assert "p1" in rebuttal
    assert "You are pro in a debate of 2 rounds with con." in asked["pro"].asked[0].instructions
    assert "c2" in asked["judge"].asked[0].messages[-1].text


async def test_a_judge_may_name_only_a_side_or_none() -> None:
    wrong = {**VERDICT, "winner": "me"}
    with models(pro=["p"], con=["c"], judge=[wrong, VERDICT]) as asked:
        result = await debate(SIDES, model("judge"), rounds=1).execute({"question": "Tabs?"})
    assert result.raise_for_status()["verdict"] == VERDICT
    assert '"me" is not one of "pro", "con" or "none"' in asked["judge"].asked[1].messages[-1].text


async def test_a_debate_without_one_of_its_sides_is_not_judged() -> None:
    with models(pro=["p"], con=[Fails("auth", "no such key")], judge=[]):
        result = await debate(SIDES, model("judge")).execute({"question": "Tabs?"})
    assert (result.status, "verdict" in result) == ("failed", False)
    assert result.error is not None
    assert result.error.where == "nodes.con"


async def test_everybody_speaks_in_turn_as_often_as_there_are_rounds() -> None:
    with models(pro=["p1", "p2"], con=["c1", "c2"]) as asked:
        result = await round_robin(SIDES, rounds=2).execute({"task": "A slogan."})
    assert [line["says"] for line in lines(result, "said")] == ["p1", "c1", "p2", "c2"]
    assert "p1" in asked["con"].asked[0].messages[-1].text


async def test_a_round_ends_as_soon_as_the_condition_holds() -> None:
    team = round_robin(SIDES, rounds=5, until='state.last.contains("DONE")')
    with models(pro=["p1", "DONE"], con=["c1"]):
        result = await team.execute({"task": "A slogan."})
    assert [line["says"] for line in lines(result, "said")] == ["p1", "c1", "DONE"]


async def test_an_agent_object_plays_with_its_own_tools_and_is_told_its_part() -> None:
    def slogan() -> str:
        """The slogan."""
        return "Tea!"

    talker = Agent("scripted:tool", tools=[slogan], instructions="Be loud.", name="talker")
    team = round_robin({"talker": talker, "con": model("con")}, rounds=1)
    with models(con=["c"]):
        result = await team.execute({"task": 'Call "slogan"'})
    assert lines(result, "said")[0]["says"] == "The result is Tea!."


@pytest.mark.parametrize(
    ("members", "code"),
    [
        ({"pro": "test:pro"}, "team.too_small"),
        ({**SIDES, "round": "test:r"}, "team.reserved_name"),
        ({**SIDES, "third": "nonsense"}, "agent.malformed"),
    ],
)
def test_members_that_cannot_be_are_refused(members: dict[str, Player], code: str) -> None:
    for make in (round_robin, lambda found: debate(found, "test:judge")):
        with pytest.raises(InvalidInput) as refused:
            make(members)
        assert refused.value.problem.code == code
