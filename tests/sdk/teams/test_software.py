"""The software team: typed artefacts in the order of the roles' watches, rounds of repair, approvals."""

from __future__ import annotations

import json

import pytest

from partsong.agents import AgentRole, RoleLibrary
from partsong.contracts.errors import InvalidInput
from partsong.contracts.events import ApprovalRequested
from partsong.contracts.graph import AgentNode
from partsong.teams import Player, software_team
from partsong.testing import Fails
from partsong.testing.scripted import Answer
from partsong.workflow import Edited
from tests.support.teams import ARTEFACTS, model, models, report

ROLES = tuple(RoleLibrary.roles())
PLAYERS: dict[str, Player] = {role: model(role) for role in ROLES}


def answers(*verdicts: str, developer: int = 1, deploys: bool = True) -> dict[str, list[Answer]]:
    return {
        "product_manager": [ARTEFACTS["prd"]],
        "architect": [ARTEFACTS["design"]],
        "developer": [ARTEFACTS["change_set"]] * developer,
        "qa_engineer": [report(verdict) for verdict in verdicts],
        "devops_engineer": [ARTEFACTS["deployment_plan"]] if deploys else [],
    }


async def test_artefacts_go_from_role_to_role_until_there_is_a_deployment_plan() -> None:
    with models(**answers("pass")) as asked:
        result = await software_team(players=PLAYERS).execute({"idea": "login"})
    assert result.raise_for_status()["deployment_plan"] == ARTEFACTS["deployment_plan"]
    assert {key: result[key] for key in ARTEFACTS} == ARTEFACTS
    assert asked["product_manager"].asked[0].messages[-1].text == "login"
    for who, sees in (("architect", "prd"), ("developer", "design"), ("qa_engineer", "change_set")):
        assert json.dumps(ARTEFACTS[sees]) in asked[who].asked[0].messages[-1].text


async def test_a_change_that_fails_the_test_goes_back_with_the_report() -> None:
    with models(**answers("fail", "pass", developer=2)) as asked:
        result = await software_team(players=PLAYERS).execute({"idea": "login"})
    assert result.raise_for_status()["test_report"] == report("pass")
    first, second = (request.messages[-1].text for request in asked["developer"].asked)
    assert "fail!" not in first
    assert "fail!" in second
    assert json.dumps(ARTEFACTS["change_set"]) in second


async def test_a_change_that_never_passes_ends_the_run_at_its_limit_and_is_not_deployed() -> None:
    with models(**answers("fail", "fail", "fail", developer=3, deploys=False)):
        result = await software_team(players=PLAYERS, max_rounds=2).execute({"idea": "login"})
    assert result.status == "limit_exceeded"
    assert result.error is not None
    assert "repair" in result.error.message
    assert result["test_report"] == report("fail")
    assert "deployment_plan" not in result


async def test_a_member_that_fails_ends_the_run_and_what_was_made_is_kept() -> None:
    said = {**answers("pass", developer=0, deploys=False), "qa_engineer": []}
    said["developer"] = [Fails("auth", "no such key")]
    with models(**said):
        result = await software_team(players=PLAYERS).execute({"idea": "login"})
    assert (result.status, result["design"]) == ("failed", ARTEFACTS["design"])
    assert result.error is not None
    assert "no such key" in result.error.message
    assert result.error.where == "nodes.develop"


async def test_a_person_approves_and_edits_the_requirements_and_the_deployment() -> None:
    edited = {**ARTEFACTS["prd"], "title": "Login by mail"}
    titles: list[str] = []

    async def decide(request: ApprovalRequested) -> bool | Edited:
        titles.append(request.title)
        return Edited(edited) if request.editable == "prd" else True

    team = software_team(players=PLAYERS, approve=["requirements", "deployment"])
    with models(**answers("pass")) as asked:
        result = await team.execute({"idea": "login"}, approve=decide)
    assert result.raise_for_status()["prd"] == edited
    assert titles == ["Build this: Login?", "Deploy this: Roll out to 1 %.?"]
    assert "Login by mail" in asked["architect"].asked[0].messages[-1].text


async def test_requirements_that_are_rejected_are_not_built() -> None:
    async def no(_request: ApprovalRequested) -> bool:
        return False

    team = software_team(model("pm"), approve=["requirements"])
    with models(pm=[ARTEFACTS["prd"]]):
        result = await team.execute({"idea": "login"}, approve=no)
    assert result.error is not None
    assert result.error.code == "approval.rejected"
    assert "design" not in result


def test_every_edge_between_roles_is_one_that_a_role_watches() -> None:
    graph = software_team("scripted:summary").compile()
    roles = {role.prompt(): role for role in RoleLibrary.roles().values()}
    playing = {
        name: roles[node.agent.instructions]
        for name, node in graph.nodes.items()
        if isinstance(node, AgentNode)
    }
    assert playing.keys() == graph.nodes.keys()
    assert "request" in playing[graph.entry].watches
    for edge in graph.edges:
        assert playing[edge.source].output in playing[edge.to].watches, edge


def test_a_role_of_ones_own_takes_a_part_and_keeps_the_artefact_of_its_place() -> None:
    tester = AgentRole(name="Tester", goal="Break it.")
    graph = software_team("openai:gpt-5.4", players={"qa_engineer": tester}).compile()
    node = graph.nodes["test"]
    assert isinstance(node, AgentNode)
    assert node.agent.instructions == "You are the Tester. Break it."
    assert node.agent.model == "openai:gpt-5.4"
    assert node.agent.output_schema == RoleLibrary.QA_ENGINEER.spec().output_schema


def test_a_part_that_there_is_not_is_refused() -> None:
    with pytest.raises(InvalidInput, match="a software team has no 'boss'"):
        software_team(players={"boss": "test:boss"})


async def test_without_a_key_the_whole_team_plays(monkeypatch: pytest.MonkeyPatch) -> None:
    for key in ("ANTHROPIC_API_KEY", "OPENAI_API_KEY", "GOOGLE_API_KEY", "GEMINI_API_KEY"):
        monkeypatch.delenv(key, raising=False)
    result = await software_team().execute({"idea": "Define login"})
    assert result.raise_for_status()["deployment_plan"]
