"""Where a graph's own tools stand: by that another process finds them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from partsong.contracts.errors import InvalidInput, Problem
from partsong.workflow.reference import hindrance, reference

if TYPE_CHECKING:
    from partsong.tools.tool import AnyTool

__all__ = ["Sources", "own_tools_of"]


def own_tools_of(agent: object) -> tuple[AnyTool, ...]:
    """The tools that an agent brings, if it is an object that has some."""
    own: Any = getattr(agent, "own_tools", None)
    return () if own is None else tuple(own())


class Sources:
    """Names the places of tools. What was given as an object is that very tool, on the bus too."""

    def __init__(self, tools: Iterable[AnyTool], graph: object, *, travels: bool) -> None:
        """`tools` are those of all the graph, which has them too; if it `travels`, all must be found elsewhere."""
        self._tools: dict[str, AnyTool] = {}
        for tool in tools:
            if self._tools.setdefault(tool.name, tool).function != tool.function:
                raise InvalidInput(
                    "tool.duplicate",
                    f"two tools of the graph are called {tool.name}",
                    where="tools",
                    fix="give one of them another name: @tool(name=…)",
                )
        self._graph, self._travels = graph, travels
        self.unplaced: dict[str, Problem] = {}
        """By name: tools that no module has, and why; tool-runners may have them all the same."""

    def of(
        self, names: Iterable[str], where: str, own: Iterable[AnyTool] = (), agent: object = None
    ) -> dict[str, str]:
        """Those of the tools that a node names; `own` are an agent's, which come before the graph's."""
        mine = {tool.name: tool for tool in own}
        found: dict[str, str] = {}
        for name in names:
            if (tool := mine.get(name)) is not None:
                place = self._place(tool, (agent, self._graph), where)
            elif (tool := self._tools.get(name)) is not None:
                place = self._place(tool, (self._graph,), where)
            else:
                continue
            if place is not None:
                found[name] = place
        return found

    def _place(self, tool: AnyTool, holders: tuple[object, ...], where: str) -> str | None:
        from partsong.runtime.module_names import place_of
        from partsong.tools.places import place_of_tool

        if (place := place_of_tool(tool, far=self._travels)) is not None or not self._travels:
            return place
        for holder in holders:  # whoever loads a module has what its graphs and agents bring
            if holder is not None and (place := place_of(holder, far=True)) is not None:
                return place
        name = reference(tool.function, "")
        self.unplaced[tool.name] = Problem(
            code="tool.not_portable",
            message=f"{where}: tool {tool.name} is made of {name.removesuffix('@')}, which "
            f"{hindrance(tool.function, name)}, so no tool-runner can import it, and none has one of its name",
            where=where,
            fix="give the tool, or the graph, a public name at the top level of a module, import it from there, and load "
            "that module: `partsong up --load your.module`",
        )
        return f"?:{tool.name}"
