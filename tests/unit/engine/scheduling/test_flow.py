"""Dataflow: which nodes fire, when, and with what."""

from __future__ import annotations

import random

import pytest
from hypothesis import given as forall
from hypothesis import settings
from hypothesis import strategies as st
from pydantic import JsonValue

from partsong.contracts.graph import Graph
from partsong.contracts.graph.validate import parse_graph
from partsong.contracts.state.fold import fold
from partsong.contracts.state.state import RunState
from tests.support.scenario import Function, Scenario, given, simulate


def graph(
    *edges: str, entry: str = "a", reducers: dict[str, str] | None = None, **options: object
) -> Graph:
    """`graph("a>b", "b>c:label")`."""
    names: dict[str, None] = {entry: None}
    parsed: list[dict[str, str]] = []
    for edge in edges:
        path, _, label = edge.partition(":")
        source, target = path.split(">")
        names[source] = None
        if target != "END":
            names[target] = None
        parsed.append({"from": source, "to": target, **({"on": label} if label else {})})
    nodes: dict[str, object] = {}
    for name in names:
        extra = options.get(name, {})
        assert isinstance(extra, dict)
        nodes[name] = {"type": "function", "function": f"m:{name}", **extra}
    return parse_graph(
        {"name": "t", "entry": entry, "nodes": nodes, "edges": parsed, "reducers": reducers or {}}
    )


def test_a_chain_runs_in_order_and_ends() -> None:
    run = given(graph("a>b"), {"x": 1})
    run.then("node.scheduled a:1", "call.requested a:1")
    run.completes("a:1", {"y": 2}).then(
        "node.completed a:1", "node.scheduled b:1", "call.requested b:1"
    )
    run.completes("b:1").then("node.completed b:1", "run.completed")
    assert run.state.status == "completed"
    assert run.state.values == {"x": 1, "y": 2}


def test_parallel_branches_start_together_and_join_once() -> None:
    run = given(graph("a>b", "a>c", "b>d", "c>d")).completes("a:1")
    run.then(
        "node.completed a:1",
        "node.scheduled b:1",
        "node.scheduled c:1",
        "call.requested b:1",
        "call.requested c:1",
    )
    run.completes("b:1", {"b": 1}).then("node.completed b:1")
    run.completes("c:1", {"c": 1}).then(
        "node.completed c:1", "node.scheduled d:1", "call.requested d:1"
    )
    run.completes("d:1").then("node.completed d:1", "run.completed")


def test_a_slow_branch_does_not_delay_a_fast_branchs_successors() -> None:
    run = given(graph("a>slow", "a>fast", "fast>next", "slow>end", "next>end")).completes("a:1")
    run.completes("fast:1").then(
        "node.completed fast:1", "node.scheduled next:1", "call.requested next:1"
    )
    run.completes("next:1").then("node.completed next:1")
    run.completes("slow:1").then(
        "node.completed slow:1", "node.scheduled end:1", "call.requested end:1"
    )


def test_a_join_waits_for_the_longer_of_two_uneven_branches() -> None:
    run = given(graph("a>b", "a>d", "b>c", "c>d")).completes("a:1")
    run.completes("b:1")
    run.completes("c:1").then("node.completed c:1", "node.scheduled d:1", "call.requested d:1")
    scheduled = [event for event in run.log if event.type == "node.scheduled" and event.node == "d"]
    assert [s.sources for s in scheduled] == [("a:1", "c:1")]


def test_a_join_does_not_wait_for_a_branch_that_was_not_taken() -> None:
    run = given(graph("a>b:left", "a>c:right", "b>d", "c>d")).completes("a:1", label="left")
    run.completes("b:1").then("node.completed b:1", "node.scheduled d:1", "call.requested d:1")


def test_a_loop_runs_until_its_label_leaves_it() -> None:
    run = given(graph("a>b", "b>a:again", "b>c:done"))
    for visit in (1, 2, 3):
        run.completes(f"a:{visit}")
        run.completes(f"b:{visit}", {"n": visit}, label="again" if visit < 3 else "done")
    run.then("node.completed b:3", "node.scheduled c:1", "call.requested c:1")
    assert run.completes("c:1").state.values == {"n": 3}


def test_max_visits_ends_the_run_with_a_typed_limit_and_its_last_state() -> None:
    run = given(graph("a>a:again", "a>END:done", a={"max_visits": 2}))
    run.completes("a:1", {"n": 1}, label="again")
    run.completes("a:2", {"n": 2}, label="again")
    run.then("node.completed a:2", "run.stopping", "run.limit_exceeded")
    assert run.state.status == "limit_exceeded"
    assert run.state.error is not None
    assert run.state.error.code == "run.max_visits"
    assert run.state.values == {"n": 2}


