"""`query_database` answers questions and does nothing else, whatever it is asked, on each kind of database."""

from __future__ import annotations

import asyncio
import sqlite3
from contextlib import closing
from pathlib import Path

import asyncpg  # type: ignore[import-untyped]  # it ships no types
import pytest
from pydantic import JsonValue

from partsong.contracts.errors import InvalidInput, PartsongError, Unavailable
from partsong.tools.builtin.sql import Limits, database_tool, query_database
from partsong.tools.builtin.sql.query import URL_SETTING

ENDLESS = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n"


async def ask(url: str, sql: str, limits: Limits | None = None) -> dict[str, JsonValue]:
    return await database_tool(url, limits=limits)(sql)


async def refusal(url: str, sql: str, limits: Limits | None = None) -> str:
    with pytest.raises(PartsongError) as refused:
        await ask(url, sql, limits)
    assert refused.value.problem.fix
    return refused.value.problem.code


async def test_a_question_is_answered_in_columns_and_rows(shop: str) -> None:
    found = await ask(
        shop,
        'SELECT u.name, count(*) AS orders, sum(o.amount) AS total FROM users u JOIN orders o ON o."user" = u.id '
        "GROUP BY u.name ORDER BY total DESC",
    )
    assert found == {
        "columns": ["name", "orders", "total"],
        "rows": [["ada", 2, 30.5], ["bob", 1, 7]],
    }


async def test_with_union_windows_and_recursion_are_questions_too(shop: str) -> None:
    found = await ask(
        shop,
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 3) "
        "SELECT i, row_number() OVER (ORDER BY i DESC) AS back FROM n UNION ALL SELECT 0, 0 ORDER BY i",
    )
    assert found["rows"] == [[0, 0], [1, 3], [2, 2], [3, 1]]


async def test_columns_of_one_name_and_no_rows_are_shown(shop: str) -> None:
    assert await ask(shop, "SELECT id, id FROM users WHERE id = 2") == {
        "columns": ["id", "id"],
        "rows": [[2, 2]],
    }
    assert await ask(shop, "SELECT id, name FROM users WHERE id = 9") == {
        "columns": ["id", "name"],
        "rows": [],
    }


@pytest.mark.parametrize(
    "sql",
    [
        "DELETE FROM users",
        "INSERT INTO users VALUES (3, 'eve', 'x')",
        "UPDATE users SET name = 'eve'",
        "DROP TABLE users",
        "CREATE TABLE more (id INTEGER)",
        "WITH gone AS (DELETE FROM users RETURNING *) SELECT * FROM gone",
        "SELECT * INTO more FROM users",
        "SELECT * FROM users; DELETE FROM users",
        "SELECT 1; COMMIT; DELETE FROM users",
        "SELECT * FROM users FOR UPDATE",
        "EXPLAIN ANALYZE DELETE FROM users",
        "PRAGMA writable_schema = 1",
        "ATTACH DATABASE 'other.db' AS other",
        "VACUUM INTO 'copy.db'",
        "SET TRANSACTION READ WRITE",
        "COPY users TO PROGRAM 'cat'",
        "DO $$ BEGIN DELETE FROM users; END $$",
        "CALL cleanup()",
        "",
    ],
)
async def test_what_is_no_question_is_refused_and_changes_nothing(shop: str, sql: str) -> None:
    assert await refusal(shop, sql) in {"sql.not_a_query", "sql.statements", "sql.syntax"}
    assert (await ask(shop, "SELECT count(*) FROM users"))["rows"] == [[2]]


@pytest.mark.parametrize(
    "call",
    [
        "pg_sleep(60)",
        "pg_catalog.pg_sleep(60)",
        "set_config('statement_timeout', '0', false)",
        "pg_read_file('/etc/passwd')",
        "lo_import('/etc/passwd')",
        "query_to_xml('DELETE FROM users', true, true, '')",
        "nextval('users_id_seq')",
        "pg_terminate_backend(1)",
        "current_user",
        "repeat('x', 1000000000)",
        "load_extension('evil')",
        "readfile('/etc/passwd')",
        "randomblob(1000000000)",
        "zeroblob(1000000000)",
        "(SELECT max(i) FROM generate_series(1, 9) AS i WHERE pg_sleep(60) IS NULL)",
    ],
)
async def test_functions_that_do_more_than_compute_are_not_called(shop: str, call: str) -> None:
    # SQLite knows no current_user: to it that is a column, and there is none
    assert await refusal(shop, f"SELECT {call}") in {"sql.function", "sql.failed"}


