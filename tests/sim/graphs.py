"""Graphs: random ones, a chain of segments of one construct each, and what of a user's graph cannot be simulated as it is.

What functions do, `workers` tells by their names.
"""

from __future__ import annotations

import random
from typing import Any

from pydantic import JsonValue

from partsong.contracts.graph import Graph
from partsong.contracts.graph.validate import parse_graph

__all__ = ["LONGEST_WAIT", "SEGMENTS", "input_of", "random_graph", "shortened"]

Spec = dict[str, Any]

LONGEST_WAIT = 60.0
"""Seconds: a simulated day is a day of heartbeats, and nothing settles before it is over."""


def random_graph(rnd: random.Random, name: str) -> Graph:
    """A graph of one to six segments."""
    maker = _Maker(rnd)
    for _ in range(rnd.choice([1, 2, 3, 4, 6])):
        maker.add(rnd.choice(SEGMENTS))
    return parse_graph(maker.spec(name))


def input_of(graph: Graph) -> dict[str, JsonValue]:
    """What a run of a random graph is started with."""
    return {"items": ["a", "b"], "log": []} if "log" in graph.reducers else {}


def shortened(graph: Graph) -> Graph:
    """The graph with waits of a minute at most, and with signals of any payload, for those here have none that fits."""
    return parse_graph(_short(graph.spec()))


def _short(part: Any) -> Any:
    if isinstance(part, list):
        return [_short(one) for one in part]
    if not isinstance(part, dict):
        return part
    part = {key: _short(value) for key, value in part.items()}
    if part.get("type") != "wait":
        return part
    part.pop("signal_schema", None)
    if part.pop("until", None) is not None or part.get("seconds", 0) > LONGEST_WAIT:
        part["seconds"] = LONGEST_WAIT
    return part


class _Maker:
    """Puts segments behind each other; node names are unique."""

    def __init__(self, rnd: random.Random) -> None:
        self._random = rnd
        self._nodes: dict[str, Spec] = {}
        self._edges: list[Spec] = []
        self._ends: list[Spec] = []
        """Edges that the next segment's first node gets, without their target."""

    def spec(self, name: str) -> Spec:
        return {
            "name": name,
            "entry": next(iter(self._nodes)),
            "nodes": self._nodes,
            "edges": [*self._edges, *({**end, "to": "END"} for end in self._ends if len(end) > 1)],
            "reducers": {"log": "append"},
        }

    def add(self, segment: str) -> None:
        getattr(self, f"_{segment}")()

    def _node(self, **node: Any) -> str:
        name = f"n{len(self._nodes) + 1}"
        self._nodes[name] = node
        return name

    def _behind(self, **node: Any) -> str:
        """A node behind all that has ended so far."""
        name = self._node(**node)
        self._edges += [{**end, "to": name} for end in self._ends]
        self._ends = [{"from": name}]
        return name

    def _step(self) -> None:
        self._behind(type="function", function="sim:step")

    def _flaky(self) -> None:
        retry = {"attempts": 3, "initial": self._random.choice([0, 0.5]), "jitter": 0}
        self._behind(type="function", function="sim:flaky", retry=retry)

    def _breaks(self) -> None:
        self._behind(type="function", function="sim:breaks")

    def _undone(self) -> None:
        self._behind(type="function", function="sim:step", compensate="sim:undo")

    def _parallel(self) -> None:
        first = self._behind(type="function", function="sim:step")
        branches = []
        for _ in range(self._random.choice([2, 3])):
            name = self._node(type="function", function="sim:step")
            self._edges.append({"from": first, "to": name})
            branches.append({"from": name})
        self._ends = branches
        self._step()

    def _loop(self) -> None:
        first = self._behind(type="function", function="sim:step")
        last = self._behind(type="function", function="sim:loop")
        self._edges.append({"from": last, "to": first, "on": "again"})
        self._ends = [{"from": last, "on": "done"}]

    def _map(self) -> None:
        inner = _Maker(self._random)
        inner.add(self._random.choice(["step", "flaky", "pay"]))
        graph = inner.spec("each")
        self._behind(type="map", over="items", into="mapped", graph=graph)

    def _approval(self) -> None:
        deadline = {"deadline": self._random.choice([2, 5])} if self._chance(2) else {}
        name = self._behind(type="approval", title="go on?", **deadline)
        self._ends = [{"from": name, "on": "approved"}, {"from": name, "on": "rejected"}]

    def _wait(self) -> None:
        self._behind(type="wait", seconds=self._random.choice([0.5, 3]))

    def _signal(self) -> None:
        if self._chance(2):
            self._behind(type="wait", signal="go")
            return
        name = self._behind(type="wait", signal="go", deadline=3)
        self._ends = [{"from": name, "on": "success"}, {"from": name, "on": "timeout"}]

    def _pay(self) -> None:
        self._behind(type="tool", tool="pay", args={})

    def _look(self) -> None:
        self._behind(type="tool", tool="look", args={})

    def _agent(self) -> None:
        tools = self._random.choice([["pay"], ["look", "pay"], []])
        agent = {"model": "scripted:sim", "tools": tools}
        self._behind(type="agent", agent=agent, prompt="go")

    def _detached(self) -> None:
        inner = _Maker(self._random)
        for _ in range(self._random.choice([1, 2])):
            inner.add(self._random.choice(["step", "pay", "wait", "flaky"]))
        self._behind(
            type="subgraph",
            detached=True,
            graph=inner.spec("inner"),
            inputs={"log": []},
            outputs={"inner": "log"},
        )

    def _chance(self, n: int) -> bool:
        return self._random.randrange(n) == 0


SEGMENTS = (
    "step", "step", "parallel", "loop", "map", "approval", "wait", "signal", "pay", "pay", "look", "agent",
    "detached", "flaky", "undone", "breaks",
)  # fmt: skip
