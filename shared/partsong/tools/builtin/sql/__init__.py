"""`query_database`: one read-only question to SQLite or PostgreSQL, behind several walls."""

from partsong.tools.builtin.sql.limits import REDACTED, Limits
from partsong.tools.builtin.sql.query import database_tool, query_database

__all__ = ["REDACTED", "Limits", "database_tool", "query_database"]
