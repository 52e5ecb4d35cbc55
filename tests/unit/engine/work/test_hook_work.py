"""What plugins decide holds: before a thing is done, when its result comes, and whenever the log is read again."""

from __future__ import annotations

from collections.abc import Mapping

from pydantic import JsonValue

from partsong.contracts import events as e
from partsong.contracts.graph import Graph
from partsong.contracts.graph.validate import parse_graph
from partsong.contracts.talk.hooks import (
    Continue,
    HookOutcome,
    HookPoint,
    PluginRef,
    Replace,
    RequireApproval,
    Retry,
    Veto,
)
from partsong.contracts.talk.messages import AssistantMessage, TextPart, ToolCallPart, UserMessage
from partsong.contracts.wire.work import HookWork, ToolWork, TurnWork
from partsong.engine.commands import runs
from partsong.engine.work.hints import work_of
from tests.support.scenario import NOW, Scenario


def tool() -> Graph:
    node = {"type": "tool", "tool": "pay", "args": {"to": "{{to}}"}}
    return parse_graph({"name": "t", "nodes": {"t": node}})


def agent() -> Graph:
    spec = {"model": "scripted:m", "tools": ["pay"]}
    node = {"type": "agent", "agent": spec, "prompt": "{{q}}"}
    return parse_graph({"name": "t", "nodes": {"a": node}})


def guarded(graph: Graph, input: Mapping[str, JsonValue], *points: HookPoint) -> Scenario:
    """A run with one plugin that is asked at these points."""
    run = Scenario(None)
    plugin = PluginRef(name="p", points=points, kind="guard")
    options = e.RunOptions()
    return run.when(*runs.start("r_1", graph, dict(input), options, "q1", NOW, plugins=(plugin,)))


def says(run: Scenario, call_id: str, outcome: HookOutcome, seen: int = 0) -> Scenario:
    call = run.state.calls[call_id]
    point: HookPoint = call.name  # type: ignore[assignment]  # a hook's name is its point
    return run.when(
        e.HookDecided(
            id=f"r_1.{call.id}.{call.attempt}.closed",
            call_id=call.id,
            attempt=call.attempt,
            point=point,
            outcome=outcome,
            seen=seen,
        )
    )


def answers(run: Scenario, call_id: str, *parts: TextPart | ToolCallPart) -> Scenario:
    call = run.state.calls[call_id]
    calls = any(isinstance(part, ToolCallPart) for part in parts)
    return run.when(
        e.AgentTurnCompleted(
            id=f"r_1.{call.id}.{call.attempt}.closed",
            call_id=call.id,
            attempt=call.attempt,
            message=AssistantMessage(parts=parts),
            stop="tool_calls" if calls else "stop",
            provider="scripted",
            model="m",
        )
    )


def payload(run: Scenario, call_id: str) -> dict[str, JsonValue]:
    work = work_of(run.state, run.state.calls[call_id])
    assert isinstance(work, HookWork)
    return work.payload


def code(run: Scenario) -> str:
    assert run.state.error is not None
    return run.state.error.code


def test_without_plugins_for_a_point_the_log_has_not_one_event_more() -> None:
    plain = Scenario(tool(), {"to": "bob"}).completes("t:1", content=1)
    other = guarded(tool(), {"to": "bob"}, "before_agent_call").completes("t:1", content=1)
    assert [event.type for event in plain.log] == [event.type for event in other.log]


def test_a_tool_waits_for_its_guard_and_is_called_with_what_that_made_of_its_arguments() -> None:
    run = guarded(tool(), {"to": "bob"}, "before_tool_call")
    run.then("node.scheduled t:1", "call.requested t:1/h.before_tool_call")
    shown = payload(run, "t:1/h.before_tool_call")
    assert (shown["tool"], shown["args"]) == ("pay", {"to": "bob"})
    says(run, "t:1/h.before_tool_call", Replace(value={"to": "eve"})).then("call.requested t:1")
    work = work_of(run.state, run.state.calls["t:1"])
    assert isinstance(work, ToolWork)
    assert work.args == {"to": "eve"}
    run.completes("t:1", content="paid").stands("completed")
    assert run.refolded == run.state


