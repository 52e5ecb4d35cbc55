"""Tool calls that wait: for a person who must agree, and for the tools that code calls."""

from __future__ import annotations

import pytest
from pydantic import JsonValue

from partsong.contracts import events as e
from partsong.contracts.errors import Problem
from partsong.contracts.graph import Graph
from partsong.contracts.graph.validate import parse_graph
from partsong.contracts.state.tool_calls import UNAPPROVED, digest_of
from partsong.contracts.talk.messages import AssistantMessage, TextPart, ToolCallPart, ToolMessage
from partsong.contracts.wire.work import Resume, ToolWork
from partsong.engine.commands import runs
from partsong.engine.work.hints import work_of
from tests.support.scenario import NOW, Scenario, given


def node(**fields: JsonValue) -> Graph:
    about: dict[str, JsonValue] = {"type": "tool", "tool": "pay", "args": {"sum": 5}, **fields}
    return parse_graph({"name": "t", "nodes": {"a": about}})


def agent(*tools: str, **more: JsonValue) -> Graph:
    spec: dict[str, JsonValue] = {"model": "scripted:echo", "tools": list(tools), **more}
    return parse_graph({"name": "t", "nodes": {"a": {"type": "agent", "agent": spec}}})


def called(graph: Graph, name: str, args: dict[str, JsonValue]) -> Scenario:
    """An agent whose first turn calls a tool."""
    message = AssistantMessage(parts=(ToolCallPart(id="p", name=name, args=args),))
    return given(graph, {"input": "x"}).when(_turn(1, message, "tool_calls"))


def _turn(number: int, message: AssistantMessage, stop: str) -> e.AgentTurnCompleted:
    return e.AgentTurnCompleted(
        id=f"t{number}",
        call_id=f"a:1/t{number}",
        attempt=1,
        message=message,
        stop=stop,
        provider="scripted",
        model="echo",
    )


def needs_approval(run: Scenario, call_id: str, **args: JsonValue) -> Scenario:
    """A tool-runner does not make the call."""
    call = run.state.calls[call_id]
    return run.when(
        e.CallFailed(
            id=f"{call_id}.{call.attempt}.closed",
            call_id=call_id,
            attempt=call.attempt,
            error=Problem(code=UNAPPROVED, message="ask somebody"),
            unapproved=e.Unapproved(args=args, digest=digest_of(args)),
        )
    )


def suspends(run: Scenario, call_id: str, tool: str, **args: JsonValue) -> Scenario:
    """The code that a tool runs calls another one."""
    attempt = run.state.calls[call_id].attempt
    return run.when(
        e.CallSuspended(
            id=f"{call_id}.{attempt}.closed",
            call_id=call_id,
            attempt=attempt,
            tool=tool,
            args=args,
            snapshot=f"s{attempt}",
        )
    )


def work(run: Scenario, call_id: str) -> ToolWork:
    found = work_of(run.state, run.state.calls[call_id])
    assert isinstance(found, ToolWork)
    return found


def test_a_person_is_asked_before_a_tool_node_calls_and_who_agreed_stands_in_the_next_attempt() -> (
    None
):
    run = given(node())
    assert work(run, "a:1").approved is None
    needs_approval(run, "a:1", sum=5).then("approval.requested a:1/p1")
    (asked,) = run.new
    assert isinstance(asked, e.ApprovalRequested)
    assert (asked.title, asked.context) == ("Call the tool pay?", {"sum": 5})
    assert asked.deadline is None
    assert run.state.phase == "waiting"
    run.decides("a:1/p1", "approve", by="ann").then("call.requested a:1")
    assert (work(run, "a:1").attempt, work(run, "a:1").approved) == (2, "ann")
    run.completes("a:1", content="paid").then("node.completed a:1", "run.completed")
    assert run.refolded == run.state