def test_a_label_without_an_edge_fails_the_run_naming_the_labels() -> None:
    run = given(graph("a>b:yes", "a>c:no")).completes("a:1", label="maybe")
    assert run.state.status == "failed"
    assert run.state.error is not None
    assert run.state.error.code == "node.unknown_route"
    assert "no, yes" in run.state.error.message


def test_no_label_where_all_edges_need_one_fails_the_run() -> None:
    run = given(graph("a>b:yes", "a>c:no")).completes("a:1")
    assert run.state.error is not None
    assert run.state.error.code == "node.no_route"


def test_a_plain_return_is_the_outcome_success_and_an_error_the_outcome_failure() -> None:
    both = graph("a>good:success", "a>bad:failure")
    assert "good:1" in given(both).completes("a:1").state.executions
    assert "bad:1" in given(both).fails("a:1").state.executions


def test_an_error_without_a_failure_edge_fails_the_run_and_keeps_what_was_done() -> None:
    run = given(graph("a>b")).completes("a:1", {"kept": True})
    run.fails("b:1").then("node.failed b:1", "run.stopping", "run.failed")
    assert run.state.values == {"kept": True}
    assert run.state.error is not None
    assert run.state.error.where == "nodes.b"


def test_a_failing_branch_does_not_take_back_a_finished_sibling() -> None:
    run = given(graph("a>b", "a>c", "b>d", "c>d")).completes("a:1")
    run.completes("b:1", {"b": 1}).fails("c:1")
    assert run.state.values == {"b": 1}


def test_a_retry_waits_for_its_timer_and_then_asks_again() -> None:
    run = given(graph("a>END", a={"retry": {"attempts": 2, "initial": 3, "jitter": 0}}))
    run.fails("a:1").then("timer.set a:1")
    assert run.state.timers["a:1/r1"].at == "2026-01-01T00:00:03.000Z"
    assert run.state.phase == "waiting"
    run.fires("a:1/r1").then("call.requested a:1")
    assert run.state.calls["a:1"].attempt == 2
    run.fails("a:1")
    assert run.state.status == "failed"


def test_an_error_that_is_not_retryable_is_not_retried() -> None:
    run = given(graph("a>END", a={"retry": {"attempts": 5}})).fails("a:1", retryable=False)
    assert run.state.status == "failed"


def test_a_second_result_changes_nothing_and_is_recorded() -> None:
    run = given(graph("a>b", "a>c", "b>d", "c>d")).completes("a:1")
    first = run.completion("b:1", {"b": "first"})
    run.when(first)
    second = first.model_copy(update={"id": "r_1.b:1.1.other", "update": {"b": "second"}})
    assert run.when(second).new == []
    run.completes("c:1")
    assert run.state.values == {"b": "first"}


def test_branches_do_not_see_each_other_and_the_join_sees_both() -> None:
    seen: dict[str, dict[str, JsonValue]] = {}

    def node(name: str) -> Function:
        def run(state: dict[str, JsonValue]) -> tuple[dict[str, JsonValue], str | None]:
            seen[name] = state
            return {name: 1}, None

        return run

    names = "abcd"
    simulate(graph("a>b", "a>c", "b>d", "c>d"), {n: node(n) for n in names})
    assert seen["b"] == {"a": 1}
    assert seen["c"] == {"a": 1}
    assert seen["d"] == {"a": 1, "b": 1, "c": 1}


@pytest.mark.parametrize("order", [("b:1", "c:1"), ("c:1", "b:1")])
def test_of_two_errors_that_meet_the_later_in_graph_order_is_seen_whoever_failed_first(
    order: tuple[str, str],
) -> None:
    run = given(graph("a>b", "a>c", "b>d:failure", "c>d:failure")).completes("a:1")
    for call in order:
        run.fails(call)
    error = run.work("d:1").state["error"]
    assert isinstance(error, dict)
    assert error["node"] == "c"


def test_different_values_from_branches_that_ran_beside_each_other_conflict() -> None:
    run = given(graph("a>b", "a>c", "b>d", "c>d")).completes("a:1")
    run.completes("b:1", {"k": 1}).completes("c:1", {"k": 2})
    assert run.state.status == "failed"
    assert run.state.error is not None
    assert run.state.error.code == "state.conflict"
    assert "b:1" in run.state.error.message
    assert "c:1" in run.state.error.message


