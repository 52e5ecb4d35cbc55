"""The first wall: a statement is parsed, and only one whole tree of reading is let through.

Parsing knows what a statement is, not what a function does, so functions are let through by name. What PostgreSQL gets
is written anew from the tree: it can hold nothing that was not looked at.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import sqlglot
from sqlglot import exp
from sqlglot.errors import SqlglotError

from partsong.contracts.errors import InvalidInput
from partsong.tools.builtin.sql.functions import ALLOWED, Dialect
from partsong.tools.builtin.sql.limits import Limits

__all__ = ["Relation", "checked", "computed_from_hidden", "named", "redacted", "rendered"]

_LONGEST = 10_000
_DEEPEST = 200
_NO_TEXT = re.compile("[\\0\ud800-\udfff]")
"""NUL, where some databases stop reading, and halves of characters."""
_CALL = re.compile(r"\w+(?=\()")

_WRITES = (
    exp.DDL,
    exp.Insert,
    exp.Update,
    exp.Delete,
    exp.Merge,
    exp.Copy,
    exp.Command,
    exp.Into,
    exp.Lock,
)
# A database may read these in another way than the parser does, and a plain string says the same.
_ODD_STRINGS = (exp.ByteString, exp.UnicodeString, exp.RawString, exp.National, exp.Heredoc)
_GRAMMAR = frozenset(
    {"array", "cast", "current_date", "current_time", "current_timestamp", "exists", "extract"}
)
"""What is written like a function and is none."""

_SCHEMA_TABLES = frozenset({"sqlite_master", "sqlite_schema"})
_INFORMATION = frozenset(
    {
        "columns",
        "constraint_column_usage",
        "key_column_usage",
        "referential_constraints",
        "table_constraints",
        "tables",
        "views",
    }
)


@dataclass(frozen=True, slots=True)
class Relation:
    """A table or view as the database resolved its name."""

    schema: str
    name: str
    columns: Mapping[str, str]
    """Types by name, in order."""


def checked(sql: str, dialect: Dialect, limits: Limits) -> exp.Query:
    """The statement, if it is one that reads and does nothing else.

    Raises:
        InvalidInput: `sql.too_long`, `sql.syntax`, `sql.statements`, `sql.not_a_query`, `sql.function`, `sql.table`.
    """
    if len(sql) > _LONGEST:
        raise InvalidInput(
            "sql.too_long",
            f"{len(sql)} characters, at most {_LONGEST} are taken",
            where="sql",
            fix="ask for less in one query",
        )
    if found := _NO_TEXT.search(sql):
        raise _syntax(f"{found[0]!r} at character {found.start() + 1} is no text")
    tree = _one(sql, dialect)
    for node in tree.walk():
        match node:
            case exp.Func():
                _check_function(node, dialect)
            case exp.Table():
                _check_table(node)
            case exp.Join() if dialect == "sqlite":
                _check_join(node, limits)
            case _ if isinstance(node, _WRITES):
                raise _not_a_query(f"it contains {_word(node)}")
            case _ if isinstance(node, _ODD_STRINGS):
                raise _syntax(
                    f"{node.sql(dialect):.40}: strings are written 'so', without a prefix"
                )
            case exp.Parameter() | exp.Placeholder():
                raise _syntax(f"{node.sql(dialect):.40} has no value: write the value itself")
            case _:
                pass
    return tree


def named(tree: exp.Query) -> list[str]:
    """The tables a tree names, written as the database would look them up; names of its own parts are among them."""
    return list(dict.fromkeys(_name(table).sql("postgres") for table in _tables(tree)))


def redacted(
    tree: exp.Query, relations: Mapping[str, Relation], hidden: Mapping[str, frozenset[str]]
) -> exp.Query:
    """The tree with every table that has hidden columns replaced by one in which they are NULL.

    So neither an alias nor `*`, a whole row, a join or a condition can tell what is in them.

    Raises:
        InvalidInput: `sql.table` if the statement names a part of its own like such a table.
    """
    done = tree.copy()
    own = {cte.alias.lower() for cte in done.find_all(exp.CTE)}
    for table in _tables(done):
        text = _name(table).sql("postgres")
        if not hidden.get(text):
            continue
        relation = relations[text]
        if relation.name.lower() in own:
            raise _table(
                f"WITH names {relation.name} what a table is called", "use another name in WITH"
            )
        table.replace(_veiled(table, relation, hidden[text]))
    return done


def computed_from_hidden(sql: str, columns: Sequence[str], limits: Limits) -> frozenset[str]:
    """The columns, in lower case, that a SQLite table computes from hidden ones; all, if its definition cannot be read."""
    hidden = {column.lower() for column in limits.hidden(columns)}
    try:
        made = list(sqlglot.parse_one(sql, dialect="sqlite").find_all(exp.ColumnDef))
    except (SqlglotError, RecursionError):
        return frozenset(column.lower() for column in columns)
    uses = {
        column.name.lower(): {part.name.lower() for part in column.find_all(exp.Identifier)}
        for column in made
    }
    while more := {name for name, used in uses.items() if used & hidden} - hidden:
        hidden |= more
    return frozenset(hidden)


def rendered(tree: exp.Query) -> str:
    """The tree as PostgreSQL takes it."""
    return tree.sql("postgres", comments=False)


def _one(sql: str, dialect: Dialect) -> exp.Query:
    parsing = logging.getLogger("sqlglot")
    disabled, parsing.disabled = parsing.disabled, True  # what it warns of is refused here
    try:
        found = [tree for tree in sqlglot.parse(sql, dialect=dialect) if tree is not None]
    except SqlglotError as error:
        raise _syntax(re.sub(r"\x1b\[\d*m", "", str(error))[:300]) from None
    except RecursionError:
        raise _syntax("it is nested too deeply") from None
    finally:
        parsing.disabled = disabled
    if len(found) != 1:
        raise InvalidInput(
            "sql.statements",
            f"{len(found)} statements, exactly one is taken",
            where="sql",
            fix="make one call for each query",
        )
    tree = found[0]
    if not isinstance(tree, exp.Query):
        raise _not_a_query(f"it is {_word(tree)}")
    if _too_deep(tree):
        raise _syntax("it is nested too deeply")
    return tree


def _too_deep(tree: exp.Query) -> bool:
    """By levels: a node's own `depth` climbs by recursion, and a chain of `+` is as deep as it is long."""
    level: list[exp.Expr] = [tree]
    for _ in range(_DEEPEST + 1):
        level = [inner for node in level for inner in node.iter_expressions()]
    return bool(level)


