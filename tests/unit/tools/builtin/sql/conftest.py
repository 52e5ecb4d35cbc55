"""Databases that `query_database` asks."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path

import asyncpg  # type: ignore[import-untyped]  # it ships no types
import pytest
import pytest_asyncio

from tests.support.postgres import a_database, postgres

__all__ = ["postgres"]

SHOP = """
CREATE TABLE users (id INTEGER PRIMARY KEY, name TEXT, password TEXT);
INSERT INTO users VALUES (1, 'ada', 'hunter2'), (2, 'bob', 'correct horse');
CREATE TABLE orders (id INTEGER PRIMARY KEY, "user" INTEGER, amount NUMERIC, at TIMESTAMP);
INSERT INTO orders VALUES (1, 1, 10.5, '2026-01-02'), (2, 1, 20, '2026-02-03'), (3, 2, 7, '2026-02-04');
CREATE VIEW people AS SELECT * FROM users;
"""


@pytest.fixture
def sqlite_shop(tmp_path: Path) -> str:
    """A SQLite file with some rows."""
    path = tmp_path / "a shop?.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(SHOP)
    return f"sqlite:///{path}"


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def postgres_shop(postgres: str) -> AsyncIterator[str]:
    """A PostgreSQL database with some rows; the tool connects as its owner, so that only we stand in the way."""
    async with a_database(postgres) as url:
        connection = await asyncpg.connect(url)
        try:
            await connection.execute(SHOP)
        finally:
            await connection.close()
        yield url


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def shop(request: pytest.FixtureRequest) -> str:
    """The URL of a database of each kind."""
    url: str = request.getfixturevalue(f"{request.param}_shop")
    return url
