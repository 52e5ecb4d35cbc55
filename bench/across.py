"""Services as processes of their own, for the rows that measure across processes."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from partsong.cli.platform import Platform
from partsong.client import Client

__all__ = ["PLAYERS", "players"]

PLAYERS = ("graph-engine", "tool-runner")
"""What a run of function nodes needs."""


@asynccontextmanager
async def players(
    folder: Path,
    *,
    fast: bool = False,
    roles: Sequence[str] = PLAYERS,
    env: Mapping[str, str] | None = None,
) -> AsyncIterator[tuple[Platform, Client]]:
    """A platform with a data directory of its own, and a client of it."""
    given = {**os.environ, "PARTSONG_LOAD": "bench.work", **(env or {})}
    platform = Platform(folder, env=given, fast=fast, roles=roles)
    await platform.start()
    try:
        async with Client(platform.nats_url) as client:
            yield platform, client
    finally:
        await platform.stop()
