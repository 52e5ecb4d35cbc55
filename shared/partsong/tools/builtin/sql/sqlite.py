"""Queries to a SQLite file: opened read-only, each access authorized, stopped at the deadline."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from urllib.parse import quote

from partsong.contracts.durations import format_duration
from partsong.contracts.errors import InvalidInput, PartsongError, Unavailable
from partsong.runtime import clock
from partsong.tools.builtin.sql.functions import ALLOWED
from partsong.tools.builtin.sql.guard import computed_from_hidden
from partsong.tools.builtin.sql.limits import Limits
from partsong.tools.builtin.sql.result import Result, Row, collected, plain

__all__ = ["ask"]

_LONGEST_VALUE = 16 * 1024 * 1024
_GRACE = 2.0
"""Seconds after the deadline in which SQLite should have noticed it; then its thread is left behind."""
_STEPS = 1000
_BUILT_IN = "SELECT 1 FROM json_each('[]'), json_tree('[]')"
"""Connects these virtual tables before the authorizer is there, which lets no table be declared."""
_COLUMNS = """
SELECT info.name, info.hidden, made.sql FROM sqlite_schema AS made, pragma_table_xinfo(made.name) AS info
WHERE made.type = 'table' AND made.name = ?
"""
_GENERATED = frozenset({2, 3})
"""What SQLite calls a generated column in `hidden`: virtual, stored."""
_SCHEMA_TABLES = frozenset({"sqlite_master", "sqlite_schema"})


async def ask(path: Path, sql: str, limits: Limits) -> Result:
    """Ask a statement that has been checked.

    Raises:
        InvalidInput: `sql.failed`, `sql.timeout`, `sql.row_too_large`.
        Unavailable: `sql.unreachable`.
    """
    stop = threading.Event()
    try:
        async with asyncio.timeout(limits.seconds + _GRACE):
            return await asyncio.to_thread(_ask, path, sql, limits, stop)
    except TimeoutError:
        raise _late(limits) from None
    finally:
        stop.set()


def _ask(path: Path, sql: str, limits: Limits, stop: threading.Event) -> Result:
    end = clock.monotonic() + limits.seconds
    try:
        with closing(_opened(path)) as connection:
            connection.set_progress_handler(
                lambda: stop.is_set() or clock.monotonic() > end, _STEPS
            )
            connection.execute(_BUILT_IN).close()
            connection.set_authorizer(_Authorizer(limits, *_copies(connection, limits)))
            cursor = connection.execute(sql)
            columns = [column[0] for column in cursor.description or ()]
            return collected(columns, _rows(cursor), limits)
    except sqlite3.Error as error:
        if clock.monotonic() > end:
            raise _late(limits) from None
        raise _failed(path, error) from None


def _opened(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(
        f"file:{quote(str(path))}?mode=ro", uri=True, timeout=2.0, isolation_level=None
    )
    connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, _LONGEST_VALUE)
    connection.setlimit(sqlite3.SQLITE_LIMIT_ATTACHED, 0)
    connection.setlimit(sqlite3.SQLITE_LIMIT_LIKE_PATTERN_LENGTH, 200)
    return connection


def _rows(cursor: sqlite3.Cursor) -> Iterator[Row]:
    for row in cursor:
        yield [plain(value) for value in row]


def _copies(
    connection: sqlite3.Connection, limits: Limits
) -> tuple[frozenset[str], frozenset[tuple[str, str]]]:
    """Where hidden values stand under other names: tables that keep what a virtual one shows, and computed columns.

    SQLite asks the authorizer only for the names that a statement reads.
    """
    behind: set[str] = set()
    computed: set[tuple[str, str]] = set()
    for _, table, kind, *_ in connection.execute("PRAGMA main.table_list").fetchall():
        if kind == "shadow":
            behind.add(table.lower())
            continue
        columns = connection.execute(_COLUMNS, (table,)).fetchall()
        if any(hidden in _GENERATED for _, hidden, _ in columns):
            found = computed_from_hidden(columns[0][2], [name for name, *_ in columns], limits)
            computed |= {(table.lower(), name) for name in found}
    return frozenset(behind), frozenset(computed)


class _Authorizer:
    """Answers each thing a statement wants while SQLite compiles it, views and subqueries included."""

    def __init__(
        self, limits: Limits, behind: frozenset[str], computed: frozenset[tuple[str, str]]
    ) -> None:
        self._limits = limits
        self._behind = behind
        self._computed = computed

    def __call__(
        self, action: int, first: str | None, second: str | None, *_where: str | None
    ) -> int:
        match action:
            case sqlite3.SQLITE_SELECT | sqlite3.SQLITE_RECURSIVE:
                return sqlite3.SQLITE_OK
            case sqlite3.SQLITE_FUNCTION if (second or "").lower() in ALLOWED["sqlite"]:
                return sqlite3.SQLITE_OK
            case sqlite3.SQLITE_READ:
                return self._read((first or "").lower(), second or "")
            case _:
                return sqlite3.SQLITE_DENY

    def _read(self, table: str, column: str) -> int:
        if table.startswith(("sqlite_", "pragma_")) and table not in _SCHEMA_TABLES:
            return sqlite3.SQLITE_DENY
        if table in self._behind:
            return sqlite3.SQLITE_DENY
        hidden = self._limits.hides(column) or (table, column.lower()) in self._computed
        return sqlite3.SQLITE_IGNORE if hidden else sqlite3.SQLITE_OK


def _failed(path: Path, error: sqlite3.Error) -> PartsongError:
    if "unable to open" in str(error) or isinstance(error, sqlite3.NotSupportedError):
        return Unavailable(
            "sql.unreachable",
            f"{path} cannot be opened: {error}",
            where="PARTSONG_QUERY_DATABASE_URL",
            fix="name a SQLite file that is there: sqlite:///relative.db or sqlite:////absolute.db",
        )
    return InvalidInput(
        "sql.failed",
        f"SQLite says: {error}",
        where="sql",
        fix="correct the statement; SELECT name, sql FROM sqlite_schema shows the tables",
    )


def _late(limits: Limits) -> InvalidInput:
    return InvalidInput(
        "sql.timeout",
        f"the query took longer than {format_duration(limits.seconds)} and was stopped",
        where="sql",
        fix="ask for less: fewer rows, a condition on an indexed column, an end to the recursion",
    )
