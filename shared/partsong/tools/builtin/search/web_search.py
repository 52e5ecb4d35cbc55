"""`web_search`: the tool, and the engine that the settings choose."""

from __future__ import annotations

import os
from collections.abc import Coroutine
from typing import Annotated, TypeAlias
from urllib.parse import urlsplit

from pydantic import Field

from partsong.contracts.errors import InvalidInput
from partsong.tools.builtin.search.port import Freshness, Hit, Query, SearchProvider
from partsong.tools.net.egress import http_from_env
from partsong.tools.tool import Tool, tool
from partsong.tools.untrusted import marked

__all__ = ["KEY_SETTING", "URL_SETTING", "SearchTool", "search_tool", "web_search"]

URL_SETTING = "PARTSONG_SEARCH_URL"
"""The base URL of a SearXNG instance; it may be a private address."""
KEY_SETTING = "TAVILY_API_KEY"
"""Chooses Tavily, if no SearXNG is set."""

SearchTool: TypeAlias = Tool[..., Coroutine[object, object, str]]

_SECONDS = 15.0


def search_tool(provider: SearchProvider | None = None) -> SearchTool:
    """The tool with an engine of its own; without one, the settings choose it at each call."""

    @tool(side_effect="read", idempotent=True, timeout=_SECONDS + 5)
    async def web_search(
        query: Annotated[str, Field(min_length=1, max_length=400)],
        count: Annotated[int, Field(ge=1, le=20)] = 5,
        language: Annotated[str, Field(pattern=r"^([a-z]{2,3}(-[A-Za-z]{2,4})?)?$")] = "",
        freshness: Freshness | None = None,
    ) -> str:
        """Search the web: titles, addresses and snippets. Read a page with fetch_page.

        Args:
            query: What to look for.
            count: How many hits.
            language: Like en or de-CH; without one, any.
            freshness: How old a page may be.
        """
        engine = provider or _chosen()
        found = await engine.search(Query(query, count, language, freshness))
        return marked(_shown(found), f"the web, found for {query!r}")

    return web_search


def _shown(found: list[Hit]) -> str:
    return (
        "\n".join(
            f"{number}. {hit.title}\n   {hit.url}\n   {hit.snippet}"
            + (f" (published {hit.published})" if hit.published else "")
            for number, hit in enumerate(found, start=1)
        )
        or "(nothing was found)"
    )


def _chosen() -> SearchProvider:
    if url := os.environ.get(URL_SETTING, ""):
        from partsong.tools.builtin.search.searxng import Searxng

        return Searxng(url, http_from_env(_door(url), timeout=_SECONDS))
    if key := os.environ.get(KEY_SETTING, ""):
        from partsong.tools.builtin.search.tavily import Tavily

        return Tavily(key, http_from_env(timeout=_SECONDS))
    raise InvalidInput(
        "search.no_engine",
        "no search engine has been set",
        where=URL_SETTING,
        fix=f"set {URL_SETTING}=http://localhost:8888 (SearXNG) or {KEY_SETTING}=tvly-… for the tool-runner",
        fault="platform",
    )


def _door(url: str) -> str:
    """The engine's own host and port: the operator chose it, so it may be private."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port or {"http": 80, "https": 443}[parts.scheme]
    except (KeyError, ValueError):
        host, port = None, 0
    if not host:
        raise InvalidInput(
            "settings.invalid",
            f"{url!r} is no base URL",
            where=URL_SETTING,
            fix=f"write {URL_SETTING}=http://localhost:8888",
            fault="platform",
        )
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


web_search = search_tool()
