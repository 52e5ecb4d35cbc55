"""A run's state as plain JSON, and back: for snapshots and forks.

Inner scopes do not carry their graphs: they follow from the graph of the run.
"""

from __future__ import annotations

import hashlib
import json
from functools import cache
from typing import cast

from pydantic import JsonValue, TypeAdapter, ValidationError

from partsong.contracts.errors import InvalidInput
from partsong.contracts.frozen import replace
from partsong.contracts.graph import AgentNode, Graph, MapNode, SubgraphNode
from partsong.contracts.persistent import plain
from partsong.contracts.scope import Scope, scope_of
from partsong.contracts.state import RunState

__all__ = ["dump_state", "inner_graph", "load_state", "version"]


@cache
def _adapter() -> TypeAdapter[RunState]:
    """Made when first used: building it takes a tenth of a second."""
    return TypeAdapter(RunState)


@cache
def version() -> str:
    """A fingerprint of the state's shape: what was dumped under another one is of no use."""
    schema = json.dumps(_adapter().json_schema(mode="serialization"), sort_keys=True)
    return hashlib.sha256(schema.encode()).hexdigest()[:16]


def dump_state(state: RunState) -> dict[str, JsonValue]:
    """The state as plain JSON."""
    plainly = replace(
        state,
        calls=plain(state.calls),
        timers=plain(state.timers),
        scopes={path: _plain_scope(scope) for path, scope in state.scopes.items()},
    )
    data = cast("dict[str, JsonValue]", _adapter().dump_python(plainly, mode="json"))
    scopes = cast("dict[str, dict[str, JsonValue]]", data["scopes"])
    for path, scope in scopes.items():
        scope["graph"] = None if path else state.scopes[path].graph.spec()
    return data


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
    except (ValidationError, KeyError, TypeError, ValueError) as error:
        raise InvalidInput(
            "state.unreadable",
            f"the state of {run_id} cannot be read: {error!s:.200}",
            fault="platform",
        ) from error
    return replace(state, run_id=run_id)


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
