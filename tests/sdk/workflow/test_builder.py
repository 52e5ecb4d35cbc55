"""The builder: what each method adds, which functions a graph names, and mistakes that are found."""

from __future__ import annotations

import functools
from collections.abc import Callable
from datetime import UTC, datetime

import pytest
from pydantic import BaseModel, JsonValue

from partsong.contracts.errors import InvalidInput
from partsong.contracts.graph import FunctionNode, Graph, MapNode, SubgraphNode
from partsong.contracts.graph.validate import functions_of, parse_graph
from partsong.workflow import END, START, AgentSpec, AtLeast, Retry, ToolNode, WorkflowGraph
from tests.system import nodes
from tests.system.nodes import State


def problem(build: Callable[[], object]) -> tuple[str, str | None]:
    with pytest.raises(InvalidInput) as found:
        build()
    return found.value.problem.code, found.value.problem.where


def inside(graph: Graph, name: str) -> Graph:
    node = graph.nodes[name]
    assert isinstance(node, SubgraphNode | MapNode)
    return node.graph


def pair(name: str = "pair") -> WorkflowGraph:
    graph = WorkflowGraph(name).add_node("left", nodes.left).add_node("right", nodes.right)
    return graph.add_edge("left", "right")


def test_all_that_is_wrong_with_a_graph_can_be_asked_for() -> None:
    graph = pair().add_transform("sum", {"x": "1 +", "y": "(("}).add_edge("right", "nowhere")
    found = graph.validate()
    assert [(problem.code, problem.where) for problem in found] == [
        ("graph.unknown_target", "edges[1].to"),
        ("graph.unreachable", "nodes.sum"),
        ("cel.syntax", "nodes.sum.set.x"),
        ("cel.syntax", "nodes.sum.set.y"),
    ]
    with pytest.raises(InvalidInput) as refused:
        graph.compile()
    assert list(refused.value.problems) == found
    assert "also graph.unreachable: no path leads from left to sum" in str(refused.value)
    assert pair().validate() == []


def test_every_method_gives_the_graph_that_its_data_gives() -> None:
    graph = WorkflowGraph("all", on_failure="continue", reducers={"log": "append"})
    graph.add_node("a", nodes.start, idle_timeout="5s", retry=Retry(attempts=2), join="any")
    graph.add_subgraph("sub", pair(), inputs={"x": "{{y}}"}, outputs={"o": "left"}, detached=True)
    graph.add_map("each", pair(), over="items", into="done", max_concurrency=2, collect="left")
    graph.add_wait("w", signal="go", deadline="1h", output="got", max_visits=3)
    graph.add_wait("until", until=datetime(2030, 1, 1, tzinfo=UTC))
    graph.add_transform("t", {"n": "size(state.done)"}, join=2)
    graph.add_edge(START, "a").add_parallel("a", ["sub", "each"], "t").on_error("a", "w")
    graph.add_condition("t", [("state.n > 1", "w")], otherwise=END).add_edge(
        "w", "until", on="timeout"
    )
    graph.add_goto("a", ["until", END]).compensate("a", nodes.nothing)
    spec = graph.spec().spec()
    inner = pair().spec().spec()
    assert spec["on_failure"] == "continue"
    assert spec["nodes"] == {
        "a": {
            "type": "function",
            "function": "tests.system.nodes:start",
            "retry": {"attempts": 2},
            "idle_timeout": 5.0,
            "join": "any",
            "compensate": "tests.system.nodes:nothing",
        },
        "sub": {"type": "subgraph", "graph": inner, "inputs": {"x": "{{y}}"}, "outputs": {"o": "left"}, "detached": True},
        "each": {"type": "map", "graph": inner, "over": "items", "into": "done", "collect": "left", "max_concurrency": 2},
        "w": {"type": "wait", "signal": "go", "deadline": 3600.0, "output": "got", "max_visits": 3},
        "until": {"type": "wait", "until": "2030-01-01T00:00:00+00:00"},
        "t": {"type": "transform", "set": {"n": "size(state.done)"}, "join": {"n": 2}},
    }  # fmt: skip
    assert spec["edges"] == [
        {"from": "a", "to": "sub"},
        {"from": "sub", "to": "t"},
        {"from": "a", "to": "each"},
        {"from": "each", "to": "t"},
        {"from": "a", "to": "w", "on": "failure"},
        {"from": "t", "to": "w", "when": "state.n > 1"},
        {"from": "t", "to": "END", "else": True},
        {"from": "w", "to": "until", "on": "timeout"},
        {"from": "a", "to": "until", "goto": True},
        {"from": "a", "to": "END", "goto": True},
    ]