@pytest.mark.parametrize(
    "table",
    [
        "pg_stats",
        "pg_catalog.pg_authid",
        "information_schema.user_mapping_options",
        "sqlite_stat1",
        "sqlite_dbpage",
        "pragma_database_list",
    ],
)
async def test_the_databases_own_tables_are_not_read(shop: str, table: str) -> None:
    assert await refusal(shop, f"SELECT * FROM {table}") == "sql.table"


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT * FROM users",
        "SELECT * FROM people",
        "SELECT password AS harmless FROM users",
        "SELECT upper(password) FROM users",
        "SELECT harmless FROM (SELECT password AS harmless FROM users) AS inside",
        "SELECT * FROM users AS u",
        "WITH mine(a, b, c) AS (SELECT * FROM users) SELECT c FROM mine",
        "SELECT 0, '', 'x' UNION ALL SELECT * FROM users",
        "SELECT max(password) FROM users",
        "SELECT coalesce(password, name) FROM users WHERE password IS NOT NULL",
    ],
)
async def test_columns_with_secrets_read_as_null_whatever_they_are_called(
    shop: str, sql: str
) -> None:
    assert "hunter2" not in str(await ask(shop, sql)).lower()


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT count(*) FROM users WHERE password = 'hunter2'",
        "SELECT count(*) FROM users WHERE password LIKE 'h%'",
        "SELECT count(*) FROM users AS u JOIN (SELECT 'hunter2' AS p) AS g ON g.p = u.password",
    ],
)
async def test_a_condition_cannot_tell_what_a_secret_is(shop: str, sql: str) -> None:
    assert (await ask(shop, sql))["rows"] == [[0]]


@pytest.mark.parametrize(
    "join", ["JOIN guess USING (password)", "NATURAL JOIN guess", "NATURAL LEFT JOIN guess"]
)
async def test_a_join_cannot_tell_what_a_secret_is(shop: str, join: str) -> None:
    sql = f"WITH guess AS (SELECT 'hunter2' AS password) SELECT count(*) FROM users {join}"
    if shop.startswith("sqlite:"):
        assert await refusal(shop, sql) == "sql.table"
    else:
        assert (await ask(shop, sql))["rows"] == [[2 if "LEFT" in join else 0]]


async def test_a_tool_may_hide_other_columns_or_none(shop: str) -> None:
    sql = "SELECT name, password FROM users WHERE id = 1"
    assert (await ask(shop, sql, Limits(redact=())))["rows"] == [["ada", "hunter2"]]
    assert (await ask(shop, sql, Limits(redact=("name",))))["rows"] == [[None, "hunter2"]]


async def test_more_rows_than_the_limit_are_left_out_and_it_says_so(shop: str) -> None:
    numbers = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 50) SELECT i FROM n"
    found = await ask(shop, f"{numbers} ORDER BY i DESC", Limits(rows=3))
    assert found["rows"] == [[50], [49], [48]]
    assert "these are the first 3" in str(found["note"])
    assert "note" not in await ask(shop, numbers, Limits(rows=50))


async def test_rows_beyond_the_bytes_are_left_out(shop: str) -> None:
    found = await ask(shop, "SELECT name, 'twenty bytes of text' FROM users", Limits(bytes=40))
    assert found["rows"] == [["ada", "twenty bytes of text"]]
    assert "these are the first 1" in str(found["note"])


async def test_one_enormous_value_is_refused_before_it_arrives(shop: str) -> None:
    doubled = (
        "WITH RECURSIVE n(i, t) AS (SELECT 1, 'xxxxxxxxxxxxxxxx' UNION ALL SELECT i + 1, t || t FROM n WHERE i < {}) "
        "SELECT t FROM n WHERE i = {}"
    )
    # 64 MB: SQLite is not let to make such a value, and PostgreSQL makes it but keeps it to itself
    assert await refusal(shop, doubled.format(23, 23), Limits(seconds=30)) in {
        "sql.row_too_large",
        "sql.failed",
    }


