"""Teams on the bus: the same graphs as in one process, with a person in between."""

from __future__ import annotations

from typing import cast

import pytest
from pydantic import JsonValue

from partsong.contracts.events import ApprovalRequested
from partsong.teams import Member, planner, software_team, supervisor
from partsong.testing import Fails, ToolCall, a_platform
from partsong.workflow import Edited, RunResult, WorkflowGraph
from tests.support.teams import ARTEFACTS, model, models, report, task

LOGIN = {**ARTEFACTS["prd"], "title": "Login by mail"}
PLAN: dict[str, JsonValue] = {"summary": "Two steps.", "tasks": [task("a"), task("b", "a")]}
EDITED: dict[str, JsonValue] = {
    "summary": "Three steps.",
    "tasks": [task("a"), task("c", doer="bob"), task("b", "a", "c", doer="bob")],
}


async def in_one_process(
    graph: WorkflowGraph, input: dict[str, JsonValue], edit: JsonValue = None
) -> RunResult:
    async def decide(_request: ApprovalRequested) -> bool | Edited:
        return Edited(edit)

    return await graph.execute(input, approve=decide)


async def on_the_bus(
    graph: WorkflowGraph, input: dict[str, JsonValue], edit: JsonValue, nats_url: str
) -> RunResult:
    async with a_platform(nats_url) as platform:
        run_id = await platform.client.start(graph, input)
        if edit is not None:
            await platform.decide(run_id, edit=edit)
        return await platform.client.result(run_id, timeout=60)


async def run(
    where: str,
    graph: WorkflowGraph,
    input: dict[str, JsonValue],
    nats_url: str,
    edit: JsonValue = None,
) -> RunResult:
    if where == "bus":
        return await on_the_bus(graph, input, edit, nats_url)
    return await in_one_process(graph, input, edit)


@pytest.mark.parametrize("where", ["process", "bus"])
async def test_a_software_team_with_edited_requirements_and_a_round_of_repair(
    where: str, nats_url: str
) -> None:
    graph = software_team(
        model("pm"),
        players={
            "developer": model("dev"),
            "qa_engineer": model("qa"),
            "architect": model("arch"),
            "devops_engineer": model("ops"),
        },
        approve=["requirements"],
    )
    with models(
        pm=[ARTEFACTS["prd"]],
        arch=[ARTEFACTS["design"]],
        dev=[ARTEFACTS["change_set"]] * 2,
        qa=[report("fail"), report("pass")],
        ops=[ARTEFACTS["deployment_plan"]],
    ) as asked:
        result = await run(where, graph, {"idea": "login"}, nats_url, edit=LOGIN)
    assert result.raise_for_status()["deployment_plan"] == ARTEFACTS["deployment_plan"]
    assert result["prd"] == LOGIN
    assert "Login by mail" in asked["arch"].asked[0].messages[-1].text


@pytest.mark.parametrize("where", ["process", "bus"])
async def test_an_edited_plan_is_carried_out(where: str, nats_url: str) -> None:
    workers = {
        "ann": Member(model("ann"), "Reads."),
        "bob": Member(model("bob"), "Writes."),
    }
    graph = planner(model("boss"), workers)
    with models(boss=[PLAN, "Done."], ann=["ra"], bob=["rc", "rb"]) as asked:
        result = await run(where, graph, {"goal": "a report"}, nats_url, edit=EDITED)
    done = cast("list[dict[str, JsonValue]]", result.raise_for_status()["done"])
    assert [each["result"] for each in done] == ["ra", "rc", "rb"]
    assert result["plan"] == EDITED
    last = asked["bob"].asked[1].messages[-1].text
    assert "ra" in last
    assert "rc" in last


@pytest.mark.parametrize("where", ["process", "bus"])
async def test_a_leader_goes_on_without_a_member_that_fails(where: str, nats_url: str) -> None:
    members = {
        "good": Member(model("good"), "Knows."),
        "bad": Member(model("bad"), "Knows not."),
    }
    both = [ToolCall("good", {"input": "x"}), ToolCall("bad", {"input": "x"})]
    with models(boss=[both, "It is y."], good=["y"], bad=[Fails("auth", "no such key")]) as asked:
        result = await run(where, supervisor(model("boss"), members), {"input": "x?"}, nats_url)
    assert result.raise_for_status()["answer"] == "It is y."
    results = [message.text for message in asked["boss"].asked[1].messages[-2:]]
    assert results[0] == "y"
    assert "no such key" in results[1]
