"""`ToolRegistry`: the tools a process has, by name."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Iterator
from copy import copy
from typing import TypeAlias

from partsong.contracts.errors import InvalidInput, NotFound
from partsong.contracts.talk.messages import ToolSpec
from partsong.contracts.wire.work import PLATFORM
from partsong.runtime.entry_points import load, misfit
from partsong.tools.places import place_of_tool, tools_at
from partsong.tools.tool import AnyTool, Tool

__all__ = ["ANYWHERE", "GROUP", "Find", "ToolRegistry"]

GROUP = "partsong.tools"
"""Entry points of this group lead to a `Tool`, or to a list of them."""

ANYWHERE = "?:"
"""Begins the source of a tool that was given as an object and that no module has."""

Find: TypeAlias = Callable[[str, str], "AnyTool | None"]
"""Finds a tool by its source, `module:name`, and by its own name."""


class ToolRegistry:
    """Built-in tools, those a process registers, and those of installed packages that it allows.

    A tool that is registered takes the place of a built-in one of its name.
    """

    def __init__(
        self, tools: Iterable[AnyTool] = (), *, allow: Iterable[str] = (), find: Find | None = None
    ) -> None:
        """Start with the built-in tools and `tools`; `allow` names what to load beside: entry points, or `module:name`.

        `find` looks in modules for tools that a graph names by where they stand.

        Raises:
            InvalidInput: `tool.duplicate`, `tool.bad_entry_point`, `tool.bad_place`.
            NotFound: `tool.no_entry_point`, for a name that no installed package has.
        """
        self._built_in = {tool.name: tool for tool in _built_in()}
        self._unlisted = {tool.name: tool for tool in _of_the_platform()}
        self._own: dict[str, AnyTool] = {}
        self._sources: dict[str, str | None] = {}
        """By name: where each that is registered stands, if that is known."""
        self._find = find
        for tool in (*tools, *_allowed(allow)):
            self.register(tool)

    def register(self, tool: AnyTool, source: str | None = None) -> None:
        """Add a tool; `source` is where it stands, if it is not where its function is.

        Raises:
            InvalidInput: `tool.duplicate` if another one that was registered has its name.
        """
        if self._built_in.get(tool.name) is tool:
            return
        other = self._own.setdefault(tool.name, tool)
        if other.function != tool.function:  # a function of two graphs is made a tool twice
            places = self._sources[tool.name] or "registered", source or place_of_tool(tool)
            raise InvalidInput(
                "tool.duplicate",
                f"there is a tool {tool.name} already ({places[0]}, and now {places[1] or 'another one'})",
                where=tool.name,
                fix="give one of them another name: @tool(name=…)",
            )
        self._sources.setdefault(tool.name, source or place_of_tool(tool))

    def looking_in(self, find: Find) -> ToolRegistry:
        """The same tools, and those that `find` finds by source."""
        other = copy(self)
        other._find = find  # noqa: SLF001  # another of us
        return other

    def get(self, name: str, source: str = "") -> AnyTool:
        """The tool of this name; with a `source`, the one that stands there and no other.

        Raises:
            NotFound: `tool.unknown`, with the names that come close, or with the module to load.
        """
        if source == PLATFORM:
            return self._unlisted[name]
        if source:
            return self._standing_at(source, name)
        for tools in (self._own, self._built_in, self._unlisted):
            if (tool := tools.get(name)) is not None:
                return tool
        close = difflib.get_close_matches(name, self.names, n=3)
        raise NotFound(
            "tool.unknown",
            f"no tool {name!r}; "
            + (f"close: {', '.join(close)}" if close else f"there are {', '.join(self.names)}"),
            where=name,
            fix="correct the name, or load the tool in a tool-runner: `--load MODULE`, PARTSONG_TOOLS",
        )

    def has(self, name: str, source: str = "") -> bool:
        """Whether there is such a tool."""
        try:
            self.get(name, source)
        except NotFound:
            return False
        return True

    @property
    def names(self) -> tuple[str, ...]:
        """All names, sorted."""
        return tuple(sorted({*self._built_in, *self._own}))

    @property
    def own(self) -> tuple[AnyTool, ...]:
        """The tools that were registered, the built-in ones left out."""
        return tuple(self._own.values())

    @property
    def shadowed(self) -> tuple[str, ...]:
        """Names of built-in tools that have another one in their place."""
        return tuple(sorted({*self._built_in} & {*self._own}))

    def specs(self, names: Iterable[str] | None = None) -> list[ToolSpec]:
        """The tools as a model sees them: these, in this order, or all.

        Raises:
            NotFound: `tool.unknown`.
        """
        return [self.get(name).spec() for name in (self.names if names is None else names)]

    def _standing_at(self, source: str, name: str) -> AnyTool:
        """Whatever else has its name is another tool; but one of which nobody knows where it stands was given as itself."""
        own, anywhere = self._own.get(name), source.startswith(ANYWHERE)
        if own is not None and (anywhere or self._sources[name] in {source, None}):
            return own
        if anywhere:
            raise NotFound(
                "tool.unknown",
                f"no tool {name!r} but perhaps a built-in one, which is another",
                where=name,
                fix="load the tool in a tool-runner: `--load MODULE`, PARTSONG_TOOLS",
            )
        found = self._find(source, name) if self._find is not None else None
        if found is None:
            module = source.partition(":")[0]
            raise NotFound(
                "tool.unknown",
                f"no tool {name!r} at {source}",
                where=source,
                fix=f"start a tool-runner with `--load {module}`",
            )
        return found


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


def _allowed(names: Iterable[str]) -> Iterator[AnyTool]:
    for name in dict.fromkeys(names):
        yield from tools_at(name) if ":" in name else _installed(name)


def _installed(name: str) -> Iterator[AnyTool]:
    found = load(GROUP, name)
    for tool in found if isinstance(found, list | tuple) else (found,):
        if not isinstance(tool, Tool):
            what = f"leads to a {type(tool).__name__}, not to a Tool or a list of them"
            raise misfit(GROUP, name, what)
        yield tool
