"""Functions by name: how a graph that is data refers to Python."""

from __future__ import annotations

import importlib
from collections.abc import Callable

from partsong.contracts.errors import InvalidInput

__all__ = ["is_portable", "portable", "reference"]


def reference(function: Callable[..., object], node: str) -> str:
    """`module:qualname` of a function; for a lambda or a local one a name that is unique in its graph."""
    module = getattr(function, "__module__", None) or "?"
    name = getattr(function, "__qualname__", type(function).__qualname__)
    return f"{module}:{name}" if is_portable(f"{module}:{name}") else f"{module}:{name}@{node}"


def is_portable(name: str) -> bool:
    """Whether another process can import the function by this name, as far as the name tells."""
    module, _, qualname = name.partition(":")
    return module not in {"__main__", "?"} and "<" not in qualname and "@" not in qualname


def portable(function: Callable[..., object], name: str, node: str) -> str:
    """The name, if importing it here finds this very function.

    Raises:
        InvalidInput: `function.not_portable`, saying what to do.
    """
    where = f"nodes.{node}.function"
    if not is_portable(name):
        kind = (
            "is a lambda"
            if "<lambda>" in name
            else "lives in __main__"
            if name.startswith("__main__")
            else "is local"
        )
        raise InvalidInput(
            "function.not_portable",
            f"node {node}: {name.split('@', maxsplit=1)[0]} {kind}, so no tool-runner can import it",
            where=where,
            fix="define it with `def` at the top level of a module, import it from there, and load that module: "
            "`partsong up --load your.module`",
        )
    module, _, qualname = name.partition(":")
    found: object = importlib.import_module(module)
    for part in qualname.split("."):
        found = getattr(found, part, None)
    if found is not function:
        raise InvalidInput(
            "function.not_portable",
            f"node {node}: {name} is not the function the graph was given",
            where=where,
            fix="give the graph the function itself, not a wrapped copy; decorators should keep it importable",
        )
    return name