def test_a_veto_fails_a_tool_node_before_the_tool_is_called() -> None:
    run = guarded(tool(), {"to": "bob"}, "before_tool_call")
    says(run, "t:1/h.before_tool_call", Veto(reason="not to bob"))
    assert code(run) == "hook.vetoed"
    assert not any(isinstance(event, e.CallRequested) and event.kind == "tool" for event in run.log)


def test_a_veto_is_an_error_result_for_a_model() -> None:
    run = guarded(agent(), {"q": "x"}, "before_tool_call")
    answers(run, "a:1/t1", ToolCallPart(id="p", name="pay"))
    says(run, "a:1/t1/c0/h.before_tool_call", Veto(reason="no")).then("agent.turn.requested a:1/t2")
    last = run.state.executions["a:1"].messages[-1]
    assert getattr(last, "is_error", False)
    assert "hook.vetoed" in getattr(last, "text", "")


def test_a_guard_may_ask_a_person() -> None:
    for decision, then in (("approve", "call.requested t:1"), ("reject", "node.failed t:1")):
        run = guarded(tool(), {"to": "bob"}, "before_tool_call")
        says(run, "t:1/h.before_tool_call", RequireApproval(reason="large"))
        run.then("approval.requested t:1/h.before_tool_call/p")
        run.decides("t:1/h.before_tool_call/p", decision)
        assert then in [
            f"{event.type} {getattr(event, 'call_id', getattr(event, 'exec', ''))}"
            for event in run.new
        ]


def test_a_result_is_what_plugins_have_made_of_it() -> None:
    run = guarded(tool(), {"to": "bob"}, "after_tool_call").completes("t:1", content="secret")
    assert payload(run, "t:1/h.after_tool_call")["result"] == "secret"
    says(run, "t:1/h.after_tool_call", Replace(value="[redacted]")).stands("completed")
    assert run.state.values["t"] == "[redacted]"


def test_a_model_is_asked_with_the_messages_that_plugins_have_left() -> None:
    run = guarded(agent(), {"q": "call 555-1234"}, "before_agent_call")
    hook = "a:1/t1/h.before_agent_call"
    assert payload(run, hook)["messages"] == [{"role": "user", "text": "call 555-1234"}]
    clean: JsonValue = [{"role": "user", "text": "call [phone]"}]
    says(run, hook, Replace(value=clean), seen=1).then("agent.turn.requested a:1/t1")
    work = work_of(run.state, run.state.calls["a:1/t1"])
    assert isinstance(work, TurnWork)
    assert work.messages == (UserMessage(text="call [phone]"),)
    assert run.refolded == run.state


def test_an_answer_can_be_changed_sent_back_or_refused() -> None:
    changed = guarded(agent(), {"q": "x"}, "after_agent_call")
    answers(changed, "a:1/t1", TextPart(text="rude"))
    says(changed, "a:1/t1/h.after_agent_call", Replace(value="polite")).stands("completed")
    assert changed.state.values["a"] == "polite"
    back = guarded(agent(), {"q": "x"}, "after_agent_call")
    answers(back, "a:1/t1", TextPart(text="rude"))
    says(back, "a:1/t1/h.after_agent_call", Retry(reason="rude")).then(
        "agent.turn.requested a:1/t1"
    )
    answers(back, "a:1/t1", TextPart(text="polite"))
    says(back, "a:1/t1/h.after_agent_call.2", Continue()).stands("completed")
    refused = guarded(agent(), {"q": "x"}, "after_agent_call")
    answers(refused, "a:1/t1", TextPart(text="rude"))
    says(refused, "a:1/t1/h.after_agent_call", Veto(reason="rude"))
    assert code(refused) == "hook.vetoed"


def test_a_run_begins_and_ends_with_its_plugins() -> None:
    run = guarded(tool(), {"to": "bob"}, "before_run", "after_run")
    run.then("call.requested h.before_run")
    says(run, "h.before_run", Continue()).then("node.scheduled t:1", "call.requested t:1")
    run.completes("t:1", content=1).then("node.completed t:1", "call.requested h.after_run")
    assert payload(run, "h.after_run")["outcome"] == "completed"
    says(run, "h.after_run", Continue()).then("run.completed")
    assert not run.state.telling


