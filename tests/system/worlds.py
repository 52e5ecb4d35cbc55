"""The function of all nodes of random graphs, as a tool-runner calls it."""

from __future__ import annotations

from pydantic import JsonValue

from partsong.contracts.routing import Goto, NodeContext, Route
from tests.core.world import act

__all__ = ["play"]


def play(state: dict[str, JsonValue], context: NodeContext) -> object:
    """One attempt, as the plan in the state says."""
    done = act(context.node, state, context.attempt)
    if done.goto:
        return Goto(*done.goto, update=done.update)
    return Route(done.label, done.update) if done.label is not None else done.update
