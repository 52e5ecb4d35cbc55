"""What a service process is told, from the environment; the same names for every service."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from partsong.contracts.durations import parse_duration
from partsong.contracts.errors import InvalidInput
from partsong.contracts.ids import check_id
from partsong.contracts.wire.subjects import Subjects

__all__ = ["Settings", "from_env"]


@dataclass(frozen=True, slots=True)
class Settings:
    """All settings; a service reads those that concern it."""

    nats_url: str = "nats://127.0.0.1:4222"
    """PARTSONG_NATS_URL"""
    prefix: str = "partsong"
    """PARTSONG_PREFIX: first token of every subject."""
    data_dir: Path = Path(".partsong")
    """PARTSONG_DATA: where projections keep their files."""
    sync_interval: float = 0.0
    """PARTSONG_SYNC_INTERVAL: seconds, or text like `100ms`, after which the NATS server syncs what it stored; 0 if it syncs
    every append."""
    replicas: int = 1
    """PARTSONG_REPLICAS: servers of the NATS cluster that each hold what is stored: 1, 3 or 5; for new streams."""
    worker: str = ""
    """PARTSONG_WORKER: a name of this process's own that is stable over restarts; default: role, host, process."""
    loads: tuple[str, ...] = ()
    """PARTSONG_LOAD: modules with functions and tools, separated by commas."""
    tools: tuple[str, ...] = ()
    """PARTSONG_TOOLS: tools to load, by entry point or `module:name`, separated by commas."""
    plugins: tuple[str, ...] = ()
    """PARTSONG_PLUGINS: plugins of all runs, by entry point or `module:Class`, separated by commas."""
    mcp: tuple[str, ...] = ()
    """PARTSONG_MCP: MCP servers as NAME=URL or NAME=COMMAND, separated by semicolons."""
    concurrency: int = 64
    """PARTSONG_CONCURRENCY: calls a worker makes at once."""
    http_host: str = "127.0.0.1"
    """PARTSONG_HTTP_HOST"""
    http_port: int = 8420
    """PARTSONG_HTTP_PORT: 0 takes a free one."""
    database_url: str = ""
    """PARTSONG_DATABASE_URL: of the approval service; default: SQLite in the data directory."""
    snapshots: str = "kv:"
    """PARTSONG_SNAPSHOTS: where folds are cached: kv:, file:/path, redis://…, memory: or none:."""
    otlp_endpoint: str = ""
    """OTEL_EXPORTER_OTLP_ENDPOINT: where spans go; empty: nowhere, at no cost."""
    drain: float = 10.0
    """PARTSONG_DRAIN: seconds, or text like `2m`, that running calls have when the service is told to stop."""
    when_silent: str = "stay"
    """PARTSONG_WHEN_SILENT: stay or end: what a process does that was stopped or does not answer for too long."""
    log_level: str = "INFO"
    """PARTSONG_LOG_LEVEL"""
    log_format: str = "text"
    """PARTSONG_LOG_FORMAT: text or json."""

    @property
    def subjects(self) -> Subjects:
        """The subjects under the prefix."""
        return Subjects(self.prefix)


def from_env(env: Mapping[str, str]) -> Settings:
    """The settings that environment variables name.

    Raises:
        InvalidInput: `settings.invalid` or `duration.invalid`, naming the variable.
    """
    default = Settings()
    prefix = env.get("PARTSONG_PREFIX", default.prefix)
    for token in prefix.split("."):
        check_id("PARTSONG_PREFIX", token)
    if worker := env.get("PARTSONG_WORKER", ""):
        check_id("PARTSONG_WORKER", worker.replace("~", "*"))  # ~ ends the name in a worker's id
    return Settings(
        nats_url=env.get("PARTSONG_NATS_URL", default.nats_url),
        prefix=prefix,
        data_dir=Path(env.get("PARTSONG_DATA", str(default.data_dir))),
        sync_interval=_duration(env, "PARTSONG_SYNC_INTERVAL", default.sync_interval),
        replicas=int(_choice(env, "PARTSONG_REPLICAS", "1", ("1", "3", "5"))),
        worker=worker,
        loads=_list(env.get("PARTSONG_LOAD", "")),
        tools=_list(env.get("PARTSONG_TOOLS", "")),
        plugins=_list(env.get("PARTSONG_PLUGINS", "")),
        mcp=_list(env.get("PARTSONG_MCP", ""), ";"),
        concurrency=_whole(env, "PARTSONG_CONCURRENCY", default.concurrency, least=1),
        http_host=env.get("PARTSONG_HTTP_HOST", default.http_host),
        http_port=_whole(env, "PARTSONG_HTTP_PORT", default.http_port, least=0, most=65535),
        database_url=env.get("PARTSONG_DATABASE_URL", ""),
        snapshots=env.get("PARTSONG_SNAPSHOTS", "") or default.snapshots,
        otlp_endpoint=env.get("OTEL_EXPORTER_OTLP_ENDPOINT", ""),
        drain=_duration(env, "PARTSONG_DRAIN", default.drain),
        when_silent=_choice(env, "PARTSONG_WHEN_SILENT", "stay", ("stay", "end")),
        log_level=_choice(env, "PARTSONG_LOG_LEVEL", "INFO", ("DEBUG", "INFO", "WARNING", "ERROR")),
        log_format=_choice(env, "PARTSONG_LOG_FORMAT", "text", ("text", "json")),
    )


def _list(text: str, separator: str = ",") -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(separator) if part.strip())


def _whole(
    env: Mapping[str, str], name: str, default: int, *, least: int, most: float = math.inf
) -> int:
    text = env.get(name, "")
    if not text:
        return default
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not least <= value <= most or math.isinf(value):
        limit = f" and at most {most:g}" if most != math.inf else ""
        raise _invalid(env, name, f"a number of at least {least:g}{limit}")
    if not value.is_integer():
        raise _invalid(env, name, "a whole number")
    return int(value)


def _duration(env: Mapping[str, str], name: str, default: float) -> float:
    text = env.get(name, "")
    return parse_duration(text, name, zero=True) if text else default


def _choice(env: Mapping[str, str], name: str, default: str, allowed: tuple[str, ...]) -> str:
    value = env.get(name, default)
    if value not in allowed:
        raise _invalid(env, name, f"one of {', '.join(allowed)}")
    return value


def _invalid(env: Mapping[str, str], name: str, wanted: str) -> InvalidInput:
    return InvalidInput(
        "settings.invalid",
        f"{name} is {env[name]!r}, not {wanted}",
        where=name,
        fix=f"unset {name} or correct it",
    )
