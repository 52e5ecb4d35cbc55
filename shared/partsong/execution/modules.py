"""Modules that a process has loaded, and what a graph may name of what is in them."""

from __future__ import annotations

import difflib
import importlib
import inspect
import shlex
import sys
from collections.abc import Callable, Iterable
from types import MethodType, ModuleType

from partsong.contracts.errors import InvalidInput, NotFound
from partsong.runtime.module_names import at, home_of

__all__ = ["Modules"]


class Modules:
    """Finds what is written in loaded modules, and in submodules of loaded packages, by `module:qualname`.

    Nothing else can be named: a graph comes over the bus, and must not reach what those modules happen to import. So the
    code that is called stands in one of them, as a function, or as the class of an object at a module's top level.
    """

    def __init__(self, names: Iterable[str] = ()) -> None:
        """Import the modules.

        Raises:
            InvalidInput: `function.module_failed` if one cannot be imported.
        """
        self.names: tuple[str, ...] = tuple(dict.fromkeys(names))
        """The modules it was told to load."""
        self.loaded: tuple[ModuleType, ...] = tuple(map(_import, self.names))
        """They themselves."""

    def within(self, module: str) -> bool:
        """Whether a module is one of them, or in a package that is."""
        return any(module == loaded or module.startswith(f"{loaded}.") for loaded in self.names)

    def imports(self, name: str) -> bool:
        """Whether to look for this name means to import a module."""
        module = name.partition(":")[0]
        return module not in sys.modules and self.within(module)

    def module_of(self, name: str) -> ModuleType | None:
        """The module that a name begins with, imported; None if it is none of these.

        Raises:
            InvalidInput: `function.module_failed` if it cannot be imported.
        """
        module, colon, _ = name.partition(":")
        if not colon or not self.within(module):
            return None
        return sys.modules.get(module) or _import(module)

    def callable_at(self, name: str) -> Callable[..., object]:
        """The function, class, object or method of this name.

        Raises:
            NotFound: `function.not_found`.
            InvalidInput: `function.module_failed`.
        """
        module = self.module_of(name)
        if module is None:
            raise self.not_loaded(name)
        path = name.partition(":")[2]
        found = at(module, path)
        if not callable(found) or not self._ours(module, path, found):
            raise _not_there(name, module, path)
        return found

    def _ours(self, module: ModuleType, path: str, found: object) -> bool:
        """Whether its code stands in a loaded module, and the path to it goes through nothing that was put together there."""
        if not self.within(home_of(found)):
            return False
        owner, _, name = path.rpartition(".")
        if not owner:
            return True
        holder = at(module, owner)
        if inspect.isclass(holder):
            return holder.__module__ == module.__name__
        public = "." not in owner and not owner.startswith("_") and not name.startswith("_")
        method = isinstance(found, MethodType) and found.__self__ is holder
        return (
            public
            and method
            and getattr(found, "__name__", "") == name
            and self.within(home_of(holder))
        )

    def not_loaded(self, name: str) -> NotFound:
        """The error for a name whose module is none of these."""
        module, colon, _ = name.partition(":")
        fix = (
            f"start the tool-runner with `--load {module}`"
            if colon
            else "name it `module:function`, and start the tool-runner with `--load module`"
        )
        return NotFound(
            "function.not_found",
            f"no function {name}: this process has {', '.join(self.names) or 'no modules loaded'}",
            where=name,
            fix=fix,
            fault="platform",
        )


def _import(name: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except Exception as error:
        raise InvalidInput(
            "function.module_failed",
            f"module {name} cannot be imported: {type(error).__name__}: {error}",
            where=name,
            fix=f"run `python -c {shlex.quote(f'import {name}')}` in the same directory and environment to see where it fails",
        ) from error


def _not_there(name: str, module: ModuleType, path: str) -> NotFound:
    own = [
        key
        for key, value in vars(module).items()
        if callable(value) and home_of(value) == module.__name__
    ]
    close = difflib.get_close_matches(path, own, n=3) or sorted(own)[:10]
    return NotFound(
        "function.not_found",
        f"module {module.__name__} defines no function {path}; it defines {', '.join(close) or 'none'}",
        where=name,
        fix="correct the name in the graph, or load the version of the module that has it",
    )
