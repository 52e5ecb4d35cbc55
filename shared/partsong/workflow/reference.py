"""Functions by name: how a graph that is data refers to Python."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping

from partsong.contracts.errors import InvalidInput

__all__ = ["is_portable", "portable", "reference"]


def reference(
    function: Callable[..., object],
    place: str,
    others: Mapping[str, Callable[..., object]] | None = None,
) -> str:
    """`module:qualname` of a function; for one that cannot be imported by it, or that shares it, the place is added."""
    module = getattr(function, "__module__", None) or "?"
    name = f"{module}:{getattr(function, '__qualname__', type(function).__qualname__)}"
    shared = others is not None and others.get(name, function) != function
    return name if is_portable(name) and not shared else f"{name}@{place}"


def is_portable(name: str) -> bool:
    """Whether another process can import the function by this name, as far as the name tells."""
    module, _, qualname = name.partition(":")
    return module not in {"__main__", "?"} and "<" not in qualname and "@" not in qualname


def portable(function: Callable[..., object], name: str, where: str) -> str:
    """The name, if importing it here finds this very function.

    Raises:
        InvalidInput: `function.not_portable`, saying what to do.
    """
    if not is_portable(name):
        raise InvalidInput(
            "function.not_portable",
            f"{where}: {name.split('@', maxsplit=1)[0]} {_hindrance(name)}, so no tool-runner can import it",
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
            f"{where}: {name} is not the function the graph was given",
            where=where,
            fix="give the graph the function itself, not a wrapped copy; decorators should keep it importable",
        )
    return name


def _hindrance(name: str) -> str:
    if "<lambda>" in name:
        return "is a lambda"
    if name.startswith("__main__"):
        return "lives in __main__"
    if "<locals>" in name:
        return "is local"
    return "is the name of another function of this graph too"
