"""The agent's loop and approvals, as messages."""

from __future__ import annotations

import pytest
from pydantic import JsonValue

from partsong.contracts import events as e
from partsong.contracts.errors import InvalidInput, Problem
from partsong.contracts.graph import Graph, ReducerName
from partsong.contracts.graph.validate import parse_graph
from partsong.contracts.talk.messages import (
    AssistantMessage,
    TextPart,
    ToolCallPart,
    ToolMessage,
    UserMessage,
)
from tests.support.scenario import Scenario, given


def agent(**fields: object) -> Graph:
    spec = {"model": "scripted:echo", "tools": ["calculator"], **fields}
    node = {"type": "agent", "agent": spec, "prompt": "What is {{q}}?", "output": "answer"}
    return parse_graph({"name": "t", "nodes": {"a": node}})


def answer(
    run: Scenario, turn: int, *parts: TextPart | ToolCallPart, stop: str = "stop"
) -> Scenario:
    call = run.state.calls[f"a:1/t{turn}"]
    return run.when(
        e.AgentTurnCompleted(
            id=f"r_1.{call.id}.{call.attempt}.closed",
            call_id=call.id,
            attempt=call.attempt,
            message=AssistantMessage(parts=parts),
            stop=stop,
            provider="scripted",
            model="echo",
            usage=e.TurnUsage(input_total=10, output_total=5, cost=0.5),
        )
    )


def test_an_answer_without_tools_ends_the_node_and_lands_in_its_key() -> None:
    run = given(agent(), {"q": "love"}).then("node.scheduled a:1", "agent.turn.requested a:1/t1")
    assert run.state.executions["a:1"].messages == (UserMessage(text="What is love?"),)
    answer(run, 1, TextPart(text="42")).then("node.completed a:1", "run.completed")
    assert run.state.values == {"q": "love", "answer": "42"}
    assert run.state.usage.cost == 0.5


def test_tool_calls_of_a_turn_run_side_by_side_and_their_results_come_back_in_call_order() -> None:
    run = given(agent(), {"q": "x"})
    calls = [
        ToolCallPart(id=f"p{i}", name="calculator", args={"expression": str(i)}) for i in (0, 1)
    ]
    answer(run, 1, *calls, stop="tool_calls").then(
        "call.requested a:1/t1/c0", "call.requested a:1/t1/c1"
    )
    run.completes("a:1/t1/c1", content="one").then()
    run.completes("a:1/t1/c0", content="zero").then("agent.turn.requested a:1/t2")
    assert run.state.executions["a:1"].messages[2:] == (
        ToolMessage(call_id="p0", name="calculator", content="zero"),
        ToolMessage(call_id="p1", name="calculator", content="one"),
    )
    answer(run, 2, TextPart(text="done"))
    assert run.state.values["answer"] == "done"
    assert run.refolded == run.state


def test_a_tool_that_fails_is_an_error_result_for_the_model_not_the_end_of_the_run() -> None:
    run = given(agent(), {"q": "x"})
    answer(run, 1, ToolCallPart(id="p", name="calculator", args={}), stop="tool_calls")
    run.fails("a:1/t1/c0", code="tool.raised").then("agent.turn.requested a:1/t2")
    result = run.state.executions["a:1"].messages[-1]
    assert isinstance(result, ToolMessage)
    assert result.is_error


def test_max_turns_ends_the_node_with_a_typed_error() -> None:
    run = given(agent(max_turns=1), {"q": "x"})
    answer(run, 1, ToolCallPart(id="p", name="calculator", args={}), stop="tool_calls")
    run.completes("a:1/t1/c0", content=1)
    assert run.state.error is not None
    assert run.state.error.code == "agent.max_turns"


@pytest.mark.parametrize("stop", ["length", "refusal", "blocked", "malformed_tool_call"])
def test_an_answer_that_did_not_end_well_is_no_success(stop: str) -> None:
    run = answer(given(agent(), {"q": "x"}), 1, TextPart(text="half an"), stop=stop)
    assert run.state.error is not None
    assert run.state.error.code == f"agent.{stop}"


