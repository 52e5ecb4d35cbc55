"""`query_database`: one read-only question to SQLite or PostgreSQL, behind several walls."""

from partsong.tools.sql.limits import REDACTED, Limits
from partsong.tools.sql.query import database_tool, query_database

__all__ = ["REDACTED", "Limits", "database_tool", "query_database"]
