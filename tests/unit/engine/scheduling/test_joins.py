"""Joins that do not wait for all: any, first, and n of many."""

from __future__ import annotations

from typing import Any

from pydantic import JsonValue

from partsong.contracts import events as e
from partsong.contracts.graph import Graph
from partsong.contracts.graph.validate import parse_graph
from partsong.contracts.state.serialization import dump_state, load_state
from tests.support.scenario import Scenario, describe, given
from tests.unit.engine.scheduling.test_flow import graph


def racing(join: object, *more: str, **options: Any) -> Graph:
    """`a` forks to b, c and d, which meet in `j`, which leads to `z`."""
    edges = ("a>b", "a>c", "a>d", "b>j", "c>j", "d>j", "j>z", *more)
    return graph(*edges, reducers={"log": "append"}, j={"join": join}, **options)


def test_any_fires_with_the_first_branch_and_ignores_the_others() -> None:
    run = given(racing("any")).completes("a:1").completes("c:1", {"log": "c"})
    run.then("node.completed c:1", "node.scheduled j:1", "call.requested j:1")
    run.completes("j:1").then("node.completed j:1", "node.scheduled z:1", "call.requested z:1")
    run.completes("b:1", {"log": "b"}).then("node.completed b:1")
    run.completes("z:1").then("node.completed z:1")
    assert run.state.status == "running", "d still runs"
    run.completes("d:1", {"log": "d"}).then("node.completed d:1", "run.completed")
    assert run.state.root.visits["j"] == 1
    assert run.state.values == {"log": ["b", "c", "d"]}


def test_what_lies_behind_an_early_join_does_not_wait_for_those_who_are_late() -> None:
    run = given(racing("any", "c>y", "z>y")).completes("a:1").completes("c:1")
    assert "y:1" not in run.state.executions, "j and z can still reach it"
    run.completes("j:1").completes("z:1")
    assert "y:1" in run.state.executions, "b and d cannot, past j"


def test_first_cancels_the_other_branches_and_closes_their_calls() -> None:
    ask: dict[str, JsonValue] = {"type": "approval", "title": "ok?"}
    spec = racing("first").spec()
    nodes = spec["nodes"]
    assert isinstance(nodes, dict)
    nodes["c"] = ask
    run = given(parse_graph(spec)).completes("a:1").completes("b:1")
    run.then(
        "call.cancelled c:1",
        "node.completed b:1",
        "node.cancelled c:1",
        "node.cancelled d:1",
        "node.scheduled j:1",
        "call.requested j:1",
    )
    late = e.CallCompleted(id="late", call_id="d:1", attempt=1, update={"log": "d"})
    run.when(late).then()
    run.completes("j:1").completes("z:1")
    assert run.state.status == "completed"
    assert run.state.values == {}


def test_n_of_many_fires_with_the_nth_and_ignores_the_rest() -> None:
    run = given(racing({"n": 2})).completes("a:1").completes("b:1")
    run.then("node.completed b:1")
    run.completes("d:1").then("node.completed d:1", "node.scheduled j:1", "call.requested j:1")
    run.completes("j:1").completes("c:1").then("node.completed c:1")
    run.completes("z:1").then("node.completed z:1", "run.completed")


def test_n_of_many_that_can_never_come_fails_loudly() -> None:
    routes = ("a>b", "a>c", "b>j", "c>j:go", "c>END:stop")
    run = given(graph(*routes, j={"join": {"n": 2}})).completes("a:1").completes("b:1")
    run.completes("c:1", label="stop")
    assert run.state.status == "failed"
    assert run.state.error is not None
    assert run.state.error.code == "join.unmet"
    assert "2 branches, 1 arrived" in run.state.error.message


def unmet_beside_a_failure() -> Scenario:
    """`j` wants two branches; `b` came, `c` failed, and nothing else was stopped by that."""
    spec = graph("a>b", "a>c", "b>j", "c>j", "j>z", j={"join": {"n": 2}}).spec()
    run = given(parse_graph({**spec, "on_failure": "continue"})).completes("a:1")
    run.completes("b:1", {"b": 1}).fails("c:1", retryable=False)
    assert run.state.root.active["j:1"].problem is not None
    return run.stands("failed")


def test_a_join_that_was_unmet_beside_a_failure_is_met_when_the_run_is_retried() -> None:
    run = unmet_beside_a_failure().retries().then("call.requested c:1")
    run.completes("c:1", {"c": 1})
    run.then("node.completed c:1", "node.scheduled j:1", "call.requested j:1")
    assert run.work("j:1").state == {"b": 1, "c": 1}
    run.completes("j:1").completes("z:1").stands("completed")
    assert run.refolded == run.state


def test_a_join_that_stays_unmet_after_a_retry_says_so_each_time_under_another_id() -> None:
    run = unmet_beside_a_failure()
    for _ in range(2):
        run.retries().fails("c:1", retryable=False).stands("failed")
    unmet = [event.id for event in run.log if describe(event) == "node.failed j:1"]
    assert len(set(unmet)) == 3
    run.retries().completes("c:1").completes("j:1").completes("z:1").stands("completed")


def test_a_fork_of_a_run_with_an_unmet_join_can_meet_it() -> None:
    state = load_state("r_1", dump_state(unmet_beside_a_failure().state))
    fork = Scenario.forked(state, 7, "r_2").completes("c:1")
    fork.completes("j:1").completes("z:1").stands("completed")


def test_an_early_join_in_a_loop_fires_once_per_round() -> None:
    routes = ("a>b", "a>c", "b>j", "c>j", "j>a:again", "j>END:done")
    run = given(graph(*routes, j={"join": "any"})).completes("a:1").completes("b:1")
    run.completes("j:1", label="again").completes("c:1")
    assert run.state.root.visits["j"] == 1, "c:1 belongs to the first round"
    run.completes("a:2").completes("c:2")
    assert run.state.root.visits["j"] == 2
    run.completes("j:2", label="done").completes("b:2")
    assert run.state.status == "completed"


def test_first_gives_up_branches_that_hold_tokens_too() -> None:
    routes = ("a>b", "a>c", "a>d", "c>k", "d>k", "b>j", "k>j", "j>END")
    run = given(graph(*routes, j={"join": "first"})).completes("a:1").completes("c:1")
    run.completes("b:1")
    cancelled = [event.exec for event in run.new if isinstance(event, e.NodeCancelled)]
    assert cancelled == ["d:1", "k:1"]
    run.completes("j:1")
    assert run.state.status == "completed"
    assert run.refolded == run.state
