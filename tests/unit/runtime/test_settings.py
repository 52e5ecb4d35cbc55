"""Settings from the environment: each variable, each mistake by its name."""

from __future__ import annotations

from pathlib import Path

import pytest

from partsong.contracts.errors import InvalidInput
from partsong.runtime.settings import Settings, from_env


def test_an_empty_environment_gives_the_defaults() -> None:
    assert from_env({}) == Settings()


def test_every_variable_is_read() -> None:
    found = from_env(
        {
            "PARTSONG_NATS_URL": "nats://n:1",
            "PARTSONG_PREFIX": "acme.songs",
            "PARTSONG_DATA": "/data",
            "PARTSONG_WORKER": "runner-1",
            "PARTSONG_SYNC_INTERVAL": "0.1",
            "PARTSONG_REPLICAS": "3",
            "PARTSONG_LOAD": "shop.steps, shop.more,",
            "PARTSONG_TOOLS": "calculator",
            "PARTSONG_MCP": "files=npx -y srv a,b; web=https://host/mcp;",
            "PARTSONG_CONCURRENCY": "7",
            "PARTSONG_HTTP_HOST": "0.0.0.0",
            "PARTSONG_HTTP_PORT": "0",
            "PARTSONG_DATABASE_URL": "postgresql://db",
            "PARTSONG_SNAPSHOTS": "file:/cache",
            "OTEL_EXPORTER_OTLP_ENDPOINT": "http://otel:4318",
            "PARTSONG_DRAIN": "2.5",
            "PARTSONG_WHEN_SILENT": "end",
            "PARTSONG_LOG_LEVEL": "DEBUG",
            "PARTSONG_LOG_FORMAT": "json",
        }
    )
    assert found == Settings(
        nats_url="nats://n:1",
        prefix="acme.songs",
        data_dir=Path("/data"),
        sync_interval=0.1,
        replicas=3,
        worker="runner-1",
        loads=("shop.steps", "shop.more"),
        tools=("calculator",),
        mcp=("files=npx -y srv a,b", "web=https://host/mcp"),
        concurrency=7,
        http_host="0.0.0.0",
        http_port=0,
        database_url="postgresql://db",
        snapshots="file:/cache",
        otlp_endpoint="http://otel:4318",
        drain=2.5,
        when_silent="end",
        log_level="DEBUG",
        log_format="json",
    )


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("PARTSONG_PREFIX", "a b"),
        ("PARTSONG_PREFIX", "a..b"),
        ("PARTSONG_WORKER", "a.b"),
        ("PARTSONG_SYNC_INTERVAL", "often"),
        ("PARTSONG_WORKER", "a~b"),
        ("PARTSONG_CONCURRENCY", "0"),
        ("PARTSONG_CONCURRENCY", "many"),
        ("PARTSONG_CONCURRENCY", "2.5"),
        ("PARTSONG_HTTP_PORT", "65536"),
        ("PARTSONG_HTTP_PORT", "-1"),
        ("PARTSONG_DRAIN", "-1"),
        ("PARTSONG_WHEN_SILENT", "die"),
        ("PARTSONG_DRAIN", "nan"),
        ("PARTSONG_LOG_LEVEL", "loud"),
        ("PARTSONG_LOG_FORMAT", "xml"),
    ],
)
def test_a_mistake_names_its_variable(variable: str, value: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        from_env({variable: value})
    assert refused.value.problem.where == variable