async def test_an_endless_query_is_stopped_and_the_next_one_answered(shop: str) -> None:
    assert await refusal(shop, ENDLESS, Limits(seconds=0.3)) == "sql.timeout"
    assert (await ask(shop, "SELECT count(*) FROM users"))["rows"] == [[2]]


async def test_a_mistake_is_told_in_the_databases_words(shop: str) -> None:
    with pytest.raises(InvalidInput, match="nobody") as refused:
        await ask(shop, "SELECT nobody FROM users")
    assert refused.value.problem.code == "sql.failed"


@pytest.mark.postgres
async def test_what_is_stopped_does_not_go_on_in_the_server(postgres_shop: str) -> None:
    assert await refusal(postgres_shop, ENDLESS, Limits(seconds=0.5)) == "sql.timeout"
    connection = await asyncpg.connect(postgres_shop)
    busy = (
        "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'partsong query_database'"
    )
    try:
        async with asyncio.timeout(30):
            while await connection.fetchval(f"{busy} AND datname = current_database()"):
                await connection.execute("SELECT pg_stat_clear_snapshot()")
    finally:
        await connection.close()


@pytest.mark.postgres
async def test_the_transaction_is_read_only_also_for_functions_on_the_list(
    postgres_shop: str,
) -> None:
    connection = await asyncpg.connect(postgres_shop)
    try:
        await connection.execute(
            "CREATE FUNCTION bit_length(INTEGER) RETURNS INTEGER LANGUAGE sql AS 'DELETE FROM orders RETURNING 1'"
        )
        with pytest.raises(InvalidInput, match="read-only transaction"):
            await ask(postgres_shop, "SELECT bit_length(1)")
    finally:
        await connection.execute("DROP FUNCTION IF EXISTS bit_length(INTEGER)")
        await connection.close()


@pytest.mark.postgres
async def test_a_part_of_the_query_may_not_take_a_hidden_tables_name(postgres_shop: str) -> None:
    sql = "WITH users AS (SELECT * FROM users) SELECT * FROM users"
    assert await refusal(postgres_shop, sql) == "sql.table"


@pytest.mark.postgres
async def test_whole_rows_show_no_secret(postgres_shop: str) -> None:
    for sql in (
        "SELECT u FROM users AS u",
        "SELECT u.row_to_json FROM users AS u",
        "SELECT json_agg(users) FROM users",
        "SELECT CAST(u AS text) FROM public.users AS u",
        "SELECT c FROM users AS u(a, b, c)",
        "SELECT * FROM ONLY users",
        "SELECT * FROM (users CROSS JOIN users AS b)",
        "SELECT * FROM users AS u, LATERAL (SELECT b.password AS p FROM users AS b WHERE b.id = u.id) AS x",
        "SELECT * FROM orders AS o JOIN users AS u ON u.id = o.user, users AS third",
        "SELECT (SELECT max(password) FROM users) FROM orders",
        "SELECT * FROM orders WHERE EXISTS (SELECT 1 FROM users WHERE password LIKE 'h%')",
    ):
        assert "hunter2" not in str(await ask(postgres_shop, sql))


@pytest.mark.postgres
async def test_a_database_that_is_not_there_is_the_platforms_fault(postgres_shop: str) -> None:
    gone = postgres_shop.rpartition("/")[0] + "/nowhere"
    with pytest.raises(Unavailable) as refused:
        await ask(gone, "SELECT 1")
    assert refused.value.problem.code == "sql.unreachable"


async def test_a_view_that_calls_what_is_not_on_the_list_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "shop.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE VIEW big AS SELECT zeroblob(1000000) AS b")
    assert await refusal(f"sqlite:///{path}", "SELECT * FROM big") == "sql.failed"


