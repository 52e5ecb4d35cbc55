"""Exceptions by name: how a class is written in an error that travels, and which errors a name in a graph means."""

from __future__ import annotations

import builtins
import re

from partsong.contracts.errors import Problem

__all__ = ["class_name", "means", "misspelt"]

_FORM = re.compile(r"[A-Za-z_][\w-]*(?:\.(?:[\w-]+|<locals>))*\.?", re.ASCII)
_LONGEST = 200
_BUILTIN = {
    name.casefold(): name
    for name, found in vars(builtins).items()
    if isinstance(found, type) and issubclass(found, BaseException)
}


def class_name(kind: type) -> str:
    """`package.module.Class`, and `ConnectionError` of a builtin one; whatever a metaclass says of itself."""
    module, name = _own(kind, "__module__"), _own(kind, "__qualname__")
    return (name if module == "builtins" else f"{module}.{name}")[:_LONGEST]


def _own(kind: type, name: str) -> str:
    """What the interpreter knows of a class."""
    found = vars(type)[name].__get__(kind)
    return found.encode(errors="replace").decode() if isinstance(found, str) else "?"


def means(name: str, problem: Problem) -> bool:
    """Whether a name is for an error: by its code or how that begins, or by a class of what was raised.

    A class goes by its name, and by its module too, be it the one that it is imported from: `requests.ConnectionError`
    is written in `requests.exceptions`. With a code before it, both must be so: `function.raised.ConnectionError`.
    """
    if problem.code.startswith(name):
        return True
    head, _, last = name.rpartition(".")
    root = name.partition(".")[0]
    return any(
        last == raised.rpartition(".")[2]
        and (head in {"", "builtins", problem.code} or root == raised.partition(".")[0])
        for raised in problem.raised or ()
    )


def misspelt(name: str) -> str | None:
    """Why a name can be for no error; None if it may be for one."""
    if not _FORM.fullmatch(name) or len(name) > _LONGEST:
        return "it is neither an error's code, the beginning of one, nor the name of an exception's class"
    meant = _BUILTIN.get(name.casefold())
    return f"the exception is called {meant}" if meant not in {None, name} else None
