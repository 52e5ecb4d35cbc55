"""Connections to the projection's database, with what SQLite needs to be shared by processes.

SQLite runs in WAL mode, so that readers and the one writer do not wait for each other. Transactions begin when we say so
(the driver would begin them at the first write, too late to keep what was read before), and a writing one takes the
write lock at once: two that read first and then both want to write could only give up.
"""

from __future__ import annotations

import asyncio
import sqlite3
import time
from contextlib import closing
from pathlib import Path
from typing import Protocol

from sqlalchemy import Connection, event
from sqlalchemy.engine import URL, make_url
from sqlalchemy.engine.interfaces import DBAPICursor
from sqlalchemy.exc import ArgumentError, DBAPIError, SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from partsong.contracts.errors import InvalidInput, Unavailable
from partsong.runtime import clock

__all__ = ["connect", "faults", "into_wal", "is_broken", "put_aside", "writing"]

_DRIVERS = {
    "sqlite": "sqlite+aiosqlite",
    "postgres": "postgresql+asyncpg",
    "postgresql": "postgresql+asyncpg",
}
_BROKEN = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_READONLY_DBMOVED}
_PAUSE = 0.01
_BUSY = 10.0
"""Seconds to wait for another process's transaction, or for a server to answer."""


class _RawConnection(Protocol):
    """What is used of a driver's connection here."""

    isolation_level: str | None

    def cursor(self) -> DBAPICursor: ...

    def close(self) -> None: ...


def connect(url: str, data_dir: Path) -> AsyncEngine:
    """An engine for `sqlite:///file`, `postgresql://…`, or, for an empty URL, a file in the data directory.

    Raises:
        InvalidInput: `settings.invalid`; it is neither.
        Unavailable: `approval.no_driver` names the missing extra.
    """
    found = (
        _parse(url)
        if url
        else URL.create(_DRIVERS["sqlite"], database=str(data_dir / "approval.db"))
    )
    try:
        if found.get_backend_name() == "sqlite":
            return _sqlite(found)
        return create_async_engine(
            found, pool_pre_ping=True, connect_args={"timeout": _BUSY, "command_timeout": _BUSY}
        )
    except ModuleNotFoundError as error:
        raise Unavailable(
            "approval.no_driver",
            f"the driver for {found.drivername} is not installed: {error.name}",
            where="PARTSONG_DATABASE_URL",
            fix="pip install 'partsong[approval,postgres]'",
        ) from error


def writing(engine: AsyncEngine) -> AsyncEngine:
    """The same engine for transactions that will write."""
    return engine.execution_options(writing=True)


def faults(engine: AsyncEngine) -> tuple[type[Exception], ...]:
    """What goes wrong with a database, as exceptions; drivers raise some of their own while they connect."""
    if engine.dialect.name != "postgresql":
        return (SQLAlchemyError, sqlite3.Error, OSError)
    import asyncpg  # type: ignore[import-untyped]  # it ships no types

    return (SQLAlchemyError, OSError, asyncpg.PostgresError, asyncpg.InterfaceError)


def is_broken(error: Exception) -> bool:
    """Whether a file that was a SQLite database is none any more, or has been taken away under our hands."""
    code = _code(error)
    return code in _BROKEN or code & 0xFF in _BROKEN


def _code(error: Exception) -> int:
    """SQLite's own code of an error, which comes wrapped or, while a connection is made, as the driver raised it."""
    cause = error.orig if isinstance(error, DBAPIError) else error
    return int(getattr(cause, "sqlite_errorcode", 0))


async def into_wal(engine: AsyncEngine) -> None:
    """Switch a SQLite file to WAL, for good; several processes may do so at the same time.

    Not on a connection of the engine: SQLite does not wait for a lock there, and a connection that was refused once goes
    on being refused (seen with 3.40.1, for ten seconds), so each try takes a new one.
    """
    name = engine.url.database
    if engine.url.get_backend_name() == "sqlite" and name and name != ":memory:":
        await asyncio.to_thread(_into_wal, name)


def _into_wal(name: str) -> None:
    until = clock.monotonic() + _BUSY
    while True:
        with closing(sqlite3.connect(name, timeout=_BUSY)) as connection:
            try:
                connection.execute("PRAGMA journal_mode=WAL")
            except sqlite3.Error as error:
                if _code(error) & 0xFF != sqlite3.SQLITE_BUSY or clock.monotonic() > until:
                    raise
            else:
                return
        time.sleep(_PAUSE)


async def put_aside(engine: AsyncEngine) -> Path | None:
    """Move a SQLite file out of the way, so that the next connection makes a new one; None if it is no file."""
    name = engine.url.database
    await engine.dispose()
    if engine.url.get_backend_name() != "sqlite" or not name or name == ":memory:":
        return None
    return await asyncio.to_thread(_put_aside, name)


def _put_aside(name: str) -> Path:
    aside = Path(f"{name}.damaged")
    for end in ("", "-wal", "-shm"):
        part = Path(f"{name}{end}")
        if part.exists():
            part.replace(f"{aside}{end}")
    return aside


def _parse(url: str) -> URL:
    try:
        found = make_url(url)
    except ArgumentError:
        found = None
    driver = _DRIVERS.get(found.drivername.partition("+")[0]) if found is not None else None
    if found is None or driver is None or not found.database:
        raise InvalidInput(
            "settings.invalid",
            "PARTSONG_DATABASE_URL is not the URL of a SQLite file or a PostgreSQL database",
            where="PARTSONG_DATABASE_URL",
            fix="write sqlite:////var/lib/partsong/approval.db or postgresql://user@host/database",
        )
    return found.set(drivername=driver)


def _run(raw: _RawConnection, command: str) -> None:
    cursor = raw.cursor()
    cursor.execute(command)
    cursor.close()


def _sqlite(url: URL) -> AsyncEngine:
    Path(url.database or "").parent.mkdir(parents=True, exist_ok=True)
    engine = create_async_engine(url, connect_args={"timeout": _BUSY})

    @event.listens_for(engine.sync_engine, "connect")
    def _connected(raw: _RawConnection, _record: object) -> None:
        raw.isolation_level = None
        try:
            _run(raw, "PRAGMA synchronous=NORMAL")
        except Exception:
            raw.close()  # the pool has not got it yet, and nobody else would
            raise

    @event.listens_for(engine.sync_engine, "begin")
    def _begun(connection: Connection) -> None:
        now = connection.get_execution_options().get("writing", False)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if now else "BEGIN")

    return engine
