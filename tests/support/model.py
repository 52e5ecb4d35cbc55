"""What a graph means, said a second time: slow, obvious, and without fold, decide or plan.

A graph runs one node at a time, to its end; a subgraph or an item of a map is a run inside. Who reaches whom is found
by walking the edges anew at every question. A failure does not stop what runs beside it: all that *can* run is found,
and the result says what *must* have run, whatever was first. So one reference run speaks for every timing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from pydantic import JsonValue

from partsong.contracts.errors import InvalidInput
from partsong.contracts.graph import (
    END,
    AtLeast,
    Edge,
    FunctionNode,
    Graph,
    MapNode,
    Node,
    SubgraphNode,
    TransformNode,
    WaitNode,
)
from partsong.contracts.graph.expressions import compute, holds
from partsong.contracts.graph.reducers import reduce
from partsong.contracts.graph.templates import look_up, render_value
from tests.support.ran import Ambiguous, Ran, State, Written, added_by, reduced_writes, unwrapped
from tests.support.world import act, comes

__all__ = ["run"]


@dataclass(frozen=True)
class _Token:
    depth: int
    lineage: frozenset[str]
    """All executions that it comes from."""
    position: int = 0
    """Of the node that it comes from."""
    private: tuple[tuple[str, JsonValue], ...] = ()


@dataclass(frozen=True)
class _Visit:
    id: str
    node: str
    depth: int
    lineage: frozenset[str]
    """All executions before it."""
    private: State
    arrived: int

    @property
    def line(self) -> frozenset[str]:
        return self.lineage | {self.id}


class _Failure(Exception):
    """A node failed; `caught` if a failure edge may catch it."""

    def __init__(self, code: str, *, caught: bool = True) -> None:
        super().__init__(code)
        self.code, self.caught = code, caught


@dataclass
class _Fuel:
    left: int


Pick = Callable[[int], int]


def run(graph: Graph, state: State, *, pick: Pick = lambda _n: 0, fuel: int = 200) -> Ran:
    """Run a graph. `pick(n)` says which of n open nodes ends next, and must make no difference.

    Raises:
        Ambiguous: see there.
    """
    return _Scope(graph, "", state, pick, _Fuel(fuel)).run()


class _Scope:
    def __init__(self, graph: Graph, path: str, base: State, pick: Pick, fuel: _Fuel) -> None:
        self.graph, self.path, self.base, self.pick, self.fuel = graph, path, base, pick, fuel
        self.order = list(graph.nodes)
        self.tokens: dict[str, list[_Token]] = {graph.entry: [_Token(0, frozenset())]}
        self.open: list[_Visit] = []
        self.visits = dict.fromkeys(self.order, 0)
        self.lines: dict[str, frozenset[str]] = {}
        self.failures: list[tuple[int, str]] = []
        self.ran = Ran({}, {}, [], base, None, set())

    def run(self) -> Ran:
        while True:
            node = next((name for name in self._candidates() if self._may_fire(name)), None)
            if node is not None:
                self._fire(node)
            elif endings := [visit for visit in self.open if not self._stuck(visit)]:
                ending = endings[self.pick(len(endings))]
                self.open.remove(ending)
                self._end(ending)
            elif self.open:
                raise Ambiguous("it waits for ever")
            else:
                break
        ran = self.ran
        ran.state = reduced_writes(self.graph, self.base, ran.writes)
        ran.added = added_by(self.graph, ran.writes)
        if self.failures:
            ran.failed = min(self.failures)[1]
            if self.graph.on_failure == "fail_fast":
                ran.doubt()
        return ran

    # --- who fires ------------------------------------------------------------------------------------------------

    def _candidates(self) -> list[str]:
        """Nodes that hold tokens: early joins first, then nodes with nothing to join, then joins, in graph order."""
        holders = [name for name in self.order if self.tokens.get(name)]
        return sorted(
            holders, key=lambda name: 0 if self._early(name) else 1 if self._single(name) else 2
        )

    def _may_fire(self, name: str) -> bool:
        if self._early(name) and len(self.tokens[name]) >= self._needs(name):
            return True
        if self._single(name):
            return True
        if any(name in self._reached(visit.node, visit.line) for visit in self.open):
            return False
        for other, tokens in self.tokens.items():
            if other == name or not tokens or name not in self._reached(other, _lines(tokens)):
                continue
            shares_cycle = other in self._reached(name, _lines(self.tokens[name]))
            if not shares_cycle or self.order.index(other) < self.order.index(name):
                return False
        return True

    def _early(self, name: str) -> bool:
        return self.graph.nodes[name].join != "all"

    def _needs(self, name: str) -> int:
        join = self.graph.nodes[name].join
        return join.n if isinstance(join, AtLeast) else 1

    def _single(self, name: str) -> bool:
        inbound = sum(edge.to == name for edge in self.graph.edges) + (name == self.graph.entry)
        return inbound == 1 and not self._early(name)

    def _late(self, name: str, line: frozenset[str]) -> bool:
        """Whether an early join has fired, and what comes now has nothing to do with that."""
        newest = self.visits[name]
        return self._early(name) and newest > 0 and self._name(name, newest) not in line

    def _reached(self, start: str, line: frozenset[str]) -> set[str]:
        """What can be reached over one or more edges, not past early joins that have fired without it."""
        found: set[str] = set()
        frontier = [start]
        while frontier:
            here = frontier.pop()
            for edge in self.graph.edges:
                closed = edge.to != start and edge.to != END and self._late(edge.to, line)
                if edge.source == here and edge.to != END and edge.to not in found and not closed:
                    found.add(edge.to)
                    frontier.append(edge.to)
        return found

    def _name(self, node: str, visit: int) -> str:
        return f"{self.path}/{node}:{visit}" if self.path else f"{node}:{visit}"

    def _fire(self, name: str) -> None:
        tokens = self.tokens.pop(name)
        if self._single(name) and len(tokens) > 1:
            self.tokens[name] = tokens[1:]
            tokens = tokens[:1]
        if self.graph.nodes[name].join == "first":
            self._give_up_losers(name)
        most = self.graph.nodes[name].max_visits
        if most is not None and self.visits[name] >= most:
            self.ran.limit = "yes"
            return
        self.fuel.left -= 1
        if self.fuel.left < 0:
            raise Ambiguous("too long")
        self.visits[name] += 1
        private: State = {}
        for token in sorted(tokens, key=lambda token: (token.depth, token.position)):
            private.update(dict(token.private))
        id_ = self._name(name, self.visits[name])
        depth = 1 + max(token.depth for token in tokens)
        self.open.append(_Visit(id_, name, depth, _lines(tokens), private, len(tokens)))
        self.ran.must.add(id_)

    def _give_up_losers(self, name: str) -> None:
        self.open = [v for v in self.open if name not in self._reached(v.node, v.line)]
        for other in list(self.tokens):
            if name in self._reached(other, _lines(self.tokens[other])):
                del self.tokens[other]
                self.visits[other] += 1

    def _stuck(self, visit: _Visit) -> bool:
        """Whether it waits for a signal that never comes."""
        node = self.graph.nodes[visit.node]
        waits = isinstance(node, WaitNode) and node.signal is not None and node.deadline is None
        return waits and not comes(self._view(visit), visit.node)

    # --- what a node does -----------------------------------------------------------------------------------------

    def _end(self, visit: _Visit) -> None:
        node = self.graph.nodes[visit.node]
        view = self._view(visit)
        private: State = {}
        try:
            if self._early(visit.node) and visit.arrived < self._needs(visit.node):
                raise _Failure("join.unmet")
            update, label, goto = self._do(visit, node, view)
            edges = self._complete(visit, view, update, label, goto)
        except _Failure as failure:
            edges = [e for e in self._outgoing(visit) if e.on == "failure" and failure.caught]
            private = {"error": {"node": visit.node, "code": failure.code}}
            if not edges:
                self.failures.append((self.order.index(visit.node), failure.code))
        for edge in edges:
            if edge.to != END and not self._late(edge.to, visit.line):
                place = self.order.index(visit.node)
                token = _Token(visit.depth, visit.line, place, tuple(private.items()))
                self.tokens.setdefault(edge.to, []).append(token)

    def _view(self, visit: _Visit) -> State:
        """What its ancestors wrote, and what only it is told."""
        seen = [write for write in self.ran.writes if write.exec in visit.lineage]
        return {**reduced_writes(self.graph, self.base, seen), **visit.private}

    def _do(
        self, visit: _Visit, node: Node, view: State
    ) -> tuple[State, str | None, tuple[str, ...]]:
        match node:
            case FunctionNode():
                return self._call(visit, node, view)
            case TransformNode():
                try:
                    return {key: compute(cel, view) for key, cel in node.set.items()}, None, ()
                except InvalidInput as error:
                    raise _Failure(error.problem.code) from None
            case WaitNode():
                if node.signal is None:
                    return {}, None, ()
                if comes(view, visit.node):
                    return {node.output or visit.node: visit.node}, None, ()
                if any(edge.on == "timeout" for edge in self._outgoing(visit)):
                    return {}, "timeout", ()
                raise _Failure("wait.timeout")
            case SubgraphNode():
                return self._subgraph(visit, node, view), None, ()
            case MapNode():
                return {node.into: self._map(visit, node, view)}, None, ()
            case _:
                raise AssertionError(f"the model knows no {node.type} node")

    @staticmethod
    def _call(
        visit: _Visit, node: FunctionNode, view: State
    ) -> tuple[State, str | None, tuple[str, ...]]:
        for attempt in range(1, (node.retry.attempts if node.retry else 1) + 1):
            try:
                done = act(visit.node, view, attempt)
            except ValueError:
                continue
            return done.update, done.label, done.goto
        raise _Failure("function.raised")

    def _inside(self, graph: Graph, path: str, base: State) -> Ran:
        return _Scope(graph, path, base, self.pick, self.fuel).run()

    def _account(self, inner: Ran) -> None:
        self.ran.must |= inner.must
        self.ran.may |= inner.may
        self.ran.limit = max(self.ran.limit, inner.limit, key=["no", "maybe", "yes"].index)

    def _subgraph(self, visit: _Visit, node: SubgraphNode, view: State) -> State:
        inner = self._inside(node.graph, visit.id, _given(node, view))
        self._account(inner)
        if inner.failed:
            raise _Failure(inner.failed)
        if node.outputs is None:
            return inner.added
        return {out: inner.state[key] for out, key in node.outputs.items() if key in inner.state}

    def _map(self, visit: _Visit, node: MapNode, view: State) -> list[JsonValue]:
        try:
            items = look_up(node.over, view)
        except InvalidInput as error:
            raise _Failure(error.problem.code) from None
        if not isinstance(items, list):
            raise _Failure("map.not_a_list")
        given = [{**_given(node, view), "item": item, "index": i} for i, item in enumerate(items)]
        inner = [self._inside(node.graph, f"{visit.id}/{i}", base) for i, base in enumerate(given)]
        failures = [item.failed for item in inner if item.failed]
        for item in inner:
            if failures and node.on_item_error == "fail_fast":
                item.doubt()
            self._account(item)
        if failures and node.on_item_error != "collect":
            raise _Failure(failures[0])
        return [
            {"error": item.failed}
            if item.failed
            else item.state.get(node.collect)
            if node.collect is not None
            else {key: unwrapped(value) for key, value in item.added.items()}
            for item in inner
        ]

    # --- where it leads -------------------------------------------------------------------------------------------

    def _outgoing(self, visit: _Visit) -> list[Edge]:
        return [edge for edge in self.graph.edges if edge.source == visit.node]

    def _complete(
        self, visit: _Visit, view: State, update: State, label: str | None, goto: tuple[str, ...]
    ) -> list[Edge]:
        after = dict(view)
        for key, value in update.items():
            name = self.graph.reducers.get(key, "replace")
            try:
                after[key] = reduce(name, key, key in after, after.get(key), value)
            except InvalidInput as error:
                raise _Failure(error.problem.code, caught=False) from None
        edges = list(self._route(visit, after, label, goto))
        conflict = any(self._contradicts(visit, key, value) for key, value in update.items())
        for key, value in update.items():
            place = visit.depth, self.order.index(visit.node)
            self.ran.writes.append(Written(*place, visit.id, key, value))
        self.lines[visit.id] = visit.lineage
        if conflict:  # which of the two is refused depends on timing, that one is does not
            if self.graph.on_failure == "continue":
                raise Ambiguous("who loses a conflict depends on timing")
            self.failures.append((self.order.index(visit.node), "state.conflict"))
        return edges

    def _contradicts(self, visit: _Visit, key: str, value: JsonValue) -> bool:
        """Whether somebody who ran beside it wrote something else to a key without a reducer."""
        return self.graph.reducers.get(key, "replace") == "replace" and any(
            write.key == key and write.value != value
            for write in self.ran.writes
            if write.exec not in visit.lineage and visit.id not in self.lines[write.exec]
        )

    def _route(
        self, visit: _Visit, view: State, label: str | None, goto: tuple[str, ...]
    ) -> Iterator[Edge]:
        edges = self._outgoing(visit)
        known = {edge.on for edge in edges if edge.on is not None}
        if label is not None and label not in known:
            raise _Failure("node.unknown_route", caught=False)
        taken = [edge for edge in edges if edge.plain or edge.on == (label or "success")]
        conditions = [edge for edge in edges if edge.when is not None]
        otherwise = [edge for edge in edges if edge.otherwise]
        named = [edge for edge in edges if edge.goto and edge.to in goto]
        chosen: list[Edge] = []
        if conditions:
            try:
                chosen = [edge for edge in conditions if holds(edge.when or "", view)][:1]
            except InvalidInput as error:
                raise _Failure(error.problem.code, caught=False) from None
            if not chosen and not otherwise:
                raise _Failure("node.no_route", caught=False)
            chosen = chosen or otherwise
        if len(named) < len(goto):
            raise _Failure("node.unknown_route", caught=False)
        if label is None and known - {"failure"} and not (taken or chosen or named):
            raise _Failure("node.no_route", caught=False)
        yield from (*taken, *chosen, *named)


def _lines(tokens: list[_Token]) -> frozenset[str]:
    return frozenset[str]().union(*(token.lineage for token in tokens))


def _given(node: SubgraphNode | MapNode, view: State) -> State:
    """What an inner graph begins with."""
    if node.inputs is None:
        return dict(view)
    try:
        return {key: render_value(value, view) for key, value in node.inputs.items()}
    except InvalidInput as error:
        raise _Failure(error.problem.code) from None
