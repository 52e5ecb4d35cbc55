"""Random valid graphs of every construct, each with a plan of what its nodes do (see `world`)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, cast

from hypothesis import strategies as st
from pydantic import JsonValue

from partsong.contracts.graph import Graph
from partsong.contracts.graph.validate import parse_graph
from tests.support.world import EVER, Deed

__all__ = ["Example", "examples"]

CONDITIONS = (
    "has(state.log) && size(state.log) % 2 == 0",
    "has(state.sum) && state.sum > 2",
    "has(state.index) && state.index == 1",
    "true",
    "false",
)
REDUCERS = {"log": "append", "sum": "add", "pile": "append"}

Spec = dict[str, Any]


@dataclass(frozen=True)
class Example:
    """A graph, and what it is started with."""

    graph: Graph
    input: dict[str, JsonValue]

    def __repr__(self) -> str:
        return f"Example({self.graph.spec()!r}, {self.input!r})"


@st.composite
def examples(draw: st.DrawFn, *, catching: bool = True, most: int = 8) -> Example:
    """Without `catching`, nothing that fails has any other effect than that the run fails."""
    maker = _Maker(draw, catching=catching)
    spec = maker.graph(most, depth=0, name="g")
    items = draw(st.integers(0, 3))
    world = cast("JsonValue", maker.world)
    return Example(parse_graph(spec), {"world": world, "items": [*range(items)], "none": []})


class _Maker:
    """Draws one graph and all that are in it; node names are unique in the whole tree."""

    def __init__(self, draw: st.DrawFn, *, catching: bool) -> None:
        self.draw, self.catching = draw, catching
        self.world: dict[str, Deed] = {}
        self.count = 0

    def graph(self, most: int, depth: int, name: str) -> Spec:
        policy = (
            self.draw(st.sampled_from(["fail_fast", "continue", "continue"]))
            if self.catching
            else None
        )
        racing = self.chance(3 if depth else 8)
        self.policy = policy or "fail_fast"
        nodes, edges = self.racing() if racing else self.free(most, depth)
        spec: Spec = {"name": name, "entry": next(iter(nodes)), "nodes": cast("JsonValue", nodes)}
        spec |= {"edges": cast("JsonValue", edges), "reducers": dict(REDUCERS)}
        return spec | ({"on_failure": policy} if policy else {})

    def chance(self, n: int) -> bool:
        return self.draw(st.integers(1, n)) == n

    def name(self) -> str:
        self.count += 1
        return f"n{self.count}"

    # --- a graph of any shape -------------------------------------------------------------------------------------

    def free(self, most: int, depth: int) -> tuple[dict[str, Spec], list[Spec]]:
        clashing = self.policy == "fail_fast" and self.chance(10)
        names = [self.name() for _ in range(self.draw(st.integers(1 if depth else 3, most)))]
        nodes = {name: self.node(name, depth) for name in names}
        edges: list[Spec] = []
        for i, name in enumerate(names[1:], 1):
            self.edge(nodes, edges, names[self.draw(st.integers(0, i - 1))], name, ahead=True)
        for _ in range(self.draw(st.integers(len(names) // 2, 2 * len(names) - 2))):
            i, j = (self.draw(st.integers(0, len(names) - 1)) for _ in "ij")
            self.edge(nodes, edges, names[i], names[j], ahead=i < j)
        for i, name in enumerate(names):
            if clashing and nodes[name]["type"] == "function":
                self.world[name]["clashes"] = i % 2
            self.ways_out(nodes, edges, name, names[i + 1 :])
        return nodes, edges

    def edge(
        self, nodes: dict[str, Spec], edges: list[Spec], source: str, to: str, *, ahead: bool
    ) -> None:
        """One more edge, if the source may have it: back edges are for functions, by label."""
        kinds = ["plain", "plain", "if"] if ahead else []
        if ahead and self.catching:
            kinds.append("failure")
        if nodes[source]["type"] == "function":
            kinds += ["x", "y", "goto"]
        if not kinds:
            return
        kind = self.draw(st.sampled_from(kinds))
        edge: Spec = {"from": source, "to": to}
        if kind == "if":
            edge["when"] = self.draw(st.sampled_from(CONDITIONS))
        elif kind == "goto":
            edge["goto"] = True
        elif kind != "plain":
            edge["on"] = kind
        if edge not in edges:
            edges.append(edge)

    def ways_out(
        self, nodes: dict[str, Spec], edges: list[Spec], name: str, ahead: list[str]
    ) -> None:
        """Whoever chooses has an `else`, and a label that leads on; then what it does is planned."""
        mine = [edge for edge in edges if edge["from"] == name]
        onward = st.sampled_from([*ahead, "END"])
        if any("when" in edge for edge in mine):
            edges.append({"from": name, "to": self.draw(onward), "else": True})
        labels = {str(edge["on"]) for edge in mine if "on" in edge} - {"failure"}
        targets = {f"@{edge['to']}" for edge in mine if "goto" in edge}
        if nodes[name]["type"] != "function" or not labels | targets:
            return
        edges.append({"from": name, "to": self.draw(onward), "on": "out"})
        routes: list[str | None] = [*sorted(labels | targets), "out"]
        if self.catching and self.chance(6):
            routes.append("nowhere")
        deed = self.world[name]
        deed["routes"] = self.draw(st.lists(st.sampled_from(routes), max_size=3))
        deed["out"] = "out"
        deed.pop("quiet", None)

    # --- early joins: branches of equal length that write nothing, so it does not matter who is first -----------------

    def racing(self) -> tuple[dict[str, Spec], list[Spec]]:
        join = self.draw(st.sampled_from(["any", "first", "n"]))
        start, meet, last = self.name(), self.name(), self.name()
        width = self.draw(st.integers(2, 3))
        nodes = {start: self.function(start, sound=True)}
        edges: list[Spec] = []
        for _ in range(width):
            branch = self.name()
            nodes[branch] = self.function(branch, sound=join == "first")
            self.world[branch]["quiet"] = True
            edges.append({"from": start, "to": branch})
            if join != "first" and self.chance(2):
                edges += [
                    {"from": branch, "to": meet, "on": "x"},
                    {"from": branch, "to": "END", "on": "out"},
                ]
                self.world[branch]["out"] = self.draw(st.sampled_from(["x", "out"]))
            else:
                edges.append({"from": branch, "to": meet})
        if join == "first" and self.chance(2):
            stuck = self.name()
            nodes[stuck] = {"type": "wait", "signal": stuck}
            self.world[stuck] = {"comes": False}
            edges += [{"from": start, "to": stuck}, {"from": stuck, "to": meet}]
        needs = self.draw(st.integers(1, width))
        nodes[meet] = self.function(meet) | {"join": {"n": needs} if join == "n" else join}
        nodes[last] = self.function(last)
        edges.append({"from": meet, "to": last})
        if self.chance(2):
            edges += [
                {"from": last, "to": start, "on": "x"},
                {"from": last, "to": "END", "on": "out"},
            ]
            self.world[last] |= {"routes": ["x"] * self.draw(st.integers(0, 2)), "out": "out"}
            self.world[last].pop("quiet", None)
        return nodes, edges

    # --- nodes ----------------------------------------------------------------------------------------------------

    def node(self, name: str, depth: int) -> Spec:
        kinds = ["function"] * 8 + ["wait", "transform"]
        kinds += ["subgraph", "map"] if depth < 2 else []
        kind = self.draw(st.sampled_from(kinds))
        node = (
            self.function(name)
            if kind == "function"
            else self.wait(name)
            if kind == "wait"
            else self.transform(name)
            if kind == "transform"
            else self.inner(name, kind, depth)
        )
        if self.chance(6):
            node["max_visits"] = self.draw(st.integers(1, 3))
        return node

    def function(self, name: str, *, sound: bool = False) -> Spec:
        deed: Deed = {}
        node: Spec = {"type": "function", "function": "tests.system.worlds:play"}
        attempts = self.draw(st.integers(1, 3))
        if attempts > 1:
            slow = self.catching and self.chance(3)
            initial = 0.01 if slow else 0
            node["retry"] = {"attempts": attempts, "initial": initial, "jitter": 0}
        if not sound and self.chance(8):
            deed["fails"] = EVER if self.catching else attempts
        elif attempts > 1 and self.chance(2):
            deed["fails"] = attempts - 1
        if not sound and self.chance(12):
            deed["breaks_at"] = self.draw(st.integers(0, 2))
        if self.chance(6):
            deed["quiet"] = True
        if self.chance(8):
            deed["piles"] = True
        if not self.catching:
            deed.pop("breaks_at", None)
        self.world[name] = deed
        return node

    def wait(self, name: str) -> Spec:
        if self.chance(2):
            return {"type": "wait", "seconds": 0.01}
        comes = not self.catching or not self.chance(4)
        self.world[name] = {"comes": comes}
        node: Spec = {"type": "wait", "signal": name}
        return node if comes else node | {"deadline": 0.01}

    def transform(self, name: str) -> Spec:
        ways = ["size(state.items)", "has(state.log) ? size(state.log) : 0"]
        if self.catching:
            ways = [*ways, *ways, "state.nowhere"]
        set_: Spec = {f"size_{name}": self.draw(st.sampled_from(ways)), "log": f"'{name}'"}
        return {"type": "transform", "set": set_}

    def inner(self, name: str, kind: str, depth: int) -> Spec:
        outer = self.policy
        node: Spec = {"type": kind, "graph": self.graph(3, depth + 1, f"{name}_inner")}
        self.policy = outer
        if self.chance(3):
            given: Spec = {"world": "{{world}}", "items": "{{items}}", "none": "{{none}}"}
            node["inputs"] = given | (
                {"x": "{{nowhere}}"} if self.catching and self.chance(5) else {}
            )
        if kind == "subgraph":
            return node | ({"outputs": {f"out_{name}": "sum"}} if self.chance(3) else {})
        over = self.draw(st.sampled_from(["items", "items", "items", "none"]))
        node |= {"over": over, "into": f"all_{name}"}
        if self.catching:
            policies = ["fail_fast", "continue", "collect"]
            node["on_item_error"] = self.draw(st.sampled_from(policies))
        if self.chance(2):
            node["max_concurrency"] = self.draw(st.integers(1, 2))
        return node | ({"collect": "sum"} if self.chance(3) else {})