@pytest.mark.parametrize("join", [AtLeast(n=2), {"n": 2}, 2])
def test_a_join_of_so_many_is_written_in_three_ways(join: AtLeast | dict[str, int] | int) -> None:
    graph = WorkflowGraph("t").add_node("a", nodes.start).add_node("b", nodes.left, join=join)
    graph.add_edge("a", "b").add_edge("a", "b", on="failure")
    assert graph.compile().nodes["b"].join == AtLeast(n=2)


def test_a_loop_is_a_way_back_and_a_way_on() -> None:
    def edges(graph: WorkflowGraph) -> list[JsonValue]:
        spec = graph.compile().spec()
        assert isinstance(spec["edges"], list)
        return spec["edges"]

    body = pair().add_loop("left", "right", while_="state.n < 3", max_visits=5)
    assert edges(body)[1:] == [
        {"from": "right", "to": "left", "when": "state.n < 3"},
        {"from": "right", "to": "END", "else": True},
    ]
    assert body.compile().nodes["left"].max_visits == 5
    alone = WorkflowGraph("t").add_node("a", nodes.start).add_node("b", nodes.left)
    assert edges(alone.add_loop("a", until="state.done", then="b")) == [
        {"from": "a", "to": "b", "when": "state.done"},
        {"from": "a", "to": "a", "else": True},
    ]


def test_a_loop_has_one_condition_and_bounds_a_node_that_is_there() -> None:
    assert problem(lambda: pair().add_loop("left", "right")) == ("graph.loop", "nodes.right")
    assert problem(lambda: pair().add_loop("left", while_="true", until="true"))[0] == "graph.loop"
    lost = pair().add_loop("lift", "right", until="true", max_visits=2)
    assert problem(lost.compile) == ("graph.unknown_node", "nodes.lift")
    assert problem(pair().compensate("lift", nodes.nothing).compile)[0] == "graph.unknown_node"


def test_a_schema_is_a_model_or_a_schema() -> None:
    class Paid(BaseModel):
        amount: int

    for schema in (Paid, Paid.model_json_schema()):
        graph = WorkflowGraph("t", state_model=schema).add_wait("w", signal="paid", schema=schema)
        spec = graph.compile().spec()
        assert spec["state_schema"] == Paid.model_json_schema()
        assert spec["nodes"] == {
            "w": {"type": "wait", "signal": "paid", "signal_schema": Paid.model_json_schema()}
        }


def test_a_map_of_one_node_collects_what_an_agent_or_a_tool_answers() -> None:
    graph = WorkflowGraph("t")
    each = functools.partial(graph.add_map, over="items", into="all")
    each("agent", AgentSpec(model="scripted:echo"), retry=Retry(attempts=2), join="any")
    each("tool", ToolNode(tool="calculator", args={"expression": "{{item}}"}, output="sum"))
    each("function", nodes.left, timeout=3)
    each("named", "tests.system.nodes:right", collect="right")
    graph.add_edge("agent", "tool").add_edge("tool", "function").add_edge("function", "named")
    spec = graph.spec()
    found = {name: node for name, node in spec.nodes.items() if isinstance(node, MapNode)}
    assert {name: node.collect for name, node in found.items()} == {
        "agent": "agent",
        "tool": "sum",
        "function": None,
        "named": "right",
    }
    assert found["agent"].join == "any"
    assert found["agent"].graph.spec()["nodes"] == {
        "agent": {
            "type": "agent",
            "agent": {"model": "scripted:echo"},
            "prompt": "{{item}}",
            "retry": {"attempts": 2},
        }
    }
    assert found["function"].graph.nodes["function"].timeout == 3
    assert [*functions_of(spec)] == ["tests.system.nodes:left", "tests.system.nodes:right"]


