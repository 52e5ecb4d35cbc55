"""A graph is valid before it runs, and what is wrong names its place."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import JsonValue

from partsong.contracts.errors import InvalidInput
from partsong.contracts.graph import MapNode
from partsong.contracts.graph.plan import plan_of
from partsong.contracts.graph.validate import parse_graph, problems_in

F = {"type": "function", "function": "m:f"}


@pytest.mark.parametrize(
    ("spec", "code", "where"),
    [
        ([], "graph.malformed", "graph"),
        ({"nodes": {"a": F}}, "graph.malformed", "graph.name"),
        ({"name": "t", "nodes": {}}, "graph.malformed", "graph.entry"),
        ({"name": "t", "nodes": {"a b": F}}, "graph.malformed", "graph.nodes.a b.[key]"),
        ({"name": "t", "nodes": {"a": {"type": "fnction"}}}, "graph.malformed", "graph.nodes.a"),
        (
            {"name": "t", "nodes": {"a": {**F, "retries": 3}}},
            "graph.malformed",
            "graph.nodes.a.function.retries",
        ),
        ({"name": "t", "entry": "x", "nodes": {"a": F}}, "graph.unknown_entry", "entry"),
        (
            {"name": "t", "nodes": {"analyze": F}, "edges": [{"from": "analyze", "to": "path_X"}]},
            "graph.unknown_target",
            "edges[0].to",
        ),
        (
            {"name": "t", "nodes": {"a": F}, "edges": [{"from": "b", "to": "a"}]},
            "graph.unknown_source",
            "edges[0].from",
        ),
        ({"name": "t", "nodes": {"a": F, "b": F}}, "graph.unreachable", "nodes.b"),
        (
            {
                "name": "t",
                "nodes": {"a": F, "b": F},
                "edges": [{"from": "a", "to": "b"}, {"from": "b", "to": "a"}],
            },
            "graph.endless_cycle",
            "nodes.a",
        ),
        (
            {"name": "t", "nodes": {"a": F}, "reducers": {"x": "sum"}},
            "graph.malformed",
            "graph.reducers.x",
        ),
        ({"name": "t", "nodes": {"END": F}}, "graph.reserved_name", "nodes.END"),
        (
            {"name": "t", "nodes": {"a": {**F, "function": "m:\ud800"}}},
            "graph.malformed",
            "graph.nodes.a.function",
        ),
        (
            {"name": "t", "nodes": {"a": {"type": "transform", "set": {"\ud800": "1"}}}},
            "graph.malformed",
            "graph.nodes.a.set",
        ),
        (
            {"name": "t", "nodes": {"a": F}, "state_schema": {"const": "a\0b"}},
            "graph.malformed",
            "graph.state_schema.const",
        ),
        (
            {"name": "t", "nodes": {"a": {**F, "timeout": float("inf")}}},
            "duration.invalid",
            "graph.nodes.a.function.timeout",
        ),
    ],
)
def test_each_mistake_is_found_and_placed(spec: object, code: str, where: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        parse_graph(spec)
    assert (caught.value.problem.code, caught.value.problem.where) == (code, where)


def test_a_misspelt_target_gets_a_suggestion() -> None:
    spec = {
        "name": "t",
        "nodes": {"analyze": F, "answer": F},
        "edges": [{"from": "analyze", "to": "anser"}],
    }
    with pytest.raises(InvalidInput, match="no node anser") as caught:
        parse_graph(spec)
    assert caught.value.problem.fix == "did you mean answer?"


def test_start_edges_set_the_entry_and_the_first_node_is_the_default() -> None:
    nodes = {"a": F, "b": F}
    assert (
        parse_graph({"name": "t", "nodes": nodes, "edges": [{"from": "a", "to": "b"}]}).entry == "a"
    )
    edges = [{"from": "START", "to": "b"}, {"from": "b", "to": "a"}]
    assert parse_graph({"name": "t", "nodes": nodes, "edges": edges}).entry == "b"


@pytest.mark.parametrize(
    ("edges", "code"),
    [
        ([{"from": "START", "to": "a"}, {"from": "START", "to": "b"}], "graph.two_entries"),
        ([{"from": "START", "to": "a", "on": "success"}], "graph.start_label"),
    ],
)
def test_what_begins_twice_or_under_a_condition_is_refused(edges: object, code: str) -> None:
    spec = {"name": "t", "nodes": {"a": F, "b": F}, "edges": edges}
    outer = {"name": "o", "nodes": {"s": {"type": "subgraph", "graph": spec}}}
    for whole, where in ((spec, "entry"), (outer, "nodes.s.graph.entry")):
        with pytest.raises(InvalidInput) as caught:
            parse_graph(whole)
        assert (caught.value.problem.code, caught.value.problem.where) == (code, where)
    with pytest.raises(InvalidInput, match="the entry is b already"):
        parse_graph({**spec, "entry": "b", "edges": [{"from": "START", "to": "a"}]})


def test_inner_graphs_are_read_as_the_outer_one_is() -> None:
    inner = {"name": "i", "nodes": {"a": F, "b": F}, "edges": [{"from": "b", "to": "a"}]}
    begun = {**inner, "edges": [{"from": "START", "to": "b"}, *inner["edges"]]}
    outer = {"name": "o", "nodes": {"m": {"type": "map", "over": "x", "into": "y", "graph": begun}}}
    node = parse_graph(outer).nodes["m"]
    assert isinstance(node, MapNode)
    assert node.graph == parse_graph({**inner, "entry": "b"})
    plain = {
        "name": "o",
        "nodes": {"s": {"type": "subgraph", "graph": {"name": "i", "nodes": {"a": F}}}},
    }
    assert parse_graph(plain).entry == "s"


def test_all_that_is_wrong_can_be_asked_for() -> None:
    found = problems_in({"name": "t", "nodes": {"a": {**F, "x": 1, "timeout": "soon"}}, "y": 1})
    assert [problem.where for problem in found] == [
        "graph.nodes.a.function.timeout",
        "graph.nodes.a.function.x",
        "graph.y",
    ]
    edges = [{"from": "a", "to": "c"}, {"from": "d", "to": "a"}]
    found = problems_in({"name": "t", "nodes": {"a": F}, "edges": edges})
    assert [problem.code for problem in found] == ["graph.unknown_target", "graph.unknown_source"]
    assert problems_in([])[0].code == "graph.malformed"
    assert problems_in({"name": "t", "nodes": {"a": F}}) == []


def test_equal_graphs_have_equal_hashes_and_the_spec_is_the_graph() -> None:
    spec = {"name": "t", "nodes": {"a": {**F, "timeout": "2m"}}}
    graph = parse_graph(spec)
    assert graph.nodes["a"].timeout == 120
    assert parse_graph(graph.spec()) == graph
    assert parse_graph(graph.spec()).hash == graph.hash
    assert parse_graph({**spec, "name": "u"}).hash != graph.hash


@given(st.integers(2, 9), st.sets(st.tuples(st.integers(0, 8), st.integers(0, 8)), max_size=20))
def test_reachability_equals_a_plain_search(n: int, pairs: set[tuple[int, int]]) -> None:
    names = [f"n{i}" for i in range(n)]
    wanted = {(i % n, j % n) for i, j in pairs} | {(i, i + 1) for i in range(n - 1)}
    edges = [{"from": names[i], "to": names[j], "on": "x"} for i, j in sorted(wanted)]
    plan = plan_of(
        parse_graph({"name": "t", "entry": "n0", "nodes": dict.fromkeys(names, F), "edges": edges})
    )
    for i in range(n):
        found: set[int] = set()
        frontier = {j for k, j in wanted if k == i}
        while frontier:
            found |= frontier
            frontier = {j for k, j in wanted if k in frontier} - found
        assert {j for j in range(n) if plan.reaches(names[i], names[j])} == found


INNER = {"name": "i", "nodes": {"a": F}}
KINDS: dict[str, Mapping[str, object]] = {
    "function": F,
    "agent": {"type": "agent", "agent": {"model": "scripted:echo"}},
    "tool": {"type": "tool", "tool": "calculator"},
    "approval": {"type": "approval", "title": "ok?"},
    "wait": {"type": "wait", "seconds": 1},
    "transform": {"type": "transform", "set": {"x": "1"}},
    "subgraph": {"type": "subgraph", "graph": INNER},
    "detached": {"type": "subgraph", "graph": INNER, "detached": True},
    "map": {"type": "map", "graph": INNER, "over": "x", "into": "y"},
}
CALLING = {"retry": {"attempts": 2}, "timeout": 3, "idle_timeout": 3}
HEEDED = {
    "function": {"retry", "timeout", "idle_timeout"},
    "agent": {"retry", "timeout", "idle_timeout"},
    "tool": {"retry", "timeout"},
    "detached": {"retry"},
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("option", CALLING)
def test_an_option_that_a_kind_of_node_does_not_heed_is_a_mistake(kind: str, option: str) -> None:
    node = {**KINDS[kind], option: CALLING[option]}
    found = problems_in({"name": "t", "nodes": {"n": node}})
    if option in HEEDED.get(kind, ()):
        assert found == []
        return
    [problem] = found
    assert (problem.code, problem.where) == ("graph.no_effect", f"nodes.n.{option}")
    assert problem.message == f"{node['type']} node n has {option}, which has no effect there"
    assert problem.fix


def test_what_can_be_undone_may_say_how_often_that_is_tried() -> None:
    node = {**KINDS["wait"], "compensate": "m:undo", "retry": {"attempts": 9}}
    assert problems_in({"name": "t", "nodes": {"n": node}}) == []


def around(levels: int, *, detached: bool = False) -> dict[str, JsonValue]:
    """A graph in so many others, whose nodes have the longest names."""
    graph: dict[str, JsonValue] = {
        "name": "g",
        "nodes": {"n" * 64: {"type": "wait", "seconds": 1}},
    }
    for level in range(levels):
        node: JsonValue = {"type": "subgraph", "graph": graph}
        if detached and level == levels // 2 and isinstance(node, dict):
            node["detached"] = True
        graph = {"name": "g", "nodes": {"n" * 64: node}}
    return graph


def test_graphs_in_graphs_are_refused_where_the_ids_of_their_calls_would_not_fit() -> None:
    """A hint with such an id was buried, and its run waited for ever."""
    assert problems_in(around(11)) == []
    (found,) = problems_in(around(13))
    assert found.code == "graph.too_deep"
    assert (found.where or "").endswith(".graph")
    assert problems_in(around(13, detached=True)) == []


def test_what_has_the_right_shape_is_checked_beside_what_has_not() -> None:
    """And nothing is said of what stands in for the rest."""
    spec = {
        "name": "t",
        "entry": "a",
        "nodes": {
            "a": {**F, "x": 1},
            "b": {"type": "nothing"},
            "c": {"type": "agent", "agent": {"model": 5, "handoffs": {"d": "to d"}}},
            "d": {"type": "tool", "tool": "t"},
            "lost": F,
        },
        "edges": [
            {"from": "a", "to": "b", "on": ["x"]},
            {"from": "a", "to": "c", "else": True, "when": "1 +"},
            {"from": "b", "to": "c", "on": "whatever"},
            {"from": "c", "to": "d", "on": "d"},
            {"from": "d", "to": "d", "on": "good"},
            "nonsense",
        ],
    }
    found = problems_in(spec)
    shape = [problem.where for problem in found if problem.code == "graph.malformed"]
    assert shape == [
        "graph.nodes.a.function.x",
        "graph.nodes.b",
        "graph.nodes.c.agent.agent.model",
        "graph.edges[0].on",
        "graph.edges[5]",
    ]
    assert [(p.code, p.where) for p in found if p.code != "graph.malformed"] == [
        ("graph.two_choices", "edges[1]"),
        ("cel.syntax", "edges[1].when"),
        ("graph.unreachable", "nodes.lost"),
        ("graph.unknown_label", "nodes.d"),
    ]


@pytest.mark.parametrize(
    "spec",
    [
        {"nodes": 5}, {"name": "t", "nodes": {}}, {"name": "t", "nodes": {"a b": F}},
        {"name": "t", "nodes": {"a": F}, "edges": "x"}, {"name": "t", "nodes": {"a": 5}},
        {"name": "t", "nodes": {"s": {"type": "subgraph", "graph": 5}}}, "x", None, {},
    ],
)  # fmt: skip
def test_what_is_no_graph_at_all_has_problems_too(spec: object) -> None:
    assert problems_in(spec)
    with pytest.raises(InvalidInput) as refused:
        parse_graph(spec)
    assert refused.value.problems


def test_a_slip_in_a_name_does_not_make_what_it_meant_unreachable() -> None:
    nodes = {"start": F, "review": F, "publish": F}
    edges = [{"from": "start", "to": "reveiw"}, {"from": "review", "to": "publish"}]
    found = problems_in({"name": "t", "entry": "start", "nodes": nodes, "edges": edges})
    assert [(p.code, p.fix) for p in found] == [("graph.unknown_target", "did you mean review?")]
