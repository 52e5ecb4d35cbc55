"""Where tools stand: `module:name` of a tool, of a list of tools, or of a graph or an agent that has them."""

from __future__ import annotations

import importlib
import inspect
from dataclasses import replace
from typing import Any

from partsong.contracts.errors import InvalidInput
from partsong.runtime.module_names import at, place_of
from partsong.tools.tool import AnyTool, Tool, as_tool

__all__ = ["place_of_tool", "tools_at", "tools_in"]


def place_of_tool(tool: AnyTool, *, far: bool = False) -> str | None:
    """Where a module has this tool, or the plain function or method that it is; None if none has."""
    if (found := place_of(tool, tool.function, far=far)) is not None:
        return found
    made = place_of(tool.function)
    if made is None:
        return None
    same = (
        replace(as_tool(tool.function), parameters=tool.parameters) == tool
    )  # and no manners of its own
    return made if same else None


def tools_in(value: object) -> tuple[AnyTool, ...] | None:
    """The tools that a module's value is or has; None if it has nothing to do with tools.

    It may be a tool, a list of tools and functions, or something with a method `own_tools`: a graph, an agent.
    """
    match value:
        case Tool():
            return (value,)
        case list() | tuple():
            listed = [one for one in value if isinstance(one, Tool) or inspect.isroutine(one)]
            return tuple(map(as_tool, listed)) if listed and len(listed) == len(value) else None
        case _:
            own: Any = getattr(type(value), "own_tools", None)
            return None if own is None else tuple(own(value))


def tools_at(place: str) -> tuple[AnyTool, ...]:
    """The tools at `module:name`, the module imported.

    Raises:
        InvalidInput: `tool.bad_place`, saying what may stand there.
    """
    module, _, name = place.partition(":")
    try:
        value = at(importlib.import_module(module), name)
    except Exception as error:
        raise _bad(
            place, f"{module} cannot be imported: {type(error).__name__}: {error}"
        ) from error
    found = (as_tool(value),) if inspect.isroutine(value) else tools_in(value)
    if found is None:
        said = "nothing" if value is None else f"a {type(value).__name__}"
        raise _bad(place, f"{place} is {said}")
    return found


def _bad(place: str, message: str) -> InvalidInput:
    return InvalidInput(
        "tool.bad_place",
        message,
        where=place,
        fix="name an entry point, or MODULE:NAME of a tool, a function, a list of them, or a graph with `tools=`",
    )