def test_a_run_that_a_guard_does_not_let_begin_fails_and_can_be_retried() -> None:
    run = guarded(tool(), {"to": "bob"}, "before_run")
    says(run, "h.before_run", Veto(reason="closed today"))
    assert code(run) == "hook.vetoed"
    assert not any(event.type == "node.scheduled" for event in run.log)


def test_nodes_are_looked_at_before_and_after() -> None:
    run = guarded(tool(), {"to": "bob"}, "before_node", "after_node")
    run.then("node.scheduled t:1", "call.requested t:1/h.before_node")
    says(run, "t:1/h.before_node", Continue()).then("call.requested t:1")
    run.completes("t:1", content=1).then("call.requested t:1/h.after_node")
    assert payload(run, "t:1/h.after_node")["update"] == {"t": 1}
    says(run, "t:1/h.after_node", Replace(value={"t": 2, "more": 3})).stands("completed")
    assert run.state.values == {"to": "bob", "t": 2, "more": 3}
    assert run.refolded == run.state


def test_an_error_is_seen_before_it_counts() -> None:
    run = guarded(tool(), {"to": "bob"}, "on_error").fails("t:1", retryable=False)
    run.then("call.requested t:1/h.on_error")
    error = payload(run, "t:1/h.on_error")["error"]
    assert isinstance(error, dict)
    assert error["code"] == "function.raised"
    says(run, "t:1/h.on_error", Continue()).stands("failed")
    assert code(run) == "function.raised"


def test_an_error_counts_as_plugins_have_left_it() -> None:
    run = guarded(tool(), {"to": "bob"}, "on_error").fails("t:1", retryable=False)
    error = payload(run, "t:1/h.on_error")["error"]
    assert isinstance(error, dict)
    plain = Replace(value={**error, "code": "shop.closed", "message": "come back tomorrow"})
    says(run, "t:1/h.on_error", plain).stands("failed")
    assert run.state.error is not None
    assert (code(run), run.state.error.message) == ("shop.closed", "come back tomorrow")
    assert run.state.error.where == "nodes.t"
    assert run.refolded == run.state


def test_an_error_that_no_call_has_made_is_shown_too() -> None:
    run = guarded(tool(), {}, "on_error")
    error = payload(run, "t:1/h.on_error")["error"]
    assert isinstance(error, dict)
    assert error["code"] == "template.unknown_key"


def test_an_approval_can_be_stopped_before_anybody_is_asked() -> None:
    node = {"type": "approval", "title": "Pay {{n}}?"}
    run = guarded(parse_graph({"name": "t", "nodes": {"ok": node}}), {"n": 5}, "on_approval")
    assert payload(run, "ok:1/h.on_approval")["question"] == {"title": "Pay 5?", "detail": ""}
    says(run, "ok:1/h.on_approval", Veto(reason="never"))
    assert code(run) == "hook.vetoed"
    assert not any(event.type == "approval.requested" for event in run.log)


def test_a_person_is_asked_what_plugins_have_left_of_the_question() -> None:
    node = {"type": "approval", "title": "Pay {{n}}?", "detail": "To {{to}}."}
    graph = parse_graph({"name": "t", "nodes": {"ok": node}})
    run = guarded(graph, {"n": 5, "to": "ann@example.org"}, "on_approval")
    says(run, "ok:1/h.on_approval", Replace(value={"title": "Pay 5?", "detail": "To [email]."}))
    asked = next(event for event in run.log if isinstance(event, e.ApprovalRequested))
    assert (asked.title, asked.detail) == ("Pay 5?", "To [email].")


def test_a_run_is_retried_with_its_plugins_asked_again_where_it_goes_on() -> None:
    run = guarded(tool(), {"to": "bob"}, "before_run", "before_tool_call", "after_run")
    says(run, "h.before_run", Continue())
    says(run, "t:1/h.before_tool_call", Veto(reason="no"))
    says(run, "h.after_run", Continue()).stands("failed")
    run.retries()
    says(run, "t:1/h.before_tool_call", Continue()).then("call.requested t:1")
    run.completes("t:1", content=1)
    says(run, "h.after_run.2", Continue()).stands("completed")
