"""Whose keys a service that `partsong up` starts is told."""

from __future__ import annotations

import pytest

from partsong.cli.environments import environment_of

ENV = {
    "PATH": "/bin",
    "PARTSONG_PREFIX": "p",
    "PARTSONG_SNAPSHOTS": "redis://:pw@host",
    "OTEL_EXPORTER_OTLP_HEADERS": "api-key=x",
    "ANTHROPIC_API_KEY": "a",
    "AWS_SECRET_ACCESS_KEY": "b",
    "SENTRY_DSN": "c",
    "MY_DATABASE": "d",
    "PARTSONG_DATABASE_URL": "postgresql://u:pw@host",
    "PGPASSWORD": "e",
    "PARTSONG_MCP": "files=https://:pw@host",
    "PARTSONG_MCP_TOKEN_FILES": "f",
    "PARTSONG_QUERY_DATABASE_URL": "g",
    "PARTSONG_WEBHOOK_SECRET": "h",
}
ALL = {"PATH", "PARTSONG_PREFIX", "PARTSONG_SNAPSHOTS", "OTEL_EXPORTER_OTLP_HEADERS", "MY_DATABASE"}
ANYBODYS = {"ANTHROPIC_API_KEY", "AWS_SECRET_ACCESS_KEY", "SENTRY_DSN"}
TOOLS = {"PARTSONG_MCP", "PARTSONG_MCP_TOKEN_FILES", "PARTSONG_QUERY_DATABASE_URL", "PARTSONG_WEBHOOK_SECRET"}  # fmt: skip


@pytest.mark.parametrize(
    ("role", "told"),
    [
        ("graph-engine", ALL),
        ("approval", ALL | {"PARTSONG_DATABASE_URL", "PGPASSWORD"}),
        ("agent-gateway", ALL | ANYBODYS),
        ("tool-runner", ALL | ANYBODYS | TOOLS),
    ],
)
def test_a_service_is_told_its_own_keys(role: str, told: set[str]) -> None:
    found = environment_of(role, ENV)
    assert found.keys() == told
    assert found.items() <= ENV.items()
