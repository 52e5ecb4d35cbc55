"""SearXNG: a search engine that anyone can run, asked in JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlencode

from pydantic import BaseModel

from partsong.contracts.errors import InvalidInput
from partsong.tools.builtin.search.port import Hit, Query
from partsong.tools.builtin.search.reading import JSON, Answer, hits, read

if TYPE_CHECKING:
    from partsong.tools.net.safe_http import SafeHttp

__all__ = ["Searxng"]


class _Result(BaseModel):
    url: str
    title: str | None = None
    content: str | None = None
    publishedDate: str | None = None  # noqa: N815  # the wire's name
    score: float | None = None


class Searxng:
    """One instance by its base URL; `format=json` must be among its `search.formats`."""

    def __init__(self, base_url: str, http: SafeHttp) -> None:
        self._base, self._http = base_url.rstrip("/"), http

    async def search(self, query: Query) -> list[Hit]:
        """See `SearchProvider`."""
        asked = {"q": query.text, "format": "json", "language": query.language or "all"}
        if query.freshness:
            asked["time_range"] = query.freshness
        answer = await self._http.get(f"{self._base}/search?{urlencode(asked)}", types=JSON)
        if answer.status == 403:
            raise InvalidInput(
                "search.refused",
                "SearXNG answered 403: it does not answer in JSON",
                where=self._base,
                fix="add json to search.formats in its settings.yml",
                fault="platform",
            )
        answer.expect_success("search", "SearXNG")
        found = read(Answer[_Result], answer.body, "SearXNG").results
        return hits(
            [
                Hit(r.title or "", r.url, r.content or "", r.publishedDate or "", r.score)
                for r in found
            ],
            query.count,
        )