def test_a_refused_tool_node_fails_with_who_and_why() -> None:
    run = needs_approval(given(node()), "a:1", sum=5)
    run.decides("a:1/p1", "reject", by="bob", reason="too much").stands("failed")
    assert run.state.error is not None
    assert run.state.error.code == "approval.rejected"
    assert "bob" in run.state.error.message
    assert "too much" in run.state.error.message


def test_a_refused_call_of_a_model_is_an_error_result_and_its_turn_goes_on() -> None:
    run = needs_approval(called(agent("pay"), "pay", {"sum": 9}), "a:1/t1/c0", sum=9)
    run.decides("a:1/t1/c0/p1", "reject", reason="no").then("agent.turn.requested a:1/t2")
    said = run.state.executions["a:1"].messages[-1]
    assert isinstance(said, ToolMessage)
    assert said.is_error
    assert said.text == "approval.rejected: ann did not agree to this call of pay: no"
    assert run.refolded == run.state


def test_an_approved_call_of_a_model_is_made() -> None:
    run = needs_approval(called(agent("pay"), "pay", {"sum": 9}), "a:1/t1/c0", sum=9)
    run.decides("a:1/t1/c0/p1", "approve").then("call.requested a:1/t1/c0")
    run.completes("a:1/t1/c0", content="paid").then("agent.turn.requested a:1/t2")
    said = run.state.executions["a:1"].messages[-1]
    assert (said.text, isinstance(said, ToolMessage) and said.is_error) == ("paid", False)


def test_from_which_side_effect_on_an_agent_asks_is_in_the_hint() -> None:
    assert work(called(agent("pay", asks="read"), "pay", {}), "a:1/t1/c0").asks == "read"
    assert work(given(node()), "a:1").asks is None


def test_what_was_approved_may_be_retried_as_often_as_the_node_says() -> None:
    run = needs_approval(given(node(retry={"attempts": 3, "initial": 0})), "a:1", sum=5)
    run.decides("a:1/p1", "approve")
    run.fails("a:1", code="tool.raised").then("call.requested a:1")
    assert (work(run, "a:1").attempt, work(run, "a:1").approved) == (3, "ann")


def test_after_a_retry_of_the_run_people_are_asked_again() -> None:
    run = needs_approval(given(node()), "a:1", sum=5).decides("a:1/p1", "approve")
    run.fails("a:1", code="tool.raised", retryable=False).stands("failed")
    run.retries().stands("running")
    assert (work(run, "a:1").attempt, work(run, "a:1").approved) == (3, None)
    needs_approval(run, "a:1", sum=5).then("approval.requested a:1/p3")
    run.decides("a:1/p3", "approve").completes("a:1", content=1).stands("completed")
    assert run.refolded == run.state


def test_a_question_that_was_open_when_the_run_was_cancelled_is_asked_anew_after_a_retry() -> None:
    run = needs_approval(given(node()), "a:1", sum=5)
    run.when(*runs.cancel(run.state, None, "q", NOW)).stands("cancelled")
    run.retries()
    needs_approval(run, "a:1", sum=5).then("approval.requested a:1/p2")


def test_in_a_fork_what_people_agreed_to_is_asked_again() -> None:
    source = needs_approval(given(node()), "a:1", sum=5).decides("a:1/p1", "approve")
    assert source.state.calls["a:1"].approved == "ann"
    fork = Scenario.forked(source.state, 5, "r_2")
    assert work(fork, "a:1").approved is None
    needs_approval(fork, "a:1", sum=5).then("approval.requested a:1/p3")


def editable(run: Scenario, call_id: str, deadline: float | None = None) -> Scenario:
    """A tool-runner does not make the call, and says what else a person may agree to."""
    call = run.state.calls[call_id]
    about = e.Unapproved(
        args={"sum": 5},
        digest=digest_of({"sum": 5}),
        edit_schema={"type": "object", "required": ["sum"]},
        deadline=deadline,
    )
    return run.when(
        e.CallFailed(
            id=f"{call_id}.{call.attempt}.closed",
            call_id=call_id,
            attempt=call.attempt,
            error=Problem(code=UNAPPROVED, message="ask somebody"),
            unapproved=about,
        )
    )