def test_a_rate_limit_waits_as_long_as_the_provider_asked() -> None:
    run = given(agent(), {"q": "x"})
    problem = Problem(
        code="provider.rate_limited", message="slow down", retryable=True, fault="provider"
    )
    run.when(
        e.AgentTurnFailed(
            id="r_1.a:1/t1.1.closed", call_id="a:1/t1", attempt=1, error=problem, retry_after=90.0
        )
    ).then("timer.set a:1/t1")
    assert run.state.timers["a:1/t1/r1"].at == "2026-01-01T00:01:30.000Z"
    run.fires("a:1/t1/r1").then("agent.turn.requested a:1/t1")
    assert run.state.calls["a:1/t1"].attempt == 2


def test_a_lapsed_turn_is_asked_for_again_at_once() -> None:
    run = given(agent(), {"q": "x"})
    run.when(e.AgentTurnClaimed(id="c", call_id="a:1/t1", attempt=1, worker="w"))
    run.when(e.CallLapsed(id="l", call_id="a:1/t1", attempt=1, worker="w")).then(
        "agent.turn.requested a:1/t1"
    )


def test_a_prompt_with_an_unknown_key_fails_the_node_before_anybody_is_asked() -> None:
    run = given(agent(), {})
    assert run.state.error is not None
    assert run.state.error.code == "template.unknown_key"
    assert not any(event.type == "agent.turn.requested" for event in run.log)


def tool_graph() -> Graph:
    return parse_graph(
        {"name": "t", "nodes": {"t": {"type": "tool", "tool": "mail", "args": {"to": "{{to}}"}}}}
    )


def test_a_lapsed_tool_call_is_never_silently_run_again_a_person_is_asked() -> None:
    run = given(tool_graph(), {"to": "bob"})
    run.when(e.CallClaimed(id="c", call_id="t:1", attempt=1, worker="w"))
    run.when(e.CallLapsed(id="l", call_id="t:1", attempt=1, worker="w")).then(
        "approval.requested t:1/u1"
    )
    run.decides("t:1/u1", "approve").then("call.requested t:1")
    assert run.state.calls["t:1"].attempt == 2


def test_a_lapsed_tool_call_that_must_not_run_again_fails_as_unknown() -> None:
    run = given(tool_graph(), {"to": "bob"})
    run.when(e.CallClaimed(id="c", call_id="t:1", attempt=1, worker="w"))
    run.when(e.CallLapsed(id="l", call_id="t:1", attempt=1, worker="w")).decides("t:1/u1", "reject")
    assert run.state.error is not None
    assert run.state.error.code == "call.outcome_unknown"


def approval(**fields: object) -> Graph:
    ok = {"type": "approval", "title": "Pay {{amount}}?", "show": ["amount"], **fields}
    after = {"type": "function", "function": "m:f"}
    return parse_graph(
        {"name": "t", "nodes": {"ok": ok, "pay": after}, "edges": [{"from": "ok", "to": "pay"}]}
    )


def test_an_approval_asks_with_what_it_was_told_to_show_and_waits() -> None:
    run = given(approval(), {"amount": 5, "secret": 1})
    asked = run.new[-1]
    assert isinstance(asked, e.ApprovalRequested)
    assert (asked.title, asked.context) == ("Pay 5?", {"amount": 5})
    assert run.state.phase == "waiting"
    assert "approval ok:1" in str(run.state.waits_on)


def test_approved_goes_on_and_the_decision_is_in_the_state() -> None:
    run = given(approval(), {"amount": 5}).decides("ok:1", "approve", reason="fine")
    run.then("node.completed ok:1", "node.scheduled pay:1", "call.requested pay:1")
    assert run.state.values["ok"] == {"decision": "approve", "by": "ann", "reason": "fine"}


