"""Where an MCP server is: a URL, or a command that is started and spoken to over its stdin and stdout."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field

from partsong.contracts.errors import InvalidInput

__all__ = ["MCP_SETTING", "MCP_TRUST_SETTING", "Place", "place_of", "trusted_by"]

MCP_SETTING = "PARTSONG_MCP"
"""MCP servers as NAME=URL or NAME=COMMAND, separated by semicolons."""

MCP_TRUST_SETTING = "PARTSONG_MCP_TRUST"
"""Names of MCP servers, with commas between, of which it is believed that a tool only reads if they say so."""

_NAME = re.compile(r"[A-Za-z0-9-]{1,24}")


@dataclass(frozen=True, slots=True)
class Place:
    """A server by its name; either it has a URL or a command."""

    name: str
    """Begins the names of its tools."""
    url: str = field(default="", repr=False)
    """Not shown: it may hold a password."""
    command: tuple[str, ...] = field(default=(), repr=False)
    """Not shown: it may hold a key."""


def place_of(text: str) -> Place:
    """Read `NAME=URL` or `NAME=COMMAND`.

    Raises:
        InvalidInput: `mcp.bad_place`.
    """
    name, _, where = (part.strip() for part in text.partition("="))
    if not _NAME.fullmatch(name):
        raise _bad(name, "a name has letters, digits and -, at most 24")
    if re.match(r"https?://[^/]", where):
        return Place(name, url=where)
    try:
        command = tuple(shlex.split(where))
    except ValueError as error:
        raise _bad(name, f"its command cannot be read: {error}") from error
    if not command or "://" in command[0]:
        raise _bad(name, "it has neither an http or https URL nor a command")
    return Place(name, command=command)


def trusted_by(env: Mapping[str, str]) -> frozenset[str]:
    """The servers whose word is taken, by `PARTSONG_MCP_TRUST`."""
    return frozenset(
        filter(None, (name.strip() for name in env.get(MCP_TRUST_SETTING, "").split(",")))
    )


def _bad(name: str, why: str) -> InvalidInput:
    return InvalidInput(
        "mcp.bad_place",
        f"MCP server {name!r}: {why}",
        where=MCP_SETTING,
        fix="write NAME=https://host/mcp or NAME=command with its arguments",
        fault="platform",
    )
