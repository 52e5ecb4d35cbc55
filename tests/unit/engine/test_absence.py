"""What the platform lacks is never charged to the user's retries, dead workers are; whoever waits for one says so."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from partsong.client.presence import untaken
from partsong.contracts import events as e
from partsong.contracts.errors import Problem
from partsong.contracts.frozen import replace
from partsong.contracts.graph import Graph
from partsong.contracts.graph.validate import parse_graph
from partsong.contracts.state.serialization import dump_state, load_state
from partsong.contracts.state.state import RunState
from partsong.contracts.talk.messages import AssistantMessage, TextPart
from partsong.engine.work.hints import work_of
from tests.support.scenario import Scenario, given

NO_ANSWER = "tools.no_answer"
TURN = "a:1/t1"


def agent(attempts: int, *fallbacks: str) -> Graph:
    spec = {"model": "x:one", "tools": ["calculator"], "fallbacks": list(fallbacks)}
    node = {"type": "agent", "agent": spec, "prompt": "?", "retry": {"attempts": attempts}}
    return parse_graph({"name": "t", "nodes": {"a": node}})


def turn_fails(run: Scenario, code: str) -> Scenario:
    attempt = run.state.calls[TURN].attempt
    problem = Problem(code=code, message="it broke", retryable=True, fault="platform")
    return run.when(
        e.AgentTurnFailed(
            id=f"r_1.{TURN}.{attempt}.closed", call_id=TURN, attempt=attempt, error=problem
        )
    )


def lapses(run: Scenario, call_id: str = TURN, *, stopped: bool = False) -> Scenario:
    """A worker claims the call, and is gone."""
    attempt = run.state.calls[call_id].attempt
    stem, about = f"r_1.{call_id}.{attempt}", {"call_id": call_id, "attempt": attempt}
    if run.state.calls[call_id].kind == "agent.turn":
        run.when(e.AgentTurnClaimed(id=f"{stem}.claimed", worker="g", **about))
    else:
        run.when(e.CallClaimed(id=f"{stem}.claimed", worker="g", repeatable=True, **about))
    return run.when(e.CallLapsed(id=f"{stem}.lapsed", worker="g", stopped=stopped, **about))


def parked(run: Scenario, code: str) -> Scenario:
    turn_fails(run, code)
    timer = run.state.calls[TURN].parked_at
    assert timer is not None, f"{code} was not parked"
    return run.fires(timer)


def answered(run: Scenario) -> Scenario:
    call = run.state.calls[TURN]
    return run.when(
        e.AgentTurnCompleted(
            id=f"r_1.{TURN}.{call.attempt}.closed",
            call_id=TURN,
            attempt=call.attempt,
            message=AssistantMessage(parts=(TextPart(text="42"),)),
            stop="stop",
            provider="x",
            model="one",
        )
    )


@pytest.mark.parametrize("code", [NO_ANSWER, "tool.unknown"])
@pytest.mark.parametrize("attempts", [1, 3])
def test_a_turn_without_its_tools_waits_for_a_worker_however_often(
    code: str, attempts: int
) -> None:
    run = given(agent(attempts))
    for _ in range(20):
        parked(run, code)
    turn_fails(run, code)
    waits = run.state.waits_on
    assert waits is not None
    assert (waits.on, waits.until) == ("worker", None)
    assert "tool-runner" in waits.reason
    run.fires(str(run.state.calls[TURN].parked_at))
    answered(run).stands("completed")


def test_what_the_provider_does_is_charged_to_the_last_attempt_after_any_absence() -> None:
    run = given(agent(3))
    for charged in (1, 2):
        parked(run, NO_ANSWER)
        turn_fails(run, "provider.overloaded").stands("running")
        assert run.state.calls[TURN].charged == charged
        run.fires(str(run.state.calls[TURN].waits))
    parked(run, NO_ANSWER)
    turn_fails(run, "provider.overloaded").stands("failed")


def died(run: Scenario) -> Problem:
    run.stands("failed")
    assert run.state.error is not None
    assert run.state.error.code == "call.worker_died"
    return run.state.error


def test_a_turn_costs_no_more_gateways_than_it_has_attempts() -> None:
    run = given(agent(3))
    lapses(lapses(run)).stands("running")
    lapses(run)
    assert "3 workers" in died(run).message


def test_deaths_and_failures_use_up_the_same_attempts() -> None:
    run = given(agent(3))
    turn_fails(run, "provider.overloaded").stands("running")
    run.fires(str(run.state.calls[TURN].waits))
    lapses(run).stands("running")
    lapses(run)
    died(run)


def test_a_worker_that_was_told_to_stop_is_not_charged_but_no_call_costs_them_without_end() -> None:
    run = given(agent(2))
    for _ in range(5):
        lapses(run, stopped=True)
    turn_fails(run, "provider.overloaded").stands("running")
    run.fires(str(run.state.calls[TURN].waits))
    for _ in range(30):
        if run.state.ended:
            break
        lapses(run, stopped=True)
    died(run)


@pytest.mark.parametrize(("retry", "lives"), [({}, 3), ({"retry": {"attempts": 2}}, 2)])
@pytest.mark.parametrize(
    "node", [{"type": "function", "function": "m:f"}, {"type": "tool", "tool": "look", "args": {}}]
)
def test_what_may_be_made_again_costs_as_many_workers_as_it_has_attempts(
    node: dict[str, object], retry: dict[str, object], lives: int
) -> None:
    run = given(parse_graph({"name": "t", "nodes": {"a": {**node, **retry}}}))
    for _ in range(lives):
        run.stands("running")
        lapses(run, "a:1")
    died(run)


def test_an_attempt_knows_how_many_workers_died_of_those_before() -> None:
    run = given(parse_graph({"name": "t", "nodes": {"a": {"type": "function", "function": "m:f"}}}))
    for deaths in range(3):
        work = work_of(run.state, run.state.calls["a:1"])
        assert work is not None
        assert work.deaths == deaths
        lapses(run, "a:1", stopped=True)
        work = work_of(run.state, run.state.calls["a:1"])
        assert work is not None
        assert work.deaths == deaths
        if deaths < 2:
            lapses(run, "a:1")


def test_a_compensation_that_kills_its_workers_is_said_to_have_failed() -> None:
    graph = parse_graph(
        {
            "name": "t",
            "nodes": {
                "a": {"type": "function", "function": "m:f", "compensate": "m:undo"},
                "b": {"type": "function", "function": "m:g"},
            },
            "edges": [{"from": "a", "to": "b"}],
        }
    )
    run = given(graph)
    run.completes("a:1").fails("b:1")
    for _ in range(5):
        run.stands("running")
        lapses(run, "a:1/undo")
    run.stands("failed")
    assert run.state.uncompensated["a:1"].code == "call.worker_died"


def test_a_model_that_stands_in_has_all_its_attempts_and_no_more() -> None:
    run = given(agent(2, "x:two"))
    parked(run, NO_ANSWER)
    turn_fails(run, "provider.overloaded")
    run.fires(str(run.state.calls[TURN].waits))
    turn_fails(run, "provider.overloaded")
    assert run.state.calls[TURN].name == "x:two"
    assert run.state.calls[TURN].charged == 1
    turn_fails(run, "provider.overloaded").stands("running")
    run.fires(str(run.state.calls[TURN].waits))
    turn_fails(run, "provider.overloaded").stands("failed")


def test_no_other_model_is_asked_because_a_tool_runner_is_away() -> None:
    run = given(agent(1, "x:two"))
    parked(run, NO_ANSWER)
    assert run.state.calls[TURN].name == "x:one"


def of(**nodes: Mapping[str, object]) -> RunState:
    entry = next(iter(nodes))
    return given(parse_graph({"name": "t", "entry": entry, "nodes": nodes})).state


FUNCTION = {"type": "function", "function": "m:f"}
CASES = [
    ("tool-runner", FUNCTION),
    ("tool-runner", {"type": "tool", "tool": "calculator", "args": {"expression": "1"}}),
    ("agent-gateway", {"type": "agent", "agent": {"model": "x:one"}, "prompt": "?"}),
    ("graph-engine", FUNCTION),
    ("graph-engine", {"type": "approval", "title": "?"}),
    ("graph-engine", {"type": "wait", "signal": "go"}),
]


@pytest.mark.parametrize(("service", "node"), CASES)
def test_a_run_whose_service_is_away_waits_for_it_by_name(
    service: str, node: dict[str, object]
) -> None:
    state = replace(of(a=node), absent={service: f"no {service} is running"})
    waits = state.waits_on
    assert state.phase == "waiting"
    assert waits is not None
    assert (waits.on, waits.reason) == ("worker", f"no {service} is running")


def test_who_waits_for_a_person_is_told_that_nobody_can_be_asked() -> None:
    state = of(a={"type": "approval", "title": "?"})
    waits = replace(state, absent={"approval": "no approval service is running"}).waits_on
    assert waits is not None
    assert (waits.on, waits.reason) == ("approval", "no approval service is running")


def test_a_call_that_no_worker_has_taken_waits_for_one() -> None:
    state = replace(of(a=FUNCTION), untaken={"a:1": "no tool-runner has taken it yet"})
    waits = state.waits_on
    assert state.phase == "waiting"
    assert waits is not None
    assert (waits.on, waits.what, waits.reason) == (
        "worker",
        "a:1",
        "no tool-runner has taken it yet",
    )


BUSY = {"in_flight": 1, "held": [{"run_id": "r_2", "call_id": "b:1", "attempt": 1}]}
HOLDS = {"in_flight": 1, "held": [{"run_id": "r_1", "call_id": "a:1", "attempt": 1}]}
OLDER = {"in_flight": 1, "held": [{"run_id": "r_1", "call_id": "a:1", "attempt": 0}]}
IDLE: dict[str, object] = {"in_flight": 0}


@pytest.mark.parametrize(
    ("workers", "waits"),
    [
        ([BUSY], True),
        ([BUSY, IDLE], True),
        ([OLDER], True),
        ([BUSY, HOLDS], False),
        ([], False),
        ([{"in_flight": 3}], False),
        ([{**BUSY, "held_more": 9}], False),
    ],
)
def test_a_call_is_untaken_only_if_every_worker_lists_what_it_has(
    workers: list[dict[str, object]], waits: bool
) -> None:
    calls = of(a=FUNCTION).calls.values()
    found = untaken("r_1", "tool-runner", calls, workers)
    assert list(found) == (["a:1"] if waits else [])
    if waits:
        assert found["a:1"].startswith("no tool-runner has taken it yet")


@pytest.mark.parametrize("away", [{}, {"agent-gateway": "no agent-gateway is running"}])
def test_a_run_that_somebody_works_for_waits_for_nobody(away: dict[str, str]) -> None:
    state = replace(of(a=FUNCTION), absent=away)
    assert (state.phase, state.waits_on) == ("running", None)


def test_who_is_away_is_no_part_of_the_state() -> None:
    state = of(a=FUNCTION)
    seen = replace(state, absent={"tool-runner": "no tool-runner is running"}, untaken={"a:1": "-"})
    assert seen == state
    assert dump_state(seen) == dump_state(state)
    assert load_state("r_1", dump_state(seen)).absent == {}