def _check_function(node: exp.Func, dialect: Dialect) -> None:
    if isinstance(node, exp.Connector):
        return
    if isinstance(node.parent, exp.Dot):
        raise _function(node.parent.sql(dialect), "functions are called without a schema", dialect)
    if isinstance(node, exp.Anonymous):
        quoted = isinstance(node.this, exp.Identifier) and node.this.quoted
        name = node.name if quoted else node.name.lower()
    else:
        text = node.sql(dialect)
        call = _CALL.match(text)
        if call is None and any(True for _ in node.iter_expressions()):
            return  # an operator, such as ->> or @>
        name = call[0].lower() if call else text.lower()
    if name not in ALLOWED[dialect] | _GRAMMAR:
        raise _function(name, "it is not on the list of functions that only compute", dialect)


def _check_table(table: exp.Table) -> None:
    name, schema = table.name.lower(), table.db.lower()
    system = (
        schema in {"pg_catalog", "pg_toast"}
        or name.startswith(("pg_", "pragma_"))
        or (name.startswith("sqlite_") and name not in _SCHEMA_TABLES)
        or (schema == "information_schema" and name not in _INFORMATION)
    )
    if system:
        raise _table(
            f"{table.name} belongs to the database itself",
            "tables are listed in information_schema.tables (PostgreSQL) or sqlite_schema (SQLite)",
        )


def _check_join(join: exp.Join, limits: Limits) -> None:
    """SQLite's authorizer is not asked about the columns that a join compares without naming them in ON."""
    using = [column.name for column in join.args.get("using") or ()]
    if join.method == "NATURAL" or limits.hidden(using):
        raise _table(
            f"NATURAL and USING ({', '.join(using)}) could compare hidden columns",
            "join with ON, by columns that hold no secret",
        )


def _tables(tree: exp.Query) -> list[exp.Table]:
    return [table for table in tree.find_all(exp.Table) if isinstance(table.this, exp.Identifier)]


def _name(table: exp.Table) -> exp.Table:
    return exp.Table(this=table.this, db=table.args.get("db"), catalog=table.args.get("catalog"))


def _veiled(table: exp.Table, relation: Relation, hidden: frozenset[str]) -> exp.Subquery:
    columns: Sequence[exp.Expr] = [
        exp.alias_(
            exp.cast(exp.null(), kind, dialect="postgres")
            if name in hidden
            else exp.column(name, quoted=True),
            name,
            quoted=True,
        )
        for name, kind in relation.columns.items()
    ]
    whole = exp.Table(
        this=exp.to_identifier(relation.name, quoted=True),
        db=exp.to_identifier(relation.schema, quoted=True),
    )
    alias = table.args.get("alias") or exp.TableAlias(this=table.this.copy())
    return exp.Subquery(
        this=exp.select(*columns).from_(whole),
        alias=alias.copy(),
        joins=table.args.get("joins"),
        sample=table.args.get("sample"),
    )


def _word(node: exp.Expr) -> str:
    match node:
        case exp.Command():
            return str(node.this).upper()
        case exp.Lock():
            return "FOR UPDATE or FOR SHARE"
        case exp.Into():
            return "INTO"
        case _:
            return node.key.upper()


def _not_a_query(why: str) -> InvalidInput:
    return InvalidInput(
        "sql.not_a_query",
        f"only reading is allowed: {why}",
        where="sql",
        fix="send one SELECT (WITH and UNION are fine) without INTO or FOR UPDATE",
    )


def _function(name: str, why: str, dialect: Dialect) -> InvalidInput:
    return InvalidInput(
        "sql.function",
        f"function {name} is not called: {why}",
        where="sql",
        fix=f"there are {', '.join(sorted(ALLOWED[dialect]))}",
    )


def _table(why: str, fix: str) -> InvalidInput:
    return InvalidInput("sql.table", why, where="sql", fix=fix)


def _syntax(why: str) -> InvalidInput:
    return InvalidInput("sql.syntax", why, where="sql", fix="correct the statement")