def test_what_would_have_no_effect_is_refused() -> None:
    graph = WorkflowGraph("t")
    retry = Retry()
    assert problem(lambda: graph.add_map("m", pair(), over="x", into="y", timeout=3)) == (
        "graph.no_effect",
        "nodes.m.timeout",
    )
    assert problem(lambda: graph.add_subgraph("s", pair(), retry=retry))[0] == "graph.no_effect"
    graph.add_subgraph("s", pair(), retry=retry, detached=True)
    assert graph.compile().nodes["s"].retry == retry


def test_functions_of_inner_graphs_and_compensations_are_told_apart_by_their_place() -> None:
    def lonely(n: int) -> Callable[[State], State]:
        return lambda state: {"n": n}

    made = {name: lonely(i) for i, name in enumerate(("outer", "inner", "undo", "each"))}
    inner = WorkflowGraph("i").add_node("a", made["inner"]).compensate("a", made["undo"])
    graph = WorkflowGraph("o").add_node("a", made["outer"]).add_subgraph("s", inner)
    graph.add_map("m", made["each"], over="items", into="all")
    graph.add_edge("a", "s").add_edge("s", "m")
    assert set(graph.functions.values()) == set(made.values())
    assert set(functions_of(graph.compile())) == set(graph.functions)
    assert {name.rpartition("@")[2] for name in graph.functions} == {
        "a",
        "s/a",
        "s/a.compensate",
        "m/m",
    }


def test_functions_that_share_a_name_do_not_take_each_others_place() -> None:
    class Counter:
        def __init__(self, n: int) -> None:
            self.n = n

        def count(self, state: State) -> State:
            return {"n": self.n}

    one, two = functools.partial(nodes.left), functools.partial(nodes.right)
    graph = WorkflowGraph("t").add_node("a", one).add_node("b", two).add_edge("a", "b")
    assert [*graph.functions.values()] == [one, two]
    bound = WorkflowGraph("t").add_node("a", Counter(1).count).add_node("b", Counter(2).count)
    assert len(bound.add_edge("a", "b").functions) == 2
    same = WorkflowGraph("t").add_node("a", nodes.left).add_node("b", nodes.left)
    assert [*same.add_edge("a", "b").functions] == ["tests.system.nodes:left"]


def test_a_function_that_cannot_travel_is_named_with_its_place() -> None:
    inner = WorkflowGraph("i").add_node("a", lambda state: None)
    graph = WorkflowGraph("o").add_subgraph("s", inner)
    assert problem(graph.spec) == ("function.not_portable", "nodes.s.graph.nodes.a.function")
    assert problem(pair().compensate("left", lambda state: None).spec) == (
        "function.not_portable",
        "nodes.left.compensate",
    )
    assert inside(graph.spec(portable_functions=False), "s") == inside(graph.compile(), "s")


def test_an_inner_graph_may_grow_until_the_outer_one_is_compiled() -> None:
    inner = WorkflowGraph("inner").add_node("a", nodes.left)
    graph = WorkflowGraph("outer").add_subgraph("s", inner)
    inner.add_node("b", nodes.right).add_edge("a", "b")
    assert set(inside(graph.compile(), "s").nodes) == {"a", "b"}


def test_an_inner_graph_may_be_data() -> None:
    data = pair().compile()
    graph = WorkflowGraph("outer").add_subgraph("s", data).add_map("m", data, over="x", into="y")
    compiled = graph.add_edge("s", "m").compile()
    assert inside(compiled, "s") == inside(compiled, "m") == data


