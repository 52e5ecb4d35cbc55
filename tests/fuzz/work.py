"""What the platform under fuzz has loaded: a step of an honest run, and functions that do what a case draws."""

from __future__ import annotations

import inspect
from typing import Any

from pydantic import JsonValue

from partsong.workflow import NodeContext
from tests.fuzz.draw import Draw
from tests.fuzz.runs import deed

__all__ = ["drawn", "step"]

State = dict[str, JsonValue]


def step(state: State) -> State:
    """Nothing but a step."""
    return {"stepped": True}


async def drawn(state: State, context: NodeContext) -> Any:
    """Do what is drawn under the name that the state holds."""
    made = deed(Draw(str(state["draw"])))
    found = made(state, context) if len(inspect.signature(made).parameters) > 1 else made(state)
    return await found if inspect.isawaitable(found) else found
