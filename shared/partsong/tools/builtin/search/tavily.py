"""Tavily: a search engine as a service, by key."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from pydantic import BaseModel, JsonValue

from partsong.tools.builtin.search.port import Hit, Query
from partsong.tools.builtin.search.reading import JSON, Answer, hits, read

if TYPE_CHECKING:
    from partsong.tools.net.safe_http import SafeHttp

__all__ = ["Tavily"]


class _Result(BaseModel):
    url: str
    title: str | None = None
    content: str | None = None
    published_date: str | None = None
    score: float | None = None


class Tavily:
    """The service, or what speaks like it at another base URL. It cannot choose languages."""

    def __init__(
        self, key: str, http: SafeHttp, *, base_url: str = "https://api.tavily.com"
    ) -> None:
        self._key, self._base, self._http = key, base_url.rstrip("/"), http

    async def search(self, query: Query) -> list[Hit]:
        """See `SearchProvider`."""
        asked: dict[str, JsonValue] = {"query": query.text, "max_results": query.count}
        if query.freshness:
            asked["time_range"] = query.freshness
        answer = await self._http.post(
            f"{self._base}/search",
            json.dumps(asked).encode(),
            headers={"authorization": f"Bearer {self._key}", "content-type": "application/json"},
            types=JSON,
        )
        answer.expect_success("search", "Tavily")
        found = read(Answer[_Result], answer.body, "Tavily").results
        return hits(
            [
                Hit(r.title or "", r.url, r.content or "", r.published_date or "", r.score)
                for r in found
            ],
            query.count,
        )