def test_a_mistake_in_an_inner_graph_is_named_with_its_place() -> None:
    inner = pair().add_edge("right", "nobody")
    middle = WorkflowGraph("middle").add_subgraph("deep", inner)
    graph = WorkflowGraph("outer").add_map("m", middle, over="x", into="y")
    assert problem(graph.compile) == (
        "graph.unknown_target",
        "nodes.m.graph.nodes.deep.graph.edges[1].to",
    )
    empty = WorkflowGraph("outer").add_subgraph("s", WorkflowGraph("empty"))
    assert problem(empty.compile) == ("graph.empty", "nodes.s.graph.nodes")
    wrong = WorkflowGraph("outer").add_map("m", pair(), over="x", into="y", max_concurrency=0)
    assert problem(wrong.compile) == ("graph.malformed", "nodes.m.max_concurrency")
    unnamed = WorkflowGraph("outer").add_subgraph("s", pair(name="no name"))
    assert problem(unnamed.compile) == ("graph.malformed", "nodes.s.graph.name")


def test_a_graph_inside_itself_is_refused() -> None:
    graph, other = WorkflowGraph("a"), WorkflowGraph("b")
    graph.add_subgraph("s", other)
    other.add_map("m", graph, over="x", into="y")
    assert problem(graph.compile) == ("graph.recursive", "nodes.s.graph.nodes.m.graph")


@pytest.mark.parametrize(
    "build",
    [
        lambda graph: graph.add_conditional_edge("left", {}),
        lambda graph: graph.add_condition("left", [], otherwise="right"),
        lambda graph: graph.add_goto("left", []),
    ],
)
def test_a_choice_of_nothing_is_refused(build: Callable[[WorkflowGraph], object]) -> None:
    assert problem(lambda: build(pair())) == ("graph.no_routes", "nodes.left")


def test_mistakes_of_a_single_call_are_said_at_once() -> None:
    graph = WorkflowGraph("t")
    assert problem(lambda: graph.add_wait("w", seconds=3, signal="x")) == (
        "graph.malformed",
        "nodes.w",
    )
    naive = datetime(2030, 1, 1)  # noqa: DTZ001  # the mistake
    assert problem(lambda: graph.add_wait("w", until=naive))[1] == "nodes.w.until"
    assert problem(lambda: graph.add_node("a", nodes.left, timeout="soon"))[1] == "nodes.a.timeout"
    assert problem(lambda: graph.add_edge(START, "a", on="success"))[0] == "graph.start_label"
    assert problem(lambda: pair().add_node("left", nodes.left))[0] == "graph.duplicate_node"
    assert problem(lambda: pair().set_entry("left").set_entry("right"))[0] == "graph.two_entries"
    assert problem(WorkflowGraph("t").compile) == ("graph.empty", "nodes")


def test_a_function_node_by_name_is_left_to_whoever_has_it() -> None:
    graph = WorkflowGraph("t").add_node("a", "elsewhere:work")
    node = graph.spec().nodes["a"]
    assert isinstance(node, FunctionNode)
    assert (node.function, graph.functions) == ("elsewhere:work", {})


def test_a_graph_without_a_name_is_named_by_its_content() -> None:
    one, other = WorkflowGraph(), WorkflowGraph(name=None)
    assert one.name is None
    one.add_node("a", nodes.left)
    other.add_node("a", nodes.right)
    names = {one.compile().name, other.compile().name}
    assert len(names) == 2  # on the bus one would else take the other's place
    assert all(name.startswith("graph-") for name in names)
    assert one.compile() == WorkflowGraph().add_node("a", nodes.left).compile()
    assert parse_graph(one.spec().spec()).hash == one.compile().hash
    one.add_node("b", nodes.right).add_edge("a", "b")
    assert one.compile().name not in names


def test_a_mistake_in_a_graph_without_a_name_is_said_without_one() -> None:
    with pytest.raises(InvalidInput, match="the graph has no nodes"):
        WorkflowGraph().compile()
    graph = WorkflowGraph()
    with pytest.raises(InvalidInput, match="the graph is inside itself: graph in graph"):
        graph.add_subgraph("in", graph).compile()