def test_a_person_may_agree_to_other_arguments_and_a_retry_keeps_them() -> None:
    run = editable(given(node(retry={"attempts": 3, "initial": 0})), "a:1")
    asked = run.new[-1]
    assert isinstance(asked, e.ApprovalRequested)
    assert (asked.editable, asked.edit_schema) == (
        "arguments",
        {"type": "object", "required": ["sum"]},
    )
    run.decides("a:1/p1", "approve", by="ann", edited={"sum": 3})
    assert (work(run, "a:1").args, work(run, "a:1").approved) == ({"sum": 3}, "ann")
    run.fails("a:1", retryable=True)
    assert (work(run, "a:1").attempt, work(run, "a:1").args) == (3, {"sum": 3})
    assert run.refolded == run.state


def test_a_model_is_told_which_arguments_were_taken() -> None:
    run = editable(called(agent("pay"), "pay", {"sum": 5}), "a:1/t1/c0")
    run.decides("a:1/t1/c0/p1", "approve", edited={"sum": 3})
    run.completes("a:1/t1/c0", content="paid 3")
    said = run.state.executions["a:1"].messages[-1]
    assert isinstance(said, ToolMessage)
    assert said.content == {"arguments_changed_by_a_person": {"sum": 3}, "result": "paid 3"}


@pytest.mark.parametrize(
    ("graph", "of_the_tool", "at"),
    [
        (node(), 60.0, "2026-01-01T00:01:00.000Z"),
        (node(approval_deadline="2m"), None, "2026-01-01T00:02:00.000Z"),
        (node(approval_deadline="2m"), 60.0, "2026-01-01T00:01:00.000Z"),
    ],
)
def test_a_question_about_a_tool_has_a_deadline(
    graph: Graph, of_the_tool: float | None, at: str
) -> None:
    run = editable(given(graph), "a:1", of_the_tool)
    assert run.state.timers["a:1/p1/deadline"].at == at
    run.fires("a:1/p1/deadline")
    assert run.state.error is not None
    assert run.state.error.code == "approval.expired"
    assert run.refolded == run.state


def test_a_model_is_told_that_nobody_agreed_in_time() -> None:
    run = editable(called(agent("pay", approval_deadline=60), "pay", {"sum": 5}), "a:1/t1/c0")
    run.fires("a:1/t1/c0/p1/deadline").then(
        "approval.expired a:1/t1/c0/p1", "agent.turn.requested a:1/t2"
    )
    said = run.state.executions["a:1"].messages[-1]
    assert isinstance(said, ToolMessage)
    assert said.text.startswith("approval.expired")


def test_a_decision_about_another_attempt_approves_nothing() -> None:
    run = needs_approval(given(node()), "a:1", sum=5)
    run.decides("a:1/p2", "approve").then()
    run.decides("a:1", "approve").then()
    assert run.state.calls["a:1"].attempt == 1


def code(run: Scenario | None = None) -> Scenario:
    return run or called(agent("run_code", "pay"), "run_code", {"code": "pay(sum=1)"})


OUTER = "a:1/t1/c0"


def test_code_may_call_the_other_tools_of_its_agent_and_those_that_its_node_names() -> None:
    assert work(code(), OUTER).tools == ("pay",)
    assert work(given(node(tool="run_code", tools=["pay"])), "a:1").tools == ("pay",)
    assert work(given(node(tool="run_code")), "a:1").tools == ()


