"""Approvers in one process: what they return, what they raise, and what they change."""

from __future__ import annotations

import asyncio

import pytest

from partsong.contracts.events import ApprovalRequested
from partsong.testing import ScriptedModel, ToolCall
from partsong.tools import tool
from partsong.workflow import AgentSpec, Approved, Edited, Rejected, TaskScheduler, WorkflowGraph

NO = ("no", 1, None, (False, "too risky"), {"approve": False}, ["no"])
PATIENCE = 30


class Desk:
    """Wipes disks, if a person agrees."""

    def __init__(self) -> None:
        self.wiped: list[str] = []

    def graph(self, deadline: float | None = None) -> WorkflowGraph:
        @tool(side_effect="destructive", approval="always")
        def wipe(disk: str) -> str:
            """Wipe a disk."""
            self.wiped.append(disk)
            return f"wiped {disk}"

        spec = AgentSpec(model="test:m", tools=("wipe",), approval_deadline=deadline)
        return WorkflowGraph("desk", tools=[wipe]).add_agent("a", spec)


def asks_for(*disks: str) -> ScriptedModel:
    return ScriptedModel(
        *(ToolCall("wipe", {"disk": disk}) for disk in disks), "end", model="test:m"
    )


@pytest.mark.parametrize("answer", NO)
async def test_what_is_no_yes_lets_no_tool_run_and_says_what_it_was(answer: object) -> None:
    desk = Desk()
    with asks_for("/") as model:
        result = await desk.graph().execute({"input": "x"}, approve=lambda _asked: answer)  # type: ignore[arg-type,return-value]
    assert (result.status, desk.wiped) == ("completed", [])
    told = model.asked[1].messages[-1].text
    assert "approval.unclear" in told
    assert f"{answer!r}" in told


@pytest.mark.parametrize("answer", NO)
async def test_what_is_no_yes_approves_no_node_and_no_task(answer: object) -> None:
    graph = WorkflowGraph("deploy").add_approval("ok", title="Deploy?")
    graph.add_node("deploy", lambda _state: {"deployed": True})
    graph.add_edge("ok", "deploy")
    result = await graph.execute({}, approve=lambda _asked: answer)  # type: ignore[arg-type,return-value]
    assert (result.status, result.error.code if result.error else None) == (
        "failed",
        "approval.rejected",
    )
    assert "approval.unclear" in str(result.error)

    scheduler = TaskScheduler({"w": "scripted:echo"}, approve=lambda _asked: answer)  # type: ignore[arg-type,return-value]
    done = await scheduler.execute_task_with_approval("Deploy", "w")
    assert done.status == "rejected"
    assert "approval.unclear" in str(done.error)


def broken(_asked: ApprovalRequested) -> bool:
    raise ValueError("the inbox is down")


async def broken_later(_asked: ApprovalRequested) -> bool:
    await asyncio.sleep(0)
    raise ValueError("the inbox is down")


@pytest.mark.parametrize("approve", [broken, broken_later])
async def test_an_approver_that_raises_refuses_and_says_so(approve: object) -> None:
    desk = Desk()
    with asks_for("/") as model:
        async with asyncio.timeout(PATIENCE):
            result = await desk.graph().execute({"input": "x"}, approve=approve)  # type: ignore[arg-type]
    assert (result.status, desk.wiped) == ("completed", [])
    assert "ValueError: the inbox is down" in model.asked[1].messages[-1].text


async def test_decisions_carry_their_reasons_into_the_log() -> None:
    desk = Desk()
    answers: list[Approved | Rejected] = [Rejected("still mounted"), Approved("unmounted now")]
    with asks_for("/", "/") as model:
        result = await desk.graph().execute({"input": "x"}, approve=lambda _asked: answers.pop(0))
    assert desk.wiped == ["/"]
    assert model.asked[1].messages[-1].text.endswith("still mounted")
    reasons = [event.reason for event in result.events if event.type == "approval.decided"]
    assert reasons == ["still mounted", "unmounted now"]


@pytest.mark.parametrize(
    ("edit", "told"),
    [
        ({"disk": 3}, "approval.bad_edit"),
        ({"disk": "/tmp", "deep": True}, "approval.bad_edit"),
        ("/tmp", "approval.bad_edit"),
    ],
)
async def test_other_arguments_have_to_fit_the_tool(edit: object, told: str) -> None:
    desk = Desk()
    with asks_for("/") as model:
        await desk.graph().execute({"input": "x"}, approve=lambda _asked: Edited(edit))
    assert desk.wiped == []
    assert told in model.asked[1].messages[-1].text


async def test_other_arguments_are_those_that_the_tool_is_called_with() -> None:
    desk = Desk()
    with asks_for("/") as model:
        await desk.graph().execute(
            {"input": "x"}, approve=lambda asked: Edited({**asked.context, "disk": "/tmp"})
        )
    assert desk.wiped == ["/tmp"]
    assert '"arguments_changed_by_a_person":{"disk":"/tmp"}' in model.asked[1].messages[-1].text


async def test_a_deadline_refuses_where_an_approver_never_answers() -> None:
    async def never(_asked: ApprovalRequested) -> bool:
        await asyncio.Event().wait()
        return True

    desk = Desk()
    with asks_for("/") as model:
        async with asyncio.timeout(PATIENCE):
            graph = desk.graph(deadline=0.05)
            result = await graph.execute({"input": "x"}, approve=never)
    assert (result.status, desk.wiped) == ("completed", [])
    assert model.asked[1].messages[-1].text.startswith("approval.expired")
