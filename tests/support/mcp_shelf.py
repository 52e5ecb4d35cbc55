"""An MCP server for tests, made with the SDK: over stdio as a program, or over HTTP inside a test.

What it says of its tools comes from a file, so that a test can change it.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

from mcp.server import MCPServer
from mcp.types import ToolAnnotations

__all__ = ["shelf"]


def shelf(said: Path) -> MCPServer:
    """A server whose descriptions are those in the file, read when it is made."""
    about: dict[str, str] = json.loads(said.read_text())
    server = MCPServer("shelf")

    @server.tool(annotations=ToolAnnotations(read_only_hint=True), description=about["look"])
    def look(where: str, times: int = 1) -> str:
        return f"{where} " * times

    @server.tool(annotations=ToolAnnotations(destructive_hint=False, idempotent_hint=True))
    def put(what: str) -> dict[str, int]:
        """Put something there."""
        return {what: 1}

    @server.tool()
    def burn(what: str) -> str:
        """Burn it."""
        raise RuntimeError(f"{what} does not burn")

    @server.tool()
    def die() -> str:
        """End the server."""
        os._exit(3)

    if "new" in about:

        @server.tool(annotations=ToolAnnotations(read_only_hint=True), description=about["new"])
        def fresh() -> str:
            return "fresh"

    return server


if __name__ == "__main__":
    shelf(Path(sys.argv[1])).run("stdio")