PLAN: dict[str, object] = {
    "show": [],
    "editable": "plan",
    "edit_schema": {"type": "array", "items": {"type": "string"}},
}


def test_what_may_be_edited_is_shown_with_its_schema() -> None:
    run = given(approval(**PLAN), {"amount": 5, "plan": ["a"]})
    asked = run.new[-1]
    assert isinstance(asked, e.ApprovalRequested)
    assert (asked.context, asked.editable) == ({"plan": ["a"]}, "plan")
    assert asked.edit_schema == PLAN["edit_schema"]


@pytest.mark.parametrize("reducers", [{}, {"plan": "append"}])
def test_an_edit_takes_the_place_of_the_value_whatever_its_reducer(
    reducers: dict[str, ReducerName],
) -> None:
    graph = approval(**PLAN).model_copy(update={"reducers": reducers})
    run = given(graph, {"amount": 5, "plan": ["a"]}).decides("ok:1", "approve", edited=["b", "c"])
    assert run.state.values["plan"] == ["b", "c"]
    assert run.work("pay:1").state["plan"] == ["b", "c"]
    assert run.refolded == run.state


def test_an_approval_without_an_edit_leaves_the_value_as_it_was() -> None:
    run = given(approval(**PLAN), {"amount": 5, "plan": ["a"]}).decides("ok:1", "approve")
    assert run.state.values["plan"] == ["a"]


def test_an_edit_gives_a_value_to_a_key_that_had_none() -> None:
    run = given(approval(**PLAN), {"amount": 5}).decides("ok:1", "approve", edited=["b"])
    assert run.state.values["plan"] == ["b"]


@pytest.mark.parametrize(
    ("fields", "edited", "code"),
    [(PLAN, ["b", 3], "approval.bad_edit"), ({}, 3, "approval.not_editable")],
)
def test_an_edit_that_came_past_the_service_is_checked_again(
    fields: dict[str, object], edited: JsonValue, code: str
) -> None:
    run = given(approval(**fields), {"amount": 5, "plan": ["a"]})
    run.decides("ok:1", "approve", edited=edited).stands("failed")
    assert run.state.error is not None
    assert run.state.error.code == code
    assert run.state.values.get("plan") == ["a"]


def test_a_schema_for_an_edit_needs_the_key_that_is_edited() -> None:
    with pytest.raises(InvalidInput, match="edit_schema belongs to editable"):
        approval(edit_schema={"type": "string"})
    with pytest.raises(InvalidInput, match="not a JSON Schema"):
        approval(editable="plan", edit_schema={"type": "strin"})


def test_rejected_without_an_edge_for_it_fails_the_run_with_who_and_why() -> None:
    run = given(approval(), {"amount": 5}).decides("ok:1", "reject", reason="too much")
    assert run.state.error is not None
    assert run.state.error.code == "approval.rejected"
    assert "ann: too much" in run.state.error.message


def test_a_second_decision_changes_nothing() -> None:
    run = given(approval(), {"amount": 5}).decides("ok:1", "approve")
    assert run.decides("ok:1", "reject").new == []
    assert "pay:1" in run.state.executions


@pytest.mark.parametrize(("otherwise", "status"), [("approve", "running"), ("reject", "failed")])
def test_a_deadline_closes_the_approval_with_its_default(otherwise: str, status: str) -> None:
    run = given(approval(deadline="1h", otherwise=otherwise), {"amount": 5})
    assert run.state.timers["ok:1/deadline"].at == "2026-01-01T01:00:00.000Z"
    run.fires("ok:1/deadline")
    assert any(event.type == "approval.expired" for event in run.log)
    assert run.state.status == status


def test_cancel_closes_open_guarded_calls_and_ends_the_run() -> None:
    run = given(approval(), {"amount": 5})
    run.when(e.RunStopping(id="s", outcome="cancelled", reason="changed my mind"))
    run.then("call.cancelled ok:1", "run.cancelled")
    assert run.state.status == "cancelled"
    assert run.refolded == run.state
