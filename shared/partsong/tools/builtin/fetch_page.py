"""`fetch_page`: the text of a public page."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import TYPE_CHECKING, Annotated, TypeAlias

from pydantic import Field

from partsong.contracts.errors import InvalidInput
from partsong.tools.builtin.encodings import decoded
from partsong.tools.net.egress import http_from_env
from partsong.tools.net.html_text import Page, readable
from partsong.tools.tool import Tool, tool
from partsong.tools.untrusted import marked

if TYPE_CHECKING:
    from partsong.tools.net.safe_http import Fetched, SafeHttp

__all__ = ["PageTool", "fetch_page", "page_tool"]

PageTool: TypeAlias = Tool[..., Coroutine[object, object, str]]

_HTML = frozenset({"text/html", "application/xhtml+xml"})
_PLAIN = frozenset({"text/plain", "text/markdown", "text/csv", "text/xml", "application/xml"})
_DATA = frozenset({"application/json", "application/x-ndjson", "application/yaml", "+json", "+xml"})
_SHOWN = 20_000
"""Characters at a time: with its marks it must stay below what a tool may return, or the mark at the end is cut."""
_SECONDS = 20.0


def page_tool(http: SafeHttp | None = None) -> PageTool:
    """The tool with a client of its own; without one, it gets what `PARTSONG_HTTP_ALLOW` says at each call."""

    @tool(side_effect="read", idempotent=True, timeout=_SECONDS + 20)
    async def fetch_page(
        url: Annotated[str, Field(examples=["https://example.com/docs"])],
        start: Annotated[int, Field(ge=0)] = 0,
    ) -> str:
        """Read a public web page as text: headings, lists, tables, and links with their targets.

        Text, Markdown, JSON, CSV and XML come as they are. Private addresses are closed.

        Args:
            url: An http or https URL.
            start: The character to begin with, for what comes after the first part of a long page.
        """
        client = http or http_from_env(timeout=_SECONDS)
        answer = await client.get(url, types=_HTML | _PLAIN | _DATA)
        answer.expect_success("page", "the site")
        page = await asyncio.to_thread(_page, answer)
        return _part(answer.url, page, start)

    return fetch_page


def _page(answer: Fetched) -> Page:
    text = decoded(answer.body, answer.charset)
    return readable(text, answer.url) if answer.type in _HTML else Page("", text)


def _part(url: str, page: Page, start: int) -> str:
    if start and start >= len(page.text):
        raise InvalidInput(
            "page.past_the_end",
            f"the page has {len(page.text):,} characters, none at {start:,}",
            where="args.start",
        )
    end = start + _SHOWN
    text = (
        f"{page.title}\n\n{page.text[start:end]}"
        if page.title and not start
        else page.text[start:end]
    )
    more = len(page.text) - end
    note = f"\n{more:,} more characters: go on with start={end}" if more > 0 else ""
    return marked(text or "(no text)", url) + note


fetch_page = page_tool()
