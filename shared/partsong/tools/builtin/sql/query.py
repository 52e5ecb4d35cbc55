"""The tool: which database is asked, and through which walls."""

from __future__ import annotations

import os
import re
from collections.abc import Coroutine
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, TypeAlias

from pydantic import Field, JsonValue

from partsong.contracts.errors import InvalidInput, Unavailable
from partsong.tools.builtin.sql.functions import Dialect
from partsong.tools.builtin.sql.limits import Limits
from partsong.tools.builtin.sql.result import Result
from partsong.tools.tool import Tool, tool

__all__ = ["URL_SETTING", "DatabaseTool", "Sql", "database_tool", "query_database"]

URL_SETTING = "PARTSONG_QUERY_DATABASE_URL"
"""The database that models may ask; never the one a service keeps its own data in."""

Sql: TypeAlias = Annotated[
    str,
    Field(
        description="One SELECT statement.",
        examples=["SELECT status, count(*) FROM orders GROUP BY status"],
    ),
]

DatabaseTool: TypeAlias = Tool[[Sql], Coroutine[object, object, dict[str, JsonValue]]]

_MARGIN = 10.0
"""Seconds a call has beyond the query's own time, for connecting and for leaving in good order."""


def database_tool(
    url: str | None = None,
    *,
    name: str = "query_database",
    about: str = "",
    limits: Limits | None = None,
) -> DatabaseTool:
    """A tool that asks one database: `sqlite:///shop.db` or `postgresql://reader@host/shop`.

    Without a URL the setting `PARTSONG_QUERY_DATABASE_URL` is read at each call. `about` tells the model what is in
    there. Give the tool a role that can only read: that is the wall no statement climbs over.

    Raises:
        InvalidInput: `sql.bad_url`.
    """
    bounds = limits or Limits()
    if url is not None:
        _kind(url)

    async def query_database(sql: Sql) -> dict[str, JsonValue]:
        """Ask the database one read-only SQL question: a SELECT, also with WITH or UNION.

        PostgreSQL lists its tables in information_schema.columns, SQLite in sqlite_schema.
        Columns with secrets read as NULL. Long results are cut: aggregate, or ask for what you need.
        """
        return (await _answer(url or _from_environment(), sql, bounds)).as_json()

    made = tool(name=name, side_effect="read", idempotent=True, timeout=bounds.seconds + _MARGIN)(
        query_database
    )
    return replace(made, description=f"{made.description}\n{about}") if about else made


async def _answer(url: str, sql: str, limits: Limits) -> Result:
    kind = _kind(url)
    if find_spec("sqlglot") is None:
        raise _missing("sqlglot", "sql")
    from partsong.tools.builtin.sql import guard

    tree = guard.checked(sql, kind, limits)
    if kind == "sqlite":
        from partsong.tools.builtin.sql import sqlite

        return await sqlite.ask(Path(url.removeprefix("sqlite:///")), sql, limits)
    if find_spec("asyncpg") is None:
        raise _missing("asyncpg", "postgres")
    from partsong.tools.builtin.sql import postgres

    return await postgres.ask(re.sub(r"^postgres(ql)?(\+\w+)?:", "postgresql:", url), tree, limits)


def _from_environment() -> str:
    if url := os.environ.get(URL_SETTING, ""):
        return url
    raise InvalidInput(
        "sql.no_database",
        "no database to ask has been set",
        where=URL_SETTING,
        fix=f"set {URL_SETTING}=sqlite:///shop.db or postgresql://reader@host/shop for the tool-runner",
        fault="platform",
    )


def _kind(url: str) -> Dialect:
    if re.match(r"postgres(ql)?(\+\w+)?://", url):
        return "postgres"
    if url.removeprefix("sqlite:///") not in {url, "", ":memory:"}:
        return "sqlite"
    raise InvalidInput(
        "sql.bad_url",
        f"{url.partition(':')[0]}: is no kind of database that can be asked",
        where=URL_SETTING,
        fix="give sqlite:///relative.db, sqlite:////absolute.db or postgresql://user@host/database",
        fault="platform",
    )


def _missing(package: str, extra: str) -> Unavailable:
    return Unavailable(
        "sql.not_installed",
        f"{package} is not installed",
        where=extra,
        fix=f"pip install 'partsong[{extra}]'",
    )


query_database = database_tool()
