"""Tools of loaded modules: those that a tool-runner offers by name, and those that a graph names by where they stand."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Iterator
from types import ModuleType

from partsong.contracts.errors import InvalidInput, NotFound
from partsong.execution.modules import Modules
from partsong.runtime.module_names import at, home_of, place_of
from partsong.tools.places import tools_in
from partsong.tools.registry import ToolRegistry
from partsong.tools.tool import AnyTool, Tool, as_tool

__all__ = ["LoadedTools", "functions_in", "registry_of"]


def registry_of(
    modules: Modules, tools: Iterable[AnyTool] = (), *, allow: Iterable[str] = ()
) -> ToolRegistry:
    """The tools of a process that has loaded these modules: theirs, `tools`, and what it allows.

    Raises:
        InvalidInput: `tool.duplicate`, `tool.bad_signature`, `tool.bad_entry_point`, `tool.bad_place`.
        NotFound: `tool.no_entry_point`.
    """
    loaded = LoadedTools(modules)
    registry = ToolRegistry(tools, allow=allow, find=loaded.find)
    loaded.register(registry)
    return registry


class LoadedTools:
    """Finds the tools that stand at the top level of loaded modules.

    These are tools, lists of them called `tools`, and what has tools of its own: graphs and agents. A tool that a module
    imports from one that is not loaded is not taken, unless it is in such a list, graph or agent.
    """

    def __init__(self, modules: Modules) -> None:
        self._modules = modules
        self._made: dict[str, AnyTool] = {}
        """By place: functions made tools."""

    def register(self, registry: ToolRegistry) -> None:
        """Offer them by their names. Of two that graphs bring under one name, the second is found by graphs alone.

        Raises:
            InvalidInput: `tool.duplicate`, `tool.bad_signature`.
        """
        for module in self._modules.loaded:
            for source, tool, explicit in self._of(module):
                try:
                    registry.register(tool, source)
                except InvalidInput as error:
                    if explicit or error.problem.code != "tool.duplicate":
                        raise

    def names(self, module: ModuleType) -> tuple[str, ...]:
        """The names of a module's tools, sorted."""
        return tuple(sorted({tool.name for _, tool, _ in self._of(module)}))

    def find(self, source: str, name: str) -> AnyTool | None:
        """The tool of this name at `module:name`; None if no loaded module has it there.

        Raises:
            InvalidInput: `function.module_failed`, `tool.bad_signature`.
        """
        module, path = self._modules.module_of(source), source.partition(":")[2]
        if module is None:
            return None
        value = at(module, path)
        public = path.isidentifier() and not path.startswith("_")
        tools = self._taken(module, value) if public else ()
        if not tools and callable(value) and not isinstance(value, Tool):
            tools = self._callable(source)
        return next((tool for tool in tools if tool.name == name), None)

    def _of(self, module: ModuleType) -> Iterator[tuple[str, AnyTool, bool]]:
        """A module's tools: where each stands, and whether it says so itself."""
        values = {name: value for name, value in vars(module).items() if not name.startswith("_")}
        known: set[int] = set()
        first = [name for name, value in values.items() if isinstance(value, Tool)]
        for name in dict.fromkeys([*first, *(n for n in ("tools",) if n in values), *values]):
            value = values[name]
            if isinstance(value, list | tuple) and name != "tools":
                continue
            for tool in self._taken(module, value):
                if id(tool) not in known:  # a tool has no hash
                    known.add(id(tool))
                    yield f"{module.__name__}:{name}", tool, isinstance(value, Tool | list | tuple)

    def _taken(self, module: ModuleType, value: object) -> tuple[AnyTool, ...]:
        if isinstance(value, Tool):
            return (value,) if self._ours(module, value) else ()
        if inspect.isclass(value) or inspect.isroutine(value):
            return ()
        return tools_in(value) or ()

    def _ours(self, module: ModuleType, tool: AnyTool) -> bool:
        """Whether a module has not merely imported it from one that is not loaded."""
        made = place_of(tool, tool.function)
        home = made.partition(":")[0] if made is not None else module.__name__
        return home == module.__name__ or self._modules.within(home)

    def _callable(self, source: str) -> tuple[AnyTool, ...]:
        if source not in self._made:
            try:
                self._made[source] = as_tool(self._modules.callable_at(source))
            except NotFound:
                return ()
        return (self._made[source],)


def functions_in(module: ModuleType) -> tuple[str, ...]:
    """The names of the functions, and of objects that are called like one, that are written in a module, sorted."""
    return tuple(
        sorted(
            name
            for name, value in vars(module).items()
            if not name.startswith("_")
            and callable(value)
            and not inspect.isclass(value)
            and home_of(value) == module.__name__
        )
    )
