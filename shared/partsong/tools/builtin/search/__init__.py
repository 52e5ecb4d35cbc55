"""Web search: one port, SearXNG and Tavily behind it, and the tool in front of it."""

from partsong.tools.builtin.search.port import Freshness, Hit, Query, SearchProvider
from partsong.tools.builtin.search.web_search import search_tool, web_search

__all__ = ["Freshness", "Hit", "Query", "SearchProvider", "search_tool", "web_search"]
