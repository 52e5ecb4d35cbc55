"""Queries to PostgreSQL: read-only, one statement of the extended protocol, cancelled at the deadline.

Rows come as JSON text that the server has measured, so one large value never reaches this process.
"""

from __future__ import annotations

import asyncio
import json

import asyncpg  # type: ignore[import-untyped]  # it ships no types
from pydantic import JsonValue
from sqlglot import exp

from partsong.contracts.durations import format_duration
from partsong.contracts.errors import InvalidInput, PartsongError, Unavailable
from partsong.tools.builtin.sql.guard import Relation, named, redacted, rendered
from partsong.tools.builtin.sql.limits import Limits
from partsong.tools.builtin.sql.result import Result, Row, collected, plain, row_too_large

__all__ = ["ask"]

_CLOSING = 5.0
_NAMES = 4096
"""Characters that the names of the columns may take in a row's JSON, besides the values that are counted."""
_RELATIONS = """
SELECT asked.name AS asked, space.nspname AS schema, class.relname AS name,
       attribute.attname AS column, format_type(attribute.atttypid, attribute.atttypmod) AS type
FROM unnest($1::text[]) AS asked(name)
JOIN pg_catalog.pg_class AS class ON class.oid = to_regclass(asked.name)
JOIN pg_catalog.pg_namespace AS space ON space.oid = class.relnamespace
JOIN pg_catalog.pg_attribute AS attribute ON attribute.attrelid = class.oid
WHERE attribute.attnum > 0 AND NOT attribute.attisdropped
ORDER BY asked.name, attribute.attnum
"""
_MEASURED = """
SELECT length(line) AS length, CASE WHEN length(line) <= {most} THEN line END AS line
FROM (SELECT row_to_json(answer)::text AS line FROM ({query}) AS answer LIMIT {limit}) AS lines
"""


async def ask(url: str, tree: exp.Query, limits: Limits) -> Result:
    """Ask a statement that has been checked.

    Raises:
        InvalidInput: `sql.failed`, `sql.timeout`, `sql.row_too_large`, `sql.table`.
        Unavailable: `sql.unreachable`.
    """
    connection: asyncpg.Connection | None = None
    try:
        async with asyncio.timeout(limits.seconds):
            connection = await _connected(url, limits)
            async with connection.transaction(readonly=True):
                return await _asked(connection, tree, limits)
    except TimeoutError:
        raise _late(limits) from None
    except asyncpg.QueryCanceledError:
        raise _late(limits) from None
    except (asyncpg.PostgresError, asyncpg.InterfaceError) as error:
        raise _failed(error) from None
    finally:
        if connection is not None:
            await _closed(connection)


async def _connected(url: str, limits: Limits) -> asyncpg.Connection:
    try:
        return await asyncpg.connect(
            url,
            statement_cache_size=0,  # a pooler between us may not keep statements
            server_settings={
                "application_name": "partsong query_database",
                "default_transaction_read_only": "on",
                "standard_conforming_strings": "on",
                "statement_timeout": str(int(limits.seconds * 1000) + 1000),
            },
        )
    except (OSError, ValueError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
        raise Unavailable(
            "sql.unreachable",
            f"no connection to PostgreSQL: {type(error).__name__}: {error}",
            where="PARTSONG_QUERY_DATABASE_URL",
            fix="start the server, or correct postgresql://user:password@host:port/database",
            retryable=isinstance(error, OSError),
        ) from None


async def _asked(connection: asyncpg.Connection, tree: exp.Query, limits: Limits) -> Result:
    query = rendered(await _veiled(connection, tree, limits))
    statement = await connection.prepare(query)
    columns = [attribute.name for attribute in statement.get_attributes()]
    lines = await connection.fetch(
        _MEASURED.format(query=query, most=2 * limits.bytes + _NAMES, limit=limits.rows + 1)
    )
    rows: list[Row] = []
    for number, line in enumerate(lines, start=1):
        if line["line"] is None:
            raise row_too_large(number, line["length"], limits)
        rows.append(_row(line["line"]))
    return collected(columns, rows, limits)


async def _veiled(connection: asyncpg.Connection, tree: exp.Query, limits: Limits) -> exp.Query:
    """The tree without the system's tables and with hidden columns as NULL, as the server resolves names."""
    relations: dict[str, Relation] = {}
    columns: dict[str, dict[str, str]] = {}
    for row in await connection.fetch(_RELATIONS, named(tree)):
        columns.setdefault(row["asked"], {})[row["column"]] = row["type"]
        relations[row["asked"]] = Relation(row["schema"], row["name"], columns[row["asked"]])
    for asked, relation in relations.items():
        if relation.schema in {"pg_catalog", "pg_toast"}:
            raise InvalidInput(
                "sql.table",
                f"{asked} belongs to the database itself",
                where="sql",
                fix="tables are listed in information_schema.tables",
            )
    hidden = {asked: limits.hidden(found) for asked, found in columns.items()}
    return redacted(tree, relations, hidden)


def _row(line: str) -> list[JsonValue]:
    """The values of one JSON object in order; two columns may have the same name."""

    def pairs(found: list[tuple[str, JsonValue]]) -> _Pairs:
        return _Pairs(found)

    top = json.loads(line, object_pairs_hook=pairs)
    return [_settled(value) for _, value in top.pairs]


class _Pairs:
    """An object whose keys may repeat."""

    def __init__(self, pairs: list[tuple[str, JsonValue]]) -> None:
        self.pairs = pairs


def _settled(value: object) -> JsonValue:
    match value:
        case _Pairs():
            return {key: _settled(inner) for key, inner in value.pairs}
        case list():
            return [_settled(inner) for inner in value]
        case _:
            return plain(value)


async def _closed(connection: asyncpg.Connection) -> None:
    """Close, after the cancel request that an interrupted query has sent."""
    try:
        await connection.close(timeout=_CLOSING)
    except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError):
        connection.terminate()


def _failed(error: Exception) -> PartsongError:
    if isinstance(error, asyncpg.PostgresConnectionError | asyncpg.InterfaceError):
        return Unavailable("sql.unreachable", f"PostgreSQL went away: {error}", retryable=True)
    return InvalidInput(
        "sql.failed",
        f"PostgreSQL says: {error}",
        where="sql",
        fix="correct the statement; information_schema.columns shows tables and their columns",
    )


def _late(limits: Limits) -> InvalidInput:
    return InvalidInput(
        "sql.timeout",
        f"the query took longer than {format_duration(limits.seconds)} and was cancelled",
        where="sql",
        fix="ask for less: fewer rows, a condition on an indexed column, an end to the recursion",
    )
