"""A run's state as plain JSON, and back: for snapshots and forks.

Inner scopes do not carry their graphs: they follow from the graph of the run. For snapshots, what many of them see is
written once: each item of a map begins with what its node sees, so n items would be n times that.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any, cast

from pydantic import JsonValue, TypeAdapter, ValidationError

from partsong.contracts.errors import InvalidInput
from partsong.contracts.frozen import replace
from partsong.contracts.graph import AgentNode, Graph, MapNode, SubgraphNode
from partsong.contracts.persistent import plain
from partsong.contracts.state.scope import Scope, scope_of
from partsong.contracts.state.state import RunState

__all__ = ["dump_state", "fingerprint", "inner_graph", "load_state", "version"]

_SHARED = "shared"
_FOLDERS = re.compile(r"partsong__contracts__(?:[a-z_]+?__)*([a-z_]+?)__(?=[A-Z])")
"""Two classes of one name are told apart by pydantic with the full names of their modules."""


@cache
def _adapter() -> TypeAdapter[RunState]:
    """Made when first used: building it takes a tenth of a second."""
    return TypeAdapter(RunState)


@cache
def version() -> str:
    """A fingerprint of the state's shape: what was dumped under another one is of no use."""
    return fingerprint([_adapter().json_schema(mode="serialization"), _SHARED])


def fingerprint(schema: JsonValue) -> str:
    """A fingerprint of what a schema says: where the classes stand that it was made from is left out of it."""
    shape = json.loads(_FOLDERS.sub(r"partsong__contracts__\1__", json.dumps(schema)))
    return hashlib.sha256(json.dumps(shape, sort_keys=True).encode()).hexdigest()[:16]


def dump_state(state: RunState, *, shared: bool = False) -> dict[str, JsonValue]:
    """The state as plain JSON; `shared` writes once what is the same object in many scopes, as only snapshots may."""
    places = _places(state) if shared else {}
    plainly = replace(
        state,
        calls=plain(state.calls),
        timers=plain(state.timers),
        signals=plain(state.signals),
        scopes={
            path: _plain_scope(replace(scope, settled=_own(scope.settled, places)))
            for path, scope in state.scopes.items()
        },
        undo=tuple(replace(undo, view=_own(undo.view, places)) for undo in state.undo),
    )
    data = cast("dict[str, JsonValue]", _adapter().dump_python(plainly, mode="json"))
    scopes = cast("dict[str, dict[str, JsonValue]]", data["scopes"])
    for path, scope in scopes.items():
        scope["graph"] = None if path else state.scopes[path].graph.spec()
    if places:
        data[_SHARED] = {
            "values": [value for _, value in places.values()],
            "scopes": {path: _at(scope.settled, places) for path, scope in state.scopes.items()},
            "undo": [_at(undo.view, places) for undo in state.undo],
        }
    return data


_Places = Mapping[int, tuple[int, JsonValue]]
"""Shared values and their numbers, by identity."""


def _views(state: RunState) -> Iterator[Mapping[str, JsonValue]]:
    yield from (scope.settled for scope in state.scopes.values())
    yield from (undo.view for undo in state.undo)


def _places(state: RunState) -> _Places:
    seen: set[int] = set()
    places: dict[int, tuple[int, JsonValue]] = {}
    for view in _views(state):
        for value in view.values():
            if not isinstance(value, str | list | dict) or not value:
                continue
            if id(value) not in seen:
                seen.add(id(value))
            elif id(value) not in places:
                places[id(value)] = (len(places), value)
    return places


def _own(view: Mapping[str, JsonValue], places: _Places) -> Mapping[str, JsonValue]:
    """Without what is shared; its keys keep their places."""
    return {k: None if id(v) in places else v for k, v in view.items()} if places else view


def _at(view: Mapping[str, JsonValue], places: _Places) -> dict[str, JsonValue]:
    return {key: places[id(value)][0] for key, value in view.items() if id(value) in places}


def _plain_scope(scope: Scope) -> Scope:
    return replace(
        scope,
        tokens=plain(scope.tokens),
        visits=plain(scope.visits),
        active={
            id_: replace(x, results=plain(x.results), broken=plain(x.broken))
            for id_, x in scope.active.items()
        },
    )


def load_state(run_id: str, data: dict[str, JsonValue]) -> RunState:
    """The state that `dump_state` made, as the state of `run_id`.

    Raises:
        InvalidInput: `state.unreadable`.
    """
    try:
        scopes = cast("dict[str, dict[str, JsonValue]]", data["scopes"])
        graph = Graph.model_validate(scopes[""]["graph"])
        graphs = {"": graph}
        whole: dict[str, object] = {}
        for path in sorted(scopes, key=lambda path: path.count("/")):
            raw = scopes[path]
            if path:
                outer = scope_of(str(raw["exec"]))
                graphs[path] = inner_graph(
                    graphs[outer], _node_of(str(raw["exec"])), str(raw["tool"])
                )
            whole[path] = {**raw, "graph": graphs[path]}
        state = _adapter().validate_python({**data, "scopes": whole, "run_id": run_id})
        if _SHARED in data:
            state = _with_shared(state, cast("dict[str, Any]", data[_SHARED]))
    except (ValidationError, LookupError, TypeError, ValueError) as error:
        raise InvalidInput(
            "state.unreadable",
            f"the state of {run_id} cannot be read: {error!s:.200}",
            fault="platform",
        ) from error
    return replace(state, run_id=run_id)


def _with_shared(state: RunState, shared: dict[str, Any]) -> RunState:
    values: list[JsonValue] = shared["values"]

    def whole(view: Mapping[str, JsonValue], at: dict[str, int]) -> Mapping[str, JsonValue]:
        return {**view, **{key: values[place] for key, place in at.items()}} if at else view

    return replace(
        state,
        scopes={
            path: replace(scope, settled=whole(scope.settled, shared["scopes"][path]))
            for path, scope in state.scopes.items()
        },
        undo=tuple(
            replace(undo, view=whole(undo.view, at))
            for undo, at in zip(state.undo, shared["undo"], strict=True)
        ),
    )


def inner_graph(graph: Graph, node: str, tool: str) -> Graph:
    """The graph inside a subgraph or map node, or the one that an agent calls by the name `tool`.

    Raises:
        KeyError: there is no such node, or it has none.
    """
    match graph.nodes[node]:
        case SubgraphNode(graph=inner) | MapNode(graph=inner):
            return inner
        case AgentNode(graphs=graphs):
            return graphs[tool].graph
        case _:
            raise KeyError(node)


def _node_of(exec_id: str) -> str:
    return exec_id.rpartition("/")[2].rpartition(":")[0]
