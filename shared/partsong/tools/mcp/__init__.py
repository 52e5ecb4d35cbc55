"""Tools of MCP servers, as tools of a registry: named with the server's name, pinned to what they said of themselves."""

from partsong.tools.mcp.pins import Pins
from partsong.tools.mcp.place import Place, place_of
from partsong.tools.mcp.servers import McpServers, Standing

__all__ = ["McpServers", "Pins", "Place", "Standing", "place_of"]
