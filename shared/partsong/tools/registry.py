"""`ToolRegistry`: the tools a process has, by name."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator

from partsong.contracts.errors import InvalidInput, NotFound
from partsong.contracts.talk.messages import ToolSpec
from partsong.runtime.entry_points import load, misfit
from partsong.tools.tool import AnyTool, Tool

__all__ = ["GROUP", "ToolRegistry"]

GROUP = "partsong.tools"
"""Entry points of this group lead to a `Tool`, or to a list of them."""


class ToolRegistry:
    """Built-in tools, those a process registers, and those of installed packages that it allows."""

    def __init__(self, tools: Iterable[AnyTool] = (), *, allow: Iterable[str] = ()) -> None:
        """Start with the built-in tools and `tools`; `allow` names the entry points to load, and nothing else is.

        Raises:
            InvalidInput: `tool.duplicate`, `tool.bad_entry_point`.
            NotFound: `tool.no_entry_point`, for a name that no installed package has.
        """
        self._tools: dict[str, AnyTool] = {}
        self._unlisted = {tool.name: tool for tool in _of_the_platform()}
        for tool in (*_built_in(), *tools, *_installed(allow)):
            self.register(tool)

    def register(self, tool: AnyTool) -> None:
        """Add a tool.

        Raises:
            InvalidInput: `tool.duplicate` if another one has its name.
        """
        taken = self._unlisted.get(tool.name) or self._tools.setdefault(tool.name, tool)
        if taken is not tool:
            raise InvalidInput(
                "tool.duplicate",
                f"there is a tool {tool.name} already",
                where=tool.name,
                fix="give one of them another name: @tool(name=…)",
            )

    def get(self, name: str) -> AnyTool:
        """The tool of this name.

        Raises:
            NotFound: `tool.unknown`, with the names that come close.
        """
        if (tool := self._tools.get(name) or self._unlisted.get(name)) is not None:
            return tool
        close = difflib.get_close_matches(name, self._tools, n=3)
        raise NotFound(
            "tool.unknown",
            f"no tool {name!r}; "
            + (f"close: {', '.join(close)}" if close else f"there are {', '.join(self.names)}"),
            where=name,
            fix="correct the name, or register the tool in the tool-runner",
        )

    @property
    def names(self) -> tuple[str, ...]:
        """All names, sorted."""
        return tuple(sorted(self._tools))

    def specs(self, names: Iterable[str] | None = None) -> list[ToolSpec]:
        """The tools as a model sees them: these, in this order, or all.

        Raises:
            NotFound: `tool.unknown`.
        """
        return [self.get(name).spec() for name in (self.names if names is None else names)]


def _built_in() -> tuple[AnyTool, ...]:
    """All of them, whatever is installed and set: what one lacks it says when it is called."""
    from partsong.tools.builtin.calculator import calculator
    from partsong.tools.builtin.code import run_code
    from partsong.tools.builtin.fetch_page import fetch_page
    from partsong.tools.builtin.memory import recall, remember
    from partsong.tools.builtin.read_file import read_file
    from partsong.tools.builtin.search import web_search
    from partsong.tools.builtin.sql import query_database

    return (
        calculator,
        fetch_page,
        query_database,
        read_file,
        recall,
        remember,
        run_code,
        web_search,
    )


def _of_the_platform() -> tuple[AnyTool, ...]:
    """Tools that the platform calls itself: found by name, and offered to no model."""
    from partsong.tools.net.webhook import send_webhook

    return (send_webhook,)


def _installed(allow: Iterable[str]) -> Iterator[AnyTool]:
    for name in dict.fromkeys(allow):
        found = load(GROUP, name)
        for tool in found if isinstance(found, list | tuple) else (found,):
            if not isinstance(tool, Tool):
                what = f"leads to a {type(tool).__name__}, not to a Tool or a list of them"
                raise misfit(GROUP, name, what)
            yield tool