def test_code_that_calls_a_tool_goes_on_with_its_result() -> None:
    run = suspends(code(), OUTER, "pay", sum=1).then(f"call.requested {OUTER}/n1")
    nested = work(run, f"{OUTER}/n1")
    assert (nested.tool, nested.args, nested.tools) == ("pay", {"sum": 1}, ())
    run.completes(f"{OUTER}/n1", content="paid").then(f"call.requested {OUTER}")
    assert work(run, OUTER).resume == Resume(snapshot="s1", result="paid")
    suspends(run, OUTER, "pay", sum=2).then(f"call.requested {OUTER}/n2")
    run.completes(f"{OUTER}/n2", content="again")
    assert work(run, OUTER).resume == Resume(snapshot="s2", result="again")
    run.completes(OUTER, content="done").then("agent.turn.requested a:1/t2")
    run.when(_turn(2, AssistantMessage(parts=(TextPart(text="ok"),)), "stop")).stands("completed")
    assert run.refolded == run.state


@pytest.mark.parametrize("turn", [1, 2])
def test_what_code_calls_counts_like_any_other_tool_call(turn: int) -> None:
    spec = agent("run_code", "pay", max_tool_calls=2 + turn)
    run = called(spec, "run_code", {"code": "pay(sum=1)"})
    suspends(run, OUTER, "pay", sum=1).completes(f"{OUTER}/n1", content="paid")
    suspends(run, OUTER, "pay", sum=2).completes(f"{OUTER}/n2", content="paid")
    if turn == 1:
        suspends(run, OUTER, "pay", sum=3)
    else:
        run.completes(OUTER, content="done")
        assert run.state.executions["a:1"].talk.tool_calls == 3
        again = ToolCallPart(id="p9", name="run_code", args={"code": "pay(sum=1)"})
        run.when(_turn(2, AssistantMessage(parts=(again,)), "tool_calls"))
        suspends(run, "a:1/t2/c0", "pay", sum=4)
    assert run.state.error is not None
    assert run.state.error.code == "agent.max_tool_calls"
    assert run.refolded == run.state


def test_a_tool_that_code_calls_is_approved_like_any_other() -> None:
    run = needs_approval(suspends(code(), OUTER, "pay", sum=1), f"{OUTER}/n1", sum=1)
    run.then(f"approval.requested {OUTER}/n1/p1")
    run.decides(f"{OUTER}/n1/p1", "approve").then(f"call.requested {OUTER}/n1")
    assert work(run, f"{OUTER}/n1").approved == "ann"
    assert work(run, f"{OUTER}/n1").args == {"sum": 1}
    run.completes(f"{OUTER}/n1", content="paid").then(f"call.requested {OUTER}")
    assert work(run, OUTER).approved is None


@pytest.mark.parametrize("how", ["refused", "failed"])
def test_code_is_told_why_a_tool_gave_nothing(how: str) -> None:
    run = suspends(code(), OUTER, "pay", sum=1)
    if how == "refused":
        needs_approval(run, f"{OUTER}/n1", sum=1).decides(f"{OUTER}/n1/p1", "reject", reason="no")
        said = "approval.rejected: ann did not agree to this call of pay: no"
    else:
        run.fails(f"{OUTER}/n1", code="tool.raised")
        said = "tool.raised: it broke"
    assert work(run, OUTER).resume == Resume(snapshot="s1", error=said)


def test_a_cancelled_run_that_is_retried_goes_on_where_its_code_stood() -> None:
    run = suspends(code(), OUTER, "pay", sum=1).completes(f"{OUTER}/n1", content="paid")
    run.when(*runs.cancel(run.state, None, "q", NOW)).stands("cancelled")
    run.retries().then(f"call.requested {OUTER}")
    assert work(run, OUTER).resume == Resume(snapshot="s1", result="paid")
    assert work(run, OUTER).attempt == 3


def test_a_node_that_failed_runs_its_code_from_the_beginning() -> None:
    run = given(node(tool="run_code", tools=["pay"]))
    suspends(run, "a:1", "pay", sum=1).completes("a:1/n1", content="paid")
    run.fails("a:1", code="code.raised", retryable=False).stands("failed")
    run.retries()
    assert (work(run, "a:1").attempt, work(run, "a:1").resume) == (3, None)
    suspends(run, "a:1", "pay", sum=1).then("call.requested a:1/n3")
