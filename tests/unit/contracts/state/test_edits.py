"""Edits of a fork: they reach what is open inside a run, at any depth, or they are refused."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
from pydantic import JsonValue

from partsong.contracts.errors import InvalidInput
from partsong.contracts.graph.validate import parse_graph
from partsong.contracts.state.edits import edited
from tests.support.scenario import Scenario, given


def function(name: str) -> dict[str, Any]:
    return {"type": "function", "function": f"m:{name}"}


def chain(*names: str, **nodes: dict[str, Any]) -> dict[str, Any]:
    edges = [{"from": a, "to": b} for a, b in pairwise(names)]
    return {"name": "t", "entry": names[0], "nodes": nodes, "edges": edges}


def nested(inner: dict[str, Any], **sub: Any) -> dict[str, Any]:
    """A subgraph around a graph, behind a function that writes x."""
    node = {"type": "subgraph", "graph": inner, **sub}
    return chain("a", "sub", a=function("a"), sub=node)


def forked(run: Scenario, values: dict[str, JsonValue]) -> Scenario:
    return Scenario.forked(edited(run.state, values), 7, "r_2")


TWO = chain("b", "c", b=function("b"), c=function("c"))


@pytest.mark.parametrize("depth", [1, 2, 3])
def test_a_key_reaches_what_is_open_inside_however_deep(depth: int) -> None:
    spec = TWO
    for _ in range(depth):
        spec = nested(spec)
    run, path = given(parse_graph(spec)), ""
    for _ in range(depth):
        run.completes(f"{path}a:1", {"x": 1})
        path += "sub:1/"
    run.completes(f"{path}b:1", {"y": 1})
    fork = forked(run, {"x": 2})
    assert fork.work(f"{path}c:1").state["x"] == 2
    assert fork.work(f"{path}c:1").state["y"] == 1
    fork.completes(f"{path}c:1", {"z": 3})
    assert fork.state.status == "completed"
    assert (fork.state.values["x"], fork.state.values["z"]) == (2, 3)
    assert fork.refolded == fork.state
    assert run.state.values["x"] == 1, "the origin is as it was"


def test_a_key_that_was_written_inside_too_is_the_edited_one_for_all_who_look() -> None:
    run = given(parse_graph(nested(TWO))).completes("a:1", {"x": 1})
    run.completes("sub:1/b:1", {"x": 5})
    fork = forked(run, {"x": 2})
    assert fork.work("sub:1/c:1").state["x"] == 2
    assert fork.completes("sub:1/c:1").state.values["x"] == 2


def test_inputs_are_computed_anew_from_what_is_edited() -> None:
    run = given(parse_graph(nested(TWO, inputs={"n": "{{x}}", "m": "{{k}}"}, outputs={"r": "z"})))
    run.completes("a:1", {"x": 1, "k": 1})
    run.completes("sub:1/b:1", {"x": 7})
    fork = forked(run, {"x": 2})
    assert fork.work("sub:1/c:1").state == {"n": 2, "m": 1, "x": 7}, "its own x is another one"


@pytest.mark.parametrize(
    ("values", "seen"),
    [
        ({"k": 9}, [(9, 1), (9, 2)]),
        ({"each:1/1/k": 9}, [(0, 1), (9, 2)]),
        ({"each:1/0/item": 5}, [(0, 5), (0, 2)]),
        ({"l": [3, 4]}, [(0, 3), (0, 4)]),
        ({"l": [3]}, [(0, 3), (0, 2)]),
    ],
)
def test_a_key_reaches_the_items_that_are_open_or_the_one_that_is_named(
    values: dict[str, JsonValue], seen: list[tuple[int, int]]
) -> None:
    each = {"type": "map", "over": "l", "into": "out", "graph": TWO, "inputs": {"k": "{{k}}"}}
    run = given(parse_graph(chain("a", "each", a=function("a"), each=each)))
    run.completes("a:1", {"k": 0, "l": [1, 2]})
    fork = forked(run, values)
    found = [fork.work(f"each:1/{i}/b:1").state for i in range(2)]
    assert [(state["k"], state["item"]) for state in found] == seen


def test_a_key_of_one_open_graph_is_named_by_its_path() -> None:
    run = given(parse_graph(nested(nested(TWO)))).completes("a:1", {"x": 1})
    run.completes("sub:1/a:1", {"x": 2})
    fork = forked(run, {"sub:1/sub:1/x": 3, "new": True})
    state = fork.work("sub:1/sub:1/b:1").state
    assert (state["x"], state["new"]) == (3, True)
    assert fork.state.scopes["sub:1"].values["x"] == 2


@pytest.mark.parametrize("key", ["sub:1/x", "nobody:1/x"])
def test_a_path_at_which_nothing_is_open_is_refused(key: str) -> None:
    run = given(parse_graph(nested(TWO)))
    with pytest.raises(InvalidInput) as refused:
        edited(run.state, {key: 1})
    assert refused.value.problem.code == "fork.unknown_scope"
    assert refused.value.problem.where == f"values.{key}"


def test_a_key_of_the_run_may_look_like_a_path() -> None:
    run = given(parse_graph(nested(TWO))).completes("a:1", {"q:1/a": 1})
    assert edited(run.state, {"q:1/a": 2}).values["q:1/a"] == 2
