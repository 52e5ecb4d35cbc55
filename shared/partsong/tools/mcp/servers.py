"""`McpServers`: the MCP servers of one process, and their tools."""

from __future__ import annotations

import asyncio
import logging
import os
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.util import find_spec
from types import TracebackType
from typing import TYPE_CHECKING, Literal, Self

from pydantic import JsonValue

from partsong.contracts.errors import InvalidInput, PartsongError, Unavailable
from partsong.tools.mcp.pins import Pins
from partsong.tools.mcp.place import Place, place_of, trusted_by
from partsong.tools.tool import AnyTool

if TYPE_CHECKING:
    from mcp.types import Tool as Listed

    from partsong.tools.mcp.link import Link
    from partsong.tools.mcp.made import Call

__all__ = ["McpServers", "Standing"]

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Standing:
    """How one tool of a server stands."""

    tool: str
    """The name it has there."""
    how: Literal["allowed", "changed", "new", "twice"]
    """`twice`: the server lists two of that name, and none is had."""
    says: str
    """What the server says of it now: a stranger's text."""
    pin: str = field(repr=False)


class McpServers:
    """An async context manager: connected inside, and again if a connection breaks.

    A server that cannot be reached does not keep the others from working: its tools come when it does, and the calls of
    tools that were there fail with `mcp.unreachable` while it is away. All of it belongs to one event loop; its tools may be
    called in any.
    """

    def __init__(
        self,
        places: Sequence[Place | str],
        *,
        pins: Pins | None = None,
        register: Callable[[AnyTool], None] | None = None,
        trusted: Collection[str] | None = None,
    ) -> None:
        """`register` is told of each tool as it comes.

        Of `trusted` servers it is believed that a tool only reads; without it, of those that `PARTSONG_MCP_TRUST` names.

        Raises:
            InvalidInput: `mcp.bad_place`, or `mcp.duplicate` for two servers of one name.
            Unavailable: `mcp.not_installed`.
        """
        self._places = [place_of(one) if isinstance(one, str) else one for one in places]
        names = [place.name for place in self._places]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise InvalidInput(
                "mcp.duplicate", f"two MCP servers are called {twice[0]}", where=twice[0]
            )
        if self._places and find_spec("mcp") is None:
            raise Unavailable(
                "mcp.not_installed",
                "mcp is not installed",
                where="mcp",
                fix="pip install 'partsong[mcp]'",
            )
        self._trusted = trusted_by(os.environ) if trusted is None else frozenset(trusted)
        self._pins, self._register = pins or Pins(), register or (lambda _tool: None)
        self._tools: dict[str, AnyTool] = {}
        self._seen: dict[str, Sequence[Listed]] = {}
        self._refused: dict[str, set[str]] = {}
        self._links: dict[str, Link] = {}
        self._loop: asyncio.AbstractEventLoop | None = None

    async def __aenter__(self) -> Self:
        """Connect; returns after the first attempt at each."""
        self._loop = asyncio.get_running_loop()
        if self._places:
            from partsong.tools.mcp.link import Link

            self._links = {place.name: Link(place, self._heard) for place in self._places}
            await asyncio.gather(*(link.start() for link in self._links.values()))
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        """Disconnect, and end the servers that were started."""
        await asyncio.gather(*(link.stop() for link in self._links.values()))

    @property
    def tools(self) -> list[AnyTool]:
        """The tools of all servers that have been reached, by name."""
        return [self._tools[name] for name in sorted(self._tools)]

    @property
    def names(self) -> list[str]:
        """The servers, as they were given."""
        return [place.name for place in self._places]

    @property
    def unreachable(self) -> dict[str, str]:
        """The servers without a connection, and why."""
        return {name: link.why for name, link in self._links.items() if link.why}

    def standing(self, server: str) -> list[Standing]:
        """The tools of a server as it was last seen, against what is allowed.

        Raises:
            InvalidInput: `mcp.bad_pins`.
        """
        from partsong.tools.mcp.made import pin_of

        allowed = self._pins.allowed(server) or {}
        seen = self._seen.get(server, ())
        times = Counter(one.name for one in seen)
        found: list[Standing] = []
        for one in seen:
            pin, before = pin_of(one), allowed.get(one.name)
            how: Literal["allowed", "changed", "new", "twice"]
            how = "new" if before is None else "allowed" if before == pin else "changed"
            # Which of two is called nobody can say, so what is allowed of one says nothing.
            how = "twice" if times[one.name] > 1 else how
            found.append(Standing(one.name, how, one.description or one.title or "", pin))
        return found

    def allow(self, server: str) -> None:
        """Allow the tools of a server as they were last seen. Processes that run take them up when they start again.

        Raises:
            InvalidInput: `mcp.bad_pins`.
        """
        tools = self.standing(server)
        self._pins.allow(server, {one.tool: one.pin for one in tools if one.how != "twice"})

    async def _heard(self, place: Place, listed: Sequence[Listed]) -> None:
        from partsong.tools.mcp.made import made, withheld

        self._seen[place.name] = listed
        if self._pins.allowed(place.name) is None:
            self.allow(place.name)
        standing = {one.tool: one.how for one in self.standing(place.name)}
        self._refused[place.name] = {name for name, how in standing.items() if how != "allowed"}
        call = self._caller(place.name)
        for one in listed:
            refused = one.name in self._refused[place.name]
            if refused:
                extra = {"server": place.name, "tool": one.name, "is": standing[one.name]}
                _log.warning("mcp tool refused", extra=extra)
            try:
                tool = withheld(place.name, one, call)
                if not refused:
                    tool = made(place.name, one, call, trusted=place.name in self._trusted)
                self._take(tool)
            except PartsongError as error:  # this tool cannot be had; the others can
                extra = {"server": place.name, "tool": one.name, "why": error.problem.message}
                _log.warning("mcp tool left out", extra=extra)

    def _take(self, tool: AnyTool) -> None:
        if tool.name in self._tools:
            return  # connected again: what was shown to models stays as it was
        self._register(tool)
        self._tools[tool.name] = tool

    def _caller(self, server: str) -> Call:
        async def call(tool: str, args: Mapping[str, JsonValue], *, repeatable: bool) -> JsonValue:
            if tool in self._refused[server]:
                raise InvalidInput(
                    "mcp.changed",
                    f"what MCP server {server} says of its tool {tool} is not what was allowed",
                    where=tool,
                    fix="`partsong mcp list` shows it; `partsong mcp allow` takes it, from the next start on",
                    fault="tool",
                )
            from partsong.tools.mcp.results import content_of

            calling = self._links[server].call(tool, args, repeatable=repeatable)
            if self._loop is not None and self._loop is not asyncio.get_running_loop():
                there = asyncio.run_coroutine_threadsafe(calling, self._loop)
                return content_of(await asyncio.wrap_future(there), server, tool)
            result = await calling
            return content_of(result, server, tool)

        return call
