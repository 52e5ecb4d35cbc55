"""What each service that `partsong up` starts is told of the environment: no service has the keys of others."""

from __future__ import annotations

import re
from collections.abc import Mapping

from partsong.contracts.services import AGENT_GATEWAY, APPROVAL, TOOL_RUNNER

__all__ = ["environment_of"]

_SECRET = re.compile(r"KEY|TOKEN|SECRET|PASSWORD|PASSWD|CREDENTIAL|_DSN$", re.IGNORECASE)
_FREE = frozenset({AGENT_GATEWAY, TOOL_RUNNER})
"""The gateway's catalogue may name any variable as a model's key; the tool-runner runs the user's own code."""
_OWN = {
    "PARTSONG_DATABASE_URL": APPROVAL,
    "PGPASSWORD": APPROVAL,
    "PARTSONG_MCP": TOOL_RUNNER,
    "PARTSONG_QUERY_": TOOL_RUNNER,
    "PARTSONG_SEARCH_": TOOL_RUNNER,
    "PARTSONG_WEBHOOK_": TOOL_RUNNER,
}
"""Whose a variable is, by how its name begins."""


def environment_of(role: str, env: Mapping[str, str]) -> dict[str, str]:
    """The environment of a service: engine and approval service work without anybody's keys but those of Partsong."""
    return {name: value for name, value in env.items() if _is_for(role, name)}


def _is_for(role: str, name: str) -> bool:
    owner = next((who for begins, who in _OWN.items() if name.startswith(begins)), None)
    if owner is not None:
        return owner == role
    return role in _FREE or name.startswith(("PARTSONG_", "OTEL_")) or not _SECRET.search(name)
