"""The built-in tools' settings in one list: what each is for, and how it stands in an environment."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from partsong.contracts.errors import InvalidInput
from partsong.tools.builtin.code.tool import TIER_SETTING
from partsong.tools.builtin.memory.tools import EMBEDDER_SETTING
from partsong.tools.builtin.read_file import ROOT_SETTING
from partsong.tools.builtin.search.web_search import KEY_SETTING
from partsong.tools.builtin.search.web_search import URL_SETTING as SEARCH_SETTING
from partsong.tools.builtin.sql.query import URL_SETTING as DATABASE_SETTING
from partsong.tools.mcp.place import MCP_SETTING, MCP_TRUST_SETTING
from partsong.tools.net.addresses import ALLOW_SETTING
from partsong.tools.net.webhook import SECRET_SETTING

__all__ = ["PACKAGES", "SETTINGS", "Package", "Setting"]


@dataclass(frozen=True, slots=True)
class Setting:
    """An environment variable that tools read when they are called."""

    name: str
    tools: tuple[str, ...]
    """The built-in ones that read it."""
    unset: str
    """What the tools do without it."""
    secret: bool = False
    """The value is a secret, or may hold one: a key, or a URL with a password."""
    choices: tuple[str, ...] = ()
    """The values it may have; empty: any."""

    def says(self, env: Mapping[str, str]) -> str:
        """How it stands; a secret's value is not in it.

        Raises:
            InvalidInput: `settings.invalid` for a value that is none of the choices.
        """
        value = env.get(self.name, "")
        if not value:
            return f"not set: {self.unset}"
        if self.choices and value not in self.choices:
            raise InvalidInput(
                "settings.invalid",
                f"{self.name} is {value!r}, not one of {', '.join(self.choices)}",
                where=self.name,
                fix=f"unset {self.name} or correct it",
            )
        return "set" if self.secret else value


@dataclass(frozen=True, slots=True)
class Package:
    """A module that tools import when they are called, and the extra that brings it."""

    module: str
    extra: str
    tools: tuple[str, ...]


SETTINGS = (
    Setting(ALLOW_SETTING, ("fetch_page", "web_search", "send_webhook"), "public addresses only"),
    Setting(ROOT_SETTING, ("read_file",), "read_file refuses"),
    Setting(SEARCH_SETTING, ("web_search",), f"{KEY_SETTING} is used", secret=True),
    Setting(
        KEY_SETTING,
        ("web_search",),
        f"without {SEARCH_SETTING} as well, web_search refuses",
        secret=True,
    ),
    Setting(DATABASE_SETTING, ("query_database",), "query_database refuses", secret=True),
    Setting(TIER_SETTING, ("run_code",), "monty", choices=("monty", "python")),
    Setting(EMBEDDER_SETTING, ("remember", "recall"), "hash"),
    *(
        Setting(key, ("remember", "recall"), "no embeddings by that provider", secret=True)
        for key in ("OPENAI_API_KEY", "GOOGLE_API_KEY", "GEMINI_API_KEY")
    ),
    Setting("PARTSONG_DATA", ("remember", "recall"), ".partsong"),
    Setting(MCP_SETTING, (), "there are no tools of MCP servers", secret=True),
    Setting(MCP_TRUST_SETTING, (), "every call of an MCP server's tool needs approval"),
    Setting(SECRET_SETTING, ("send_webhook",), "webhooks are not signed", secret=True),
)
"""In the order in which a person would look at them."""

PACKAGES = (
    Package("httpx2", "tools", ("fetch_page", "web_search", "send_webhook")),
    Package("sqlglot", "sql", ("query_database",)),
    Package("asyncpg", "postgres", ("query_database on PostgreSQL",)),
    Package("pydantic_monty", "code", ("run_code",)),
    Package("numpy", "memory", ("remember", "recall")),
)
"""What the built-in tools need beyond Partsong itself."""
