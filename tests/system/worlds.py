"""The function of all nodes of random graphs, as a tool-runner calls it."""

from __future__ import annotations

from pydantic import JsonValue

from partsong.contracts.graph.function_results import Goto, NodeContext, Overwrite, Route
from partsong.contracts.graph.reducers import overwritten
from tests.support.world import act

__all__ = ["play"]


def play(state: dict[str, JsonValue], context: NodeContext) -> object:
    """One attempt, as the plan in the state says."""
    done = act(context.node, state, context.attempt)
    update = {key: _returned(value) for key, value in done.update.items()}
    if done.goto:
        return Goto(*done.goto, update=update)
    return Route(done.label, update) if done.label is not None else update


def _returned(value: JsonValue) -> object:
    """What a function returns for what is to stand in the log."""
    fresh = overwritten(value)
    return value if fresh is None else Overwrite(fresh[0])
