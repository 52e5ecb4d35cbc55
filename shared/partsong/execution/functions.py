"""Functions by name: the modules a tool-runner has loaded, or the functions a process was given."""

from __future__ import annotations

import difflib
import importlib
import shlex
import sys
from collections.abc import Callable, Iterable, Mapping
from types import ModuleType

from partsong.contracts.errors import InvalidInput, NotFound
from partsong.execution.core.signature import Callee, callee

__all__ = ["Functions"]


class Functions:
    """Finds the function that a graph calls `module:qualname`.

    Only what is written in a loaded module, or in a submodule of a loaded package, can be named: a graph comes over the
    bus, and must not reach whatever those modules happen to import.
    """

    def __init__(
        self,
        modules: Iterable[str] = (),
        *,
        given: Mapping[str, Callable[..., object]] | None = None,
    ) -> None:
        """Import the modules; `given` are functions of this process, by the names a graph uses.

        Raises:
            InvalidInput: `function.module_failed` if one cannot be imported.
        """
        self.modules: tuple[str, ...] = tuple(dict.fromkeys(modules))
        """The modules it was told to load."""
        self._given = dict(given or {})
        self._ready: dict[str, Callee] = {}
        for name in self.modules:
            _import(name)

    @classmethod
    def local(cls, functions: Mapping[str, Callable[..., object]]) -> Functions:
        """Just these, by the names a graph uses; a lambda or a local function will do."""
        return cls(given=functions)

    def get(self, name: str) -> Callee:
        """The function of this name.

        Raises:
            NotFound: `function.not_found`, saying what is there and what to do.
            InvalidInput: `function.bad_signature`, `function.module_failed`.
        """
        found = self._ready.get(name)
        if found is None:
            function = self._given[name] if name in self._given else self._find(name)
            found = self._ready[name] = callee(function)
        return found

    def imports(self, name: str) -> bool:
        """Whether to look for this function means to import a module."""
        module = name.partition(":")[0]
        return name not in self._given and module not in sys.modules and self._within(module)

    def _find(self, name: str) -> Callable[..., object]:
        module_name, colon, qualname = name.partition(":")
        if not colon or not self._within(module_name):
            raise self._not_loaded(name, module_name)
        module = sys.modules.get(module_name) or _import(module_name)
        found: object = module
        for part in qualname.split("."):
            found = None if part.startswith("__") else getattr(found, part, None)
            if found is None or isinstance(found, ModuleType):
                raise _not_there(name, module, qualname)
        if not callable(found) or getattr(found, "__module__", None) != module_name:
            raise _not_there(name, module, qualname)
        return found

    def _within(self, module: str) -> bool:
        return any(module == loaded or module.startswith(f"{loaded}.") for loaded in self.modules)

    def _not_loaded(self, name: str, module: str) -> NotFound:
        known = [*self.modules, *sorted(self._given)]
        fix = (
            "give the graph the function itself, not its name"
            if self._given
            else f"start the tool-runner with `--load {module}`"
        )
        return NotFound(
            "function.not_found",
            f"no function {name}: this process has {', '.join(known) or 'no modules loaded'}",
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


def _not_there(name: str, module: ModuleType, qualname: str) -> NotFound:
    own = [
        key
        for key, value in vars(module).items()
        if callable(value) and getattr(value, "__module__", None) == module.__name__
    ]
    close = difflib.get_close_matches(qualname, own, n=3) or sorted(own)[:10]
    return NotFound(
        "function.not_found",
        f"module {module.__name__} defines no function {qualname}; it defines {', '.join(close) or 'none'}",
        where=name,
        fix="correct the name in the graph, or load the version of the module that has it",
    )
