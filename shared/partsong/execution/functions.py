"""Functions by name: those of the modules a tool-runner has loaded, or those a process was given."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from partsong.contracts.errors import NotFound
from partsong.execution.core.signature import Callee, callee
from partsong.execution.modules import Modules

__all__ = ["Functions"]


class Functions:
    """Finds the function that a graph calls `module:qualname`, and remembers how it wants to be called."""

    def __init__(
        self,
        modules: Modules | Iterable[str] = (),
        *,
        given: Mapping[str, Callable[..., object]] | None = None,
    ) -> None:
        """Look in these modules; `given` are functions of this process, by the names a graph uses.

        Raises:
            InvalidInput: `function.module_failed` if one cannot be imported.
        """
        self.modules = modules if isinstance(modules, Modules) else Modules(modules)
        """The modules it looks in."""
        self._given = dict(given or {})
        self._ready: dict[str, Callee] = {}

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
        return name not in self._given and self.modules.imports(name)

    def _find(self, name: str) -> Callable[..., object]:
        if self._given and not self.modules.within(name.partition(":")[0]):
            known = [*self.modules.names, *sorted(self._given)]
            raise NotFound(
                "function.not_found",
                f"no function {name}: this process has {', '.join(known)}",
                where=name,
                fix="give the graph the function itself, not its name",
                fault="platform",
            )
        return self.modules.callable_at(name)
