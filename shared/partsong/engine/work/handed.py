"""What a function is handed of the state: all that its node sees, but for the lists of the maps that it is an item of.

With the list, n items would be handed n times n of them. Expressions and templates are worked out where the state is,
and see it all; a function that needs the list asks for it with `inputs`.
"""

from __future__ import annotations

from pydantic import JsonValue

from partsong.contracts.graph import MapNode, SubgraphNode
from partsong.contracts.state.scope import Execution
from partsong.contracts.state.state import RunState

__all__ = ["handed"]

_OWN = frozenset({"item", "index"})


def handed(state: RunState, execution: Execution) -> dict[str, JsonValue]:
    """The state that a call is handed."""
    view = state.view(execution)
    kept = {*_OWN, *execution.private}
    scope = state.scope(execution)
    while scope.exec:
        kept |= {
            *scope.writes,
            *scope.added,
        }  # what was written inside is another value under the name
        outer = state.execution(scope.exec)
        if outer is None:
            break
        node = state.node(outer)
        if not isinstance(node, MapNode | SubgraphNode) or node.inputs is not None:
            break
        if isinstance(node, MapNode):
            for key in {node.over, node.into} - kept:
                view.pop(key, None)
        scope = state.scope(outer)
    return view
