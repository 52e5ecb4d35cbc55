"""Models: providers behind one port, and which of them answers a turn.

Here stands what the provider of another vendor is made of; what routes, limits and meters turns is our own affair.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from partsong.models.core.arguments import tool_end
    from partsong.models.core.failure import error_class, failed
    from partsong.models.port import Effort, Provider, TurnRequest
    from partsong.models.providers.transport import explain
    from partsong.models.streaming import relay

__all__ = [
    "Effort",
    "Provider",
    "TurnRequest",
    "error_class",
    "explain",
    "failed",
    "relay",
    "tool_end",
]

_HOMES = {
    "Effort": "port",
    "Provider": "port",
    "TurnRequest": "port",
    "error_class": "core.failure",
    "explain": "providers.transport",
    "failed": "core.failure",
    "relay": "streaming",
    "tool_end": "core.arguments",
}


def __getattr__(name: str) -> object:
    """Load a name when it is first used: agents import this package, and need none of these."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
