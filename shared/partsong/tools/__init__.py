"""Tools: what agents and graphs may call, and how to write one."""

from partsong.contracts.graph.depends import Depends
from partsong.contracts.graph.function_results import NodeContext
from partsong.tools.registry import ToolRegistry
from partsong.tools.tool import Tool, tool

__all__ = ["Depends", "NodeContext", "Tool", "ToolRegistry", "tool"]