COPIES = """
CREATE TABLE people (id INTEGER, name TEXT, password TEXT, loud TEXT AS (upper(name)),
    leak TEXT GENERATED ALWAYS AS (password || '!') VIRTUAL, twice TEXT AS (lower("Leak")) STORED);
INSERT INTO people (id, name, password) VALUES (1, 'ada', 'hunter2');
CREATE VIRTUAL TABLE notes USING fts5(body, password);
INSERT INTO notes VALUES ('hello', 'hunter2');
CREATE VIEW behind AS SELECT c1 AS harmless FROM notes_content;
"""


@pytest.mark.parametrize(
    "sql", ["SELECT * FROM people", "SELECT LEAK FROM People", "SELECT twice FROM people"]
)
async def test_what_sqlite_computes_from_a_secret_reads_as_null_too(
    tmp_path: Path, sql: str
) -> None:
    with closing(sqlite3.connect(tmp_path / "shop.db")) as connection:
        connection.executescript(COPIES)
    url = f"sqlite:///{tmp_path}/shop.db"
    assert "hunter2" not in str(await ask(url, sql))
    assert (await ask(url, "SELECT name, loud FROM people"))["rows"] == [["ada", "ADA"]]
    shown = await ask(url, "SELECT twice FROM people", Limits(redact=()))
    assert shown["rows"] == [["hunter2!"]]


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT * FROM notes_content",
        "SELECT c1 FROM Notes_Content",
        "SELECT block FROM notes_data",
        "SELECT harmless FROM behind",
    ],
)
async def test_tables_behind_a_virtual_one_are_not_read(tmp_path: Path, sql: str) -> None:
    with closing(sqlite3.connect(tmp_path / "shop.db")) as connection:
        connection.executescript(COPIES)
    assert await refusal(f"sqlite:///{tmp_path}/shop.db", sql) == "sql.failed"


async def test_a_file_that_is_not_there_is_not_made(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match="cannot be opened"):
        await ask(f"sqlite:///{tmp_path}/none.db", "SELECT 1")
    assert not (tmp_path / "none.db").exists()


async def test_statements_that_are_too_long_too_deep_or_cut_short_are_refused(
    sqlite_shop: str,
) -> None:
    assert await refusal(sqlite_shop, "SELECT " + "1, " * 5000 + "1") == "sql.too_long"
    assert await refusal(sqlite_shop, "SELECT 1\0") == "sql.syntax"
    assert await refusal(sqlite_shop, "SELECT '\ud800'") == "sql.syntax"
    assert await refusal(sqlite_shop, "SELECT 1" + "+1" * 4900) == "sql.syntax"
    assert await refusal(sqlite_shop, "SELECT " + "(" * 2000 + "1" + ")" * 2000) == "sql.syntax"


async def test_without_a_database_it_says_which_setting_to_set(
    monkeypatch: pytest.MonkeyPatch, sqlite_shop: str
) -> None:
    monkeypatch.delenv(URL_SETTING, raising=False)
    with pytest.raises(InvalidInput, match=f"set {URL_SETTING}=sqlite:") as refused:
        await query_database("SELECT 1")
    assert refused.value.problem.code == "sql.no_database"
    monkeypatch.setenv(URL_SETTING, sqlite_shop)
    assert (await query_database("SELECT 1 AS one"))["rows"] == [[1]]


@pytest.mark.parametrize("url", ["mysql://host/db", "sqlite://", "sqlite:///:memory:", "shop.db"])
def test_what_cannot_be_asked_is_refused_at_once(url: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        database_tool(url)
    assert refused.value.problem.code == "sql.bad_url"


@pytest.mark.parametrize("limits", [{"rows": 0}, {"bytes": -1}, {"seconds": 0}])
def test_limits_that_let_nothing_through_are_refused(limits: dict[str, int]) -> None:
    with pytest.raises(InvalidInput, match=r"not more than 0|more than nothing"):
        Limits(**limits)  # type: ignore[arg-type]


def test_a_model_is_told_what_is_in_the_database() -> None:
    made = database_tool("sqlite:///shop.db", name="ask_shop", about="Orders since 2020.")
    assert made.name == "ask_shop"
    assert made.spec().description.endswith("Orders since 2020.")
    assert not made.guarded
