"""Names of what modules hold at their top level: `package.module:name`, by which another process finds the same thing."""

from __future__ import annotations

import functools
import inspect
import sys
from collections.abc import Iterable, Iterator
from types import MethodType, ModuleType

__all__ = ["at", "home_of", "place_of"]

_NOWHERE = frozenset({"__main__", "__mp_main__", "builtins"})
"""Modules that are another one in another process, or that nobody can be asked to load."""


def place_of(target: object, made_of: object = None, *, far: bool = False) -> str | None:
    """`module:name` under which a module holds this very object; of a method, `module:object.method`.

    It is looked for where it was written, or what it was `made_of`; with `far`, in all modules of this process that are
    neither the standard library's nor Partsong's.
    """
    if isinstance(target, MethodType):
        owner = place_of(target.__self__, far=far)
        name = target.__name__
        held = owner is not None and getattr(target.__self__, name, None) == target
        return f"{owner}.{name}" if held and not name.startswith("_") else None
    written = target if made_of is None else made_of
    home = home_of(written)
    if (named := _named(target, home, getattr(written, "__qualname__", None))) is not None:
        return named
    elsewhere = (
        _others() if far and home not in _NOWHERE else ()
    )  # many modules hold Python's own under names of theirs
    for module in _modules((home, *elsewhere)):
        for name, value in list(vars(module).items()):
            if value is target and not name.startswith("_"):
                return f"{module.__name__}:{name}"
    return None


def home_of(target: object) -> str:
    """The module in which a function, or the class of an object, is written: behind partials and methods."""
    while isinstance(target, functools.partial | MethodType):
        target = target.func if isinstance(target, functools.partial) else target.__func__
    written = target if inspect.isroutine(target) or inspect.isclass(target) else type(target)
    return getattr(written, "__module__", None) or ""


def at(module: ModuleType, path: str) -> object | None:
    """What a module holds at a dotted path; None if there is nothing, or another module on the way."""
    found: object = module
    for part in path.split("."):
        found = None if part.startswith("__") else getattr(found, part, None)
        if found is None or isinstance(found, ModuleType):
            return None
    return found


def _named(target: object, home: str, qualname: object) -> str | None:
    """By the name that it was written with, if that leads to it."""
    for module in _modules((home,)):
        if isinstance(qualname, str) and at(module, qualname) is target:
            return f"{home}:{qualname}"
    return None


def _modules(names: Iterable[str]) -> Iterator[ModuleType]:
    for name in names:
        module = sys.modules.get(name)
        if isinstance(module, ModuleType) and name not in _NOWHERE:
            yield module


def _others() -> list[str]:
    known = {*sys.stdlib_module_names, "partsong"}
    return [name for name in sys.modules if name.partition(".")[0] not in known]
