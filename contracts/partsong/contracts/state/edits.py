"""Edits of a run's state: what a fork sets, for all who look from now on, inside open subgraphs and maps too.

A key of the run's own graph is set there and in every open scope that took it over when it began; inputs that were
computed from it are computed anew. A key of one open scope is named by its path, like `review:1/score` or `each:1/0/sum`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from pydantic import JsonValue

from partsong.contracts.errors import InvalidInput
from partsong.contracts.frozen import replace
from partsong.contracts.graph import AgentNode
from partsong.contracts.state.node_results import begins_with
from partsong.contracts.state.scope import Scope, scope_of
from partsong.contracts.state.state import RunState

__all__ = ["edited"]

_INSIDE = re.compile(r"[A-Za-z0-9_\-]+:[0-9]+/")
_MISSING = object()


def edited(state: RunState, values: Mapping[str, JsonValue]) -> RunState:
    """The state with keys set to other values.

    Raises:
        InvalidInput: `fork.unknown_scope`, a path at which nothing is open.
    """
    wanted = _by_scope(state, values)
    before = state
    for path in sorted(state.scopes, key=lambda path: path.count("/") if path else -1):
        scope = state.scopes[path]
        edits = {**_inherited(before, state, scope, wanted), **wanted.get(path, {})}
        if edits:
            wanted[path] = edits
            state = replace(state, scopes={**state.scopes, path: _set(scope, edits)})
    return state


def _by_scope(
    state: RunState, values: Mapping[str, JsonValue]
) -> dict[str, Mapping[str, JsonValue]]:
    found: dict[str, dict[str, JsonValue]] = {}
    own = state.root.values
    for key, value in values.items():
        if key in own or _INSIDE.match(key) is None:
            found.setdefault("", {})[key] = value
            continue
        paths = [path for path in state.scopes if path and key.startswith(f"{path}/")]
        if not paths:
            there = ", ".join(sorted(path for path in state.scopes if path)[:10]) or "none"
            raise InvalidInput(
                "fork.unknown_scope",
                f"{key!r} names a key inside something that is not open there (open: {there})",
                where=f"values.{key}",
                fix="name the path of an open subgraph or item, or fork where it is open",
            )
        path = max(paths, key=len)
        found.setdefault(path, {})[key.removeprefix(f"{path}/")] = value
    return dict(found)


def _inherited(
    before: RunState, state: RunState, scope: Scope, wanted: Mapping[str, Mapping[str, JsonValue]]
) -> dict[str, JsonValue]:
    """What an open scope would have begun with otherwise, had the scope around it been as it is now."""
    outer = wanted.get(scope_of(scope.exec), {}) if scope.path else {}
    execution = state.execution(scope.exec) if outer else None
    if execution is None:
        return {}
    node = state.node(execution)
    if isinstance(node, AgentNode):  # a model has said what it begins with
        return {}
    try:
        was = begins_with(before, execution, scope.index)
        now = begins_with(state, execution, scope.index)
    except (InvalidInput, IndexError):  # the list is another one, and has no such item
        return {}
    taken = {} if getattr(node, "inputs", None) is not None else outer
    return {
        key: value for key, value in now.items() if key in taken or was.get(key, _MISSING) != value
    }


def _set(scope: Scope, edits: Mapping[str, JsonValue]) -> Scope:
    return replace(
        scope,
        settled={**scope.settled, **edits},
        writes={key: line for key, line in scope.writes.items() if key not in edits},
        added={key: value for key, value in scope.added.items() if key not in edits},
    )
