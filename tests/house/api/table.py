"""What is public: the modules whose names the documents teach. A new public module is a new line here."""

from __future__ import annotations

from collections.abc import Mapping

__all__ = ["PUBLIC", "Table"]

Table = Mapping[str, tuple[str, ...] | None]
"""Public modules; None stands for all of a module's `__all__`, a tuple for those names only."""

PUBLIC: Table = {
    "partsong.workflow": None,
    "partsong.agents": None,
    "partsong.teams": None,
    "partsong.client": None,
    "partsong.plugins": None,
    "partsong.plugins.redaction": None,
    "partsong.tools": None,
    "partsong.tools.calculator": None,
    "partsong.tools.code": None,
    "partsong.tools.fetch_page": None,
    "partsong.tools.mcp": None,
    "partsong.tools.memory": None,
    "partsong.tools.read_file": None,
    "partsong.tools.sql": None,
    "partsong.testing": None,
    "partsong.testing.fake_llm": None,
    "partsong.contracts.chunks": None,
    "partsong.contracts.errors": None,
    "partsong.contracts.events": None,
    "partsong.contracts.graph": None,
    "partsong.contracts.messages": None,
    # What docs/how-to/add-a-provider.md needs of the gateway; the rest of these modules is its own business.
    "partsong.agent_gateway.core.arguments": ("tool_end",),
    "partsong.agent_gateway.core.failure": ("error_class", "failed"),
    "partsong.agent_gateway.providers.transport": ("explain",),
    "partsong.agent_gateway.streaming": ("relay",),
}
