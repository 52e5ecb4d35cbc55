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
    "partsong.models": None,
    "partsong.plugins": None,
    "partsong.plugins.redaction": None,
    "partsong.tools": None,
    "partsong.tools.builtin.calculator": None,
    "partsong.tools.builtin.code": None,
    "partsong.tools.builtin.fetch_page": None,
    "partsong.tools.mcp": None,
    "partsong.tools.builtin.memory": None,
    "partsong.tools.builtin.read_file": None,
    "partsong.tools.builtin.sql": None,
    "partsong.testing": None,
    "partsong.testing.fake_llm": None,
    "partsong.contracts.talk.chunks": None,
    "partsong.contracts.errors": None,
    "partsong.contracts.events": None,
    "partsong.contracts.graph": None,
    "partsong.contracts.talk.messages": None,
}