def test_equal_values_and_successors_do_not_conflict() -> None:
    run = given(graph("a>b", "a>c", "b>d", "c>d")).completes("a:1", {"k": 0})
    run.completes("b:1", {"k": 1}).completes("c:1", {"k": 1}).completes("d:1", {"k": 5})
    assert run.state.status == "completed"
    assert run.state.values == {"k": 5}


@pytest.mark.parametrize("order", [("b:1", "c:1"), ("c:1", "b:1")])
def test_appends_reduce_in_graph_order_whoever_finishes_first(order: tuple[str, str]) -> None:
    run = given(graph("a>b", "a>c", "b>d", "c>d", reducers={"log": "append"})).completes(
        "a:1", {"log": "a"}
    )
    for call in order:
        run.completes(call, {"log": call[0]})
    run.completes("d:1", {"log": "d"})
    assert run.state.values == {"log": ["a", "b", "c", "d"]}


def test_a_reducer_that_does_not_fit_fails_the_node_with_the_key() -> None:
    run = given(graph("a>b", reducers={"n": "add"})).completes("a:1", {"n": "three"})
    assert run.state.error is not None
    assert run.state.error.code == "state.reducer"


# --- random graphs ------------------------------------------------------------------------------------------------


@st.composite
def graphs(draw: st.DrawFn) -> Graph:
    """Up to 8 nodes; plain edges lead forward, labelled ones anywhere, and every label also leads on or out."""
    n = draw(st.integers(2, 8))
    names = [f"n{i}" for i in range(n)]
    edges: set[str] = set()
    for i in range(1, n):
        source = draw(st.integers(0, i - 1))
        label = draw(st.sampled_from(["", "", ":x", ":y"]))
        edges.add(f"{names[source]}>{names[i]}{label}")
    for _ in range(draw(st.integers(0, n))):
        i, j = draw(st.integers(0, n - 1)), draw(st.integers(0, n - 1))
        label = (
            draw(st.sampled_from(["", ":x", ":y"]))
            if i < j
            else draw(st.sampled_from([":x", ":y"]))
        )
        edges.add(f"{names[i]}>{names[j]}{label}")
    for name in names:
        for label in ("x", "y"):
            edges.add(f"{name}>END:{label}")
    return graph(*sorted(edges), entry="n0", reducers={"log": "append"})


def players(graph: Graph, seed: int) -> dict[str, Function]:
    """Pure nodes: the label depends on the node and how often it has run on this path; loops end after three."""

    def player(name: str) -> Function:
        def run(state: dict[str, JsonValue]) -> tuple[dict[str, JsonValue], str | None]:
            path = state.get("log", [])
            assert isinstance(path, list)
            visit = sum(1 for entry in path if entry == name)
            label = random.Random(f"{seed}{name}{visit}").choice(["x", "y"]) if visit < 2 else "end"
            return {"log": name, f"last_{name}": visit}, label if label != "end" else "x"

        return run

    return {name: player(name) for name in graph.nodes}


def bounded(graph: Graph) -> Graph:
    """Loops are cut by max_visits: both outcomes of a run are of interest."""
    spec = graph.spec()
    nodes = spec["nodes"]
    assert isinstance(nodes, dict)
    for node in nodes.values():
        assert isinstance(node, dict)
        node["max_visits"] = 4
    return parse_graph(spec)


def executions(run: Scenario) -> set[str]:
    return {event.exec for event in run.log if event.type == "node.scheduled"}


@settings(max_examples=200, deadline=None)
@forall(graphs(), st.integers(0, 1000), st.integers(0, 1000), st.integers(0, 1000))
def test_what_runs_and_the_final_state_never_depend_on_timing(
    g: Graph, seed: int, one: int, two: int
) -> None:
    g = bounded(g)
    runs = [
        simulate(g, players(g, seed), pick=random.Random(order).randrange, most=500)
        for order in (one, two)
    ]
    first, second = runs
    assert first.state.status == second.state.status
    if first.state.status == "completed":
        assert executions(first) == executions(second)
        assert first.state.values == second.state.values


@settings(max_examples=100, deadline=None)
@forall(graphs(), st.integers(0, 1000), st.integers(0, 1000))
def test_every_event_folded_twice_changes_nothing_and_the_log_alone_gives_the_state(
    g: Graph, seed: int, order: int
) -> None:
    run = simulate(bounded(g), players(g, seed), pick=random.Random(order).randrange, most=500)
    assert run.refolded == run.state
    state = RunState("r_1")
    for event in run.log:
        state = fold(state, event)
        assert fold(state, event) == state
    assert state.values == run.state.values
