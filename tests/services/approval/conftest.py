"""Fixtures of the approval service: logs, databases, the service around them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from partsong.contracts.wire.subjects import Subjects
from partsong.log.memory import MemoryLog
from partsong.log.port import Log
from partsong.testing.nats import Bus
from tests.services.approval.support import Office, Scribe, an_office
from tests.support.postgres import a_database, postgres

__all__ = ["postgres"]


@pytest.fixture
async def postgres_database(postgres: str) -> AsyncIterator[str]:
    """A fresh database on a real PostgreSQL server."""
    async with a_database(postgres) as url:
        yield url


@pytest.fixture
def sqlite_database(tmp_path: Path) -> str:
    """A SQLite file that is not there yet, in a folder that is not there yet."""
    return f"sqlite:///{tmp_path}/data/approval.db"


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def database(request: pytest.FixtureRequest) -> str:
    """The URL of an empty database of each kind."""
    url: str = request.getfixturevalue(f"{request.param}_database")
    return url


@pytest.fixture
async def memory_log() -> AsyncIterator[Log]:
    """A log in memory."""
    log = MemoryLog()
    yield log
    await log.close()


@pytest.fixture
async def jetstream_log(bus: Bus) -> AsyncIterator[Log]:
    """A log in a real NATS server."""
    log = bus.log()
    yield log
    await log.close()


@pytest.fixture(params=["memory", "jetstream"])
def log(request: pytest.FixtureRequest) -> Log:
    """An empty log of each kind."""
    found: Log = request.getfixturevalue(f"{request.param}_log")
    return found


@pytest.fixture
def scribe(log: Log, subjects: Subjects) -> Scribe:
    """Writes into the log."""
    return Scribe(log, subjects)


@pytest.fixture
async def office(log: Log, subjects: Subjects, sqlite_database: str) -> AsyncIterator[Office]:
    """The service on the log, with SQLite."""
    async with an_office(log, subjects, sqlite_database) as office:
        yield office
