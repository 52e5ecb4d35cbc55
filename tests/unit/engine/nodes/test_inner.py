"""Subgraphs and maps: their own namespace, what crosses the border, and whose failure is whose."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
from pydantic import JsonValue

from partsong.contracts import events as e
from partsong.contracts.graph import Graph
from partsong.contracts.graph.validate import parse_graph
from partsong.engine.nodes.inner import MOST_ITEMS
from tests.support.scenario import Scenario, given


def functions(*names: str, **options: Any) -> dict[str, Any]:
    """Nodes that call a function of their own name."""
    return {
        name: {"type": "function", "function": f"m:{name}", **options.get(name, {})}
        for name in names
    }


def chain(*names: str, name: str = "inner", **fields: Any) -> dict[str, Any]:
    edges = [{"from": a, "to": b} for a, b in pairwise(names)]
    return {"name": name, "entry": names[0], "nodes": functions(*names), "edges": edges, **fields}


def around(node: dict[str, Any], **fields: Any) -> Graph:
    """`before` → the node under test, called `n` → `behind`."""
    edges = [{"from": "before", "to": "n"}, {"from": "n", "to": "behind"}]
    nodes = {**functions("before"), "n": node, **functions("behind")}
    spec = {"name": "outer", "entry": "before", "nodes": nodes, "edges": edges}
    return parse_graph({**spec, **fields})


def nested(graph: dict[str, Any], **fields: Any) -> dict[str, Any]:
    return {"type": "subgraph", "graph": graph, **fields}


def mapped(graph: dict[str, Any], **fields: Any) -> dict[str, Any]:
    return {"type": "map", "graph": graph, "over": "items", "into": "results", **fields}


def sees(run: Scenario, call_id: str) -> dict[str, Any]:
    """The state that a call gets."""
    call = run.state.calls[call_id]
    execution = run.state.execution(call.exec)
    assert execution is not None
    return run.state.view(execution)


def test_a_subgraph_runs_in_its_own_namespace_and_its_writes_come_out() -> None:
    run = given(around(nested(chain("x", "y"))), {"in": 1}).completes("before:1", {"a": 1})
    assert [event.type for event in run.new] == [
        "node.completed",
        "node.scheduled",
        "scope.opened",
        "node.scheduled",
        "call.requested",
    ]
    assert sees(run, "n:1/x:1") == {"in": 1, "a": 1}
    run.completes("n:1/x:1", {"b": 2}).completes("n:1/y:1", {"c": 3})
    assert sees(run, "behind:1") == {"in": 1, "a": 1, "b": 2, "c": 3}
    run.completes("behind:1")
    assert run.state.status == "completed"
    assert list(run.state.scopes) == [""]


def test_with_inputs_and_outputs_only_what_they_name_crosses_the_border() -> None:
    node = nested(chain("x"), inputs={"word": "{{a}}", "fixed": 7}, outputs={"answer": "b"})
    run = given(around(node), {"secret": 1}).completes("before:1", {"a": "hi"})
    assert sees(run, "n:1/x:1") == {"word": "hi", "fixed": 7}
    run.completes("n:1/x:1", {"b": 2, "scratch": 3})
    assert sees(run, "behind:1") == {"secret": 1, "a": "hi", "answer": 2}


def test_what_a_subgraph_appends_goes_through_the_outer_reducer_once() -> None:
    inner = chain("x", "y", reducers={"log": "append", "n": "add"})
    graph = around(nested(inner), reducers={"log": "append", "n": "add"})
    run = given(graph, {"log": ["in"], "n": 1}).completes("before:1", {"log": "a", "n": 1})
    run.completes("n:1/x:1", {"log": "x", "n": 10}).completes(
        "n:1/y:1", {"log": ["y", "z"], "n": 5}
    )
    assert sees(run, "behind:1") == {"log": ["in", "a", "x", "y", "z"], "n": 17}


def test_an_input_that_is_not_there_fails_the_node() -> None:
    run = given(around(nested(chain("x"), inputs={"w": "{{nope}}"}))).completes("before:1")
    assert run.state.error is not None
    assert run.state.error.code == "template.unknown_key"
    assert (run.state.error.where or "").startswith("nodes.n")


def test_subgraphs_nest_to_any_depth_and_an_error_says_how_deep() -> None:
    innermost = chain("z", name="deep")
    middle = {"name": "middle", "entry": "m", "nodes": {"m": nested(innermost)}}
    run = given(around(nested(middle))).completes("before:1").fails("n:1/m:1/z:1", retryable=False)
    assert run.state.status == "failed"
    assert run.state.error is not None
    assert run.state.error.where == "nodes.n.nodes.m.nodes.z"


def test_a_failure_edge_of_the_node_catches_what_fails_inside_and_sees_the_error() -> None:
    edges = [
        {"from": "before", "to": "n"},
        {"from": "n", "to": "behind"},
        {"from": "n", "to": "mend", "on": "failure"},
    ]
    nodes = {**functions("before"), "n": nested(chain("x")), **functions("behind", "mend")}
    graph = parse_graph({"name": "g", "entry": "before", "nodes": nodes, "edges": edges})
    run = given(graph).completes("before:1").fails("n:1/x:1", retryable=False)
    seen = sees(run, "mend:1")
    assert seen["error"]["code"] == "function.raised"
    assert seen["error"]["node"] == "n"
    run.completes("mend:1", {"mended": True})
    assert run.state.values == {"mended": True}, "the error was for the next node only"


def test_a_map_runs_its_items_side_by_side_and_keeps_their_order() -> None:
    run = given(around(mapped(chain("f"))), {"items": ["a", "b", "c"]}).completes("before:1")
    assert sees(run, "n:1/1/f:1") == {"items": ["a", "b", "c"], "item": "b", "index": 1}
    for index in (2, 0, 1):
        run.completes(f"n:1/{index}/f:1", {"r": index})
    assert sees(run, "behind:1")["results"] == [{"r": 0}, {"r": 1}, {"r": 2}]


def test_a_map_opens_no_more_items_than_it_may() -> None:
    node = mapped(chain("f"), max_concurrency=2, collect="r", inputs={})
    run = given(around(node), {"items": [1, 2, 3]}).completes("before:1")
    assert list(run.state.calls) == ["n:1/0/f:1", "n:1/1/f:1"]
    assert sees(run, "n:1/1/f:1") == {"item": 2, "index": 1}
    run.completes("n:1/1/f:1", {"r": "two"})
    assert list(run.state.calls) == ["n:1/0/f:1", "n:1/2/f:1"]
    run.completes("n:1/0/f:1", {"r": "one"}).completes("n:1/2/f:1", {"r": "three"})
    assert sees(run, "behind:1")["results"] == ["one", "two", "three"]


def test_a_map_over_nothing_gives_nothing() -> None:
    run = given(around(mapped(chain("f"))), {"items": []}).completes("before:1")
    assert sees(run, "behind:1")["results"] == []


def test_a_map_goes_over_so_many_items_and_no_more() -> None:
    too_many: dict[str, JsonValue] = {"items": list[JsonValue]([0] * (MOST_ITEMS + 1))}
    run = given(around(mapped(chain("f"))), too_many).completes("before:1")
    assert run.state.error is not None
    problem = run.state.error
    assert (problem.code, problem.where) == ("map.too_many_items", "nodes.n (items)")
    assert run.state.scopes.keys() == {""}
    node = mapped(chain("f"), max_concurrency=1)
    run = given(around(node), {"items": list[JsonValue]([0] * MOST_ITEMS)}).completes("before:1")
    assert run.state.error is None


def test_a_map_over_no_list_says_what_is_there() -> None:
    run = given(around(mapped(chain("f"))), {"items": {"a": 1}}).completes("before:1")
    assert run.state.error is not None
    assert run.state.error.code == "map.not_a_list"


@pytest.mark.parametrize(
    ("policy", "status"), [("fail_fast", "failed"), ("continue", "failed"), ("collect", "running")]
)
def test_what_a_failed_item_means_is_the_maps_choice(policy: str, status: str) -> None:
    node = mapped(chain("f"), on_item_error=policy)
    run = given(around(node), {"items": [1, 2]}).completes("before:1")
    run.fails("n:1/0/f:1", retryable=False)
    if policy != "fail_fast":
        assert run.state.status == "running"
        run.completes("n:1/1/f:1", {"r": 2})
    assert run.state.status == status
    if policy == "collect":
        first, second = sees(run, "behind:1")["results"]
        assert first["error"]["code"] == "function.raised"
        assert second == {"r": 2}


def test_after_a_retry_only_the_failed_item_runs_again() -> None:
    node = mapped(chain("f"), on_item_error="continue", collect="r")
    run = given(around(node), {"items": [1, 2, 3]}).completes("before:1")
    run.completes("n:1/0/f:1", {"r": 10}).fails("n:1/1/f:1", retryable=False)
    run.completes("n:1/2/f:1", {"r": 30})
    assert run.state.status == "failed"
    run.retries().then("call.requested n:1/1/f:1")
    assert run.state.calls["n:1/1/f:1"].attempt == 2
    run.completes("n:1/1/f:1", {"r": 20})
    assert sees(run, "behind:1")["results"] == [10, 20, 30]


def test_approvals_inside_what_is_given_up_are_closed_first() -> None:
    ask = {"type": "approval", "title": "ok?"}
    inner = {
        "name": "inner",
        "entry": "s",
        "nodes": {**functions("s", "f"), "ask": ask},
        "edges": [{"from": "s", "to": "f"}, {"from": "s", "to": "ask"}],
    }
    edges = [{"from": "n", "to": "mend", "on": "failure"}]
    nodes = {"n": nested(inner), **functions("mend")}
    run = given(parse_graph({"name": "g", "entry": "n", "nodes": nodes, "edges": edges}))
    run.completes("n:1/s:1").fails("n:1/f:1", retryable=False)
    assert isinstance(run.new[0], e.CallCancelled)
    assert run.new[0].call_id == "n:1/ask:1"
    assert "mend:1" in run.state.executions
    assert run.refolded == run.state


def test_a_detached_subgraph_is_a_run_of_its_own_whose_end_is_awaited() -> None:
    node = nested(chain("x"), detached=True, outputs={"answer": "b"})
    run = given(around(node), {"q": 1}).completes("before:1")
    call = run.state.calls["n:1"]
    assert (call.kind, call.name) == ("run", "inner")
    assert run.state.phase == "waiting"
    run.when(
        e.ChildEnded(
            id="c", call_id="n:1", child="r_1--n-1", status="completed", state={"b": 2, "q": 1}
        )
    )
    assert sees(run, "behind:1") == {"q": 1, "answer": 2}
