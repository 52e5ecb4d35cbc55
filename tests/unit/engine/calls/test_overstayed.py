"""The engine keeps the time of calls that their workers cannot end."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from partsong.contracts import events as e
from partsong.contracts.graph import Graph
from partsong.contracts.graph.validate import parse_graph
from partsong.contracts.state.fold import fold
from partsong.contracts.state.state import RunState
from partsong.contracts.talk.messages import AssistantMessage, ToolCallPart
from partsong.contracts.wire.heartbeat import Unattended
from partsong.engine.calls.overstayed import GRACE, TOOL_TIMEOUT, TURN_TIMEOUT, Watch, overstayed
from tests.support.scenario import Scenario, given

NOW = "2026-01-01T00:00:00.000Z"
FUNCTION = {"type": "function", "function": "m:f", "timeout": 5}
TOOL = {"type": "tool", "tool": "mail", "args": {}, "timeout": 5}
AGENT = {"type": "agent", "agent": {"model": "x:one"}, "prompt": "?"}


def of(node: Mapping[str, object]) -> Graph:
    return parse_graph({"name": "t", "nodes": {"a": node}})


def alone_for(seconds: float | None, still: float = 0.0) -> Watch:
    return lambda *_call: None if seconds is None else Unattended(seconds, still)


def ends(state: RunState, seconds: float | None) -> list[str]:
    return [closing.event.type for closing in overstayed(state, alone_for(seconds), NOW)]


def claimed(run: Scenario, call_id: str, *, repeatable: bool = False) -> RunState:
    claim = e.CallClaimed(id="c", call_id=call_id, attempt=1, worker="w", repeatable=repeatable)
    return fold(run.state, claim, seq=7)


@pytest.mark.parametrize("seconds", [None, 0.0, 5.0, 5.0 + GRACE])
def test_a_call_that_its_worker_can_end_or_has_time_is_left_alone(seconds: float | None) -> None:
    assert ends(given(of(FUNCTION)).state, seconds) == []


def test_a_function_that_nobody_ends_fails_as_one_that_took_too_long_and_is_retried() -> None:
    run = given(of({**FUNCTION, "retry": {"attempts": 2}}))
    (closing,) = overstayed(run.state, alone_for(5.1 + GRACE), NOW)
    assert isinstance(closing.event, e.CallFailed)
    assert (closing.event.error.code, closing.expect) == ("function.timeout", 0)
    run.when(closing.event)
    assert run.state.timers["a:1/r1"].purpose == "retry"


def test_a_function_without_a_timeout_has_a_day() -> None:
    state = given(of({"type": "function", "function": "m:f"})).state
    assert ends(state, 3600.0) == []
    assert ends(state, 25 * 3600.0) == ["call.failed"]


def test_a_tool_that_may_have_had_its_effect_is_of_unknown_outcome() -> None:
    run = given(of(TOOL))
    assert ends(claimed(run, "a:1"), 16.0) == ["call.lapsed"]
    assert ends(claimed(run, "a:1", repeatable=True), 16.0) == ["call.failed"]
    assert ends(run.state, 16.0) == ["call.failed"]


def test_a_claimed_call_is_closed_under_its_claim() -> None:
    (closing,) = overstayed(claimed(given(of(TOOL)), "a:1"), alone_for(16.0), NOW)
    assert closing.expect == 7


def test_a_function_that_shows_nothing_fails_as_one_that_fell_silent() -> None:
    state = given(of({**FUNCTION, "timeout": 600, "idle_timeout": 5})).state
    assert overstayed(state, alone_for(30, 5 + GRACE), NOW) == ()
    (closing,) = overstayed(state, alone_for(30, 5.1 + GRACE), NOW)
    assert isinstance(closing.event, e.CallFailed)
    assert closing.event.error.code == "function.idle_timeout"
    assert closing.event.error.message.startswith("m:f showed nothing for 5s")


def test_a_tool_whose_node_has_no_timeout_has_a_day_where_its_own_is_not_known() -> None:
    state = given(of({"type": "tool", "tool": "mail", "args": {}})).state
    assert ends(state, TOOL_TIMEOUT + GRACE) == []
    assert ends(state, TOOL_TIMEOUT + 11) == ["call.failed"]


def test_a_models_tool_has_a_day_and_not_its_agents_timeout() -> None:
    run = given(of({**AGENT, "timeout": 5, "agent": {"model": "x:one", "tools": ["mail"]}}))
    said = AssistantMessage(parts=(ToolCallPart(id="p", name="mail", args={}),))
    more = {"message": said, "stop": "tool_calls", "provider": "x", "model": "one"}
    run.when(e.AgentTurnCompleted(id="t", call_id="a:1/t1", attempt=1, **more))
    assert [call.kind for call in run.state.calls.values() if call.open] == ["tool"]
    assert ends(run.state, TOOL_TIMEOUT + GRACE) == []
    assert ends(run.state, TOOL_TIMEOUT + 11) == ["call.failed"]


def test_a_turn_is_asked_for_again() -> None:
    run = given(of(AGENT))
    assert ends(run.state, TURN_TIMEOUT) == []
    (closing,) = overstayed(run.state, alone_for(TURN_TIMEOUT + 11), NOW)
    run.when(closing.event)
    assert run.state.calls["a:1/t1"].attempt == 2


def test_questions_and_runs_of_their_own_have_all_the_time_there_is() -> None:
    assert ends(given(of({"type": "approval", "title": "?"})).state, 1e9) == []
    assert ends(given(of({"type": "wait", "signal": "go"})).state, 1e9) == []
