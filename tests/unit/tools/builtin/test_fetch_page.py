"""`fetch_page`: a page as a model gets it, and what it does not get."""

from __future__ import annotations

import gzip
from collections.abc import AsyncIterator

import pytest

from partsong.contracts.errors import InvalidInput, PartsongError, Unavailable
from partsong.tools.builtin.fetch_page import fetch_page, page_tool
from partsong.tools.net.safe_http import SafeHttp
from tests.support.web import Web, answer, redirect, web

HTML = "text/html; charset=utf-8"


@pytest.fixture
async def site() -> AsyncIterator[Web]:
    async with web() as site:
        yield site


async def fetched(site: Web, path: str = "/", start: int = 0) -> str:
    return await page_tool(SafeHttp(allow=[site.here]))(site.url(path), start)


async def test_a_page_comes_as_marked_text_with_its_address(site: Web) -> None:
    site.routes["/"] = answer("<title>T</title><h1>Hé</h1><a href=/b>b</a>", type=HTML)
    first, *lines, last = (await fetched(site)).splitlines()
    assert first.startswith("[untrusted ")
    assert site.url() in first
    assert lines == ["T", "", "# Hé", "", f"[b]({site.url('/b')})"]
    assert last.startswith("[end of untrusted ")


async def test_the_address_is_the_one_after_redirects(site: Web) -> None:
    site.routes |= {"/": redirect("/dir/"), "/dir/": answer("<a href=x>x</a>", type=HTML)}
    assert f"[x]({site.url('/dir/x')})" in await fetched(site)


async def test_data_comes_as_it_is(site: Web) -> None:
    site.routes["/"] = answer('{"a": "<b>"}', type="application/vnd.api+json")
    assert '\n{"a": "<b>"}\n' in await fetched(site)


async def test_the_declared_charset_counts(site: Web) -> None:
    site.routes["/"] = answer("Привет".encode("koi8-r"), type="text/plain; charset=KOI8-R")
    assert "Привет" in await fetched(site)


async def test_a_long_page_comes_in_parts_and_each_is_marked(site: Web) -> None:
    site.routes["/"] = answer("".join(f"{n:09},"[:10] for n in range(4_500)))
    first, second = await fetched(site), await fetched(site, start=20_000)
    assert len(first) < fetch_page.output_cap
    assert first.endswith("25,000 more characters: go on with start=20000")
    assert "[end of untrusted " in first
    assert "\n000002000," in second
    assert (await fetched(site, start=40_000)).endswith("]")


async def test_a_part_beyond_the_end_is_refused(site: Web) -> None:
    site.routes["/"] = answer("short")
    with pytest.raises(InvalidInput, match="5 characters, none at 9"):
        await fetched(site, start=9)


async def test_an_empty_page_says_so(site: Web) -> None:
    site.routes["/"] = answer("", type=HTML)
    assert "(no text)" in await fetched(site)


@pytest.mark.parametrize("status", [401, 404, 410])
async def test_a_page_that_is_not_there_is_an_error_for_good(site: Web, status: int) -> None:
    site.routes["/"] = answer("<h1>no</h1>", status=status, type=HTML)
    with pytest.raises(InvalidInput, match=f"answered {status}") as caught:
        await fetched(site)
    assert caught.value.problem.code == "page.refused"


async def test_a_site_in_trouble_is_worth_another_attempt(site: Web) -> None:
    site.routes["/"] = answer(status=503)
    with pytest.raises(Unavailable, match=r"page\.unavailable"):
        await fetched(site)


async def test_an_html_bomb_is_refused(site: Web) -> None:
    bomb = gzip.compress(b"<div>" * 4_000_000)
    site.routes["/"] = answer(bomb, type=HTML, headers={"Content-Encoding": "gzip"})
    with pytest.raises(InvalidInput, match=r"http\.too_large"):
        await fetched(site)


async def test_a_page_of_many_tags_is_read_up_to_a_number_of_them(site: Web) -> None:
    site.routes["/"] = answer("before" + "<i>" * 250_000 + "after", type=HTML)
    text = await fetched(site)
    assert "before" in text
    assert "after" not in text


@pytest.mark.parametrize("type", ["image/png", "application/zip", "application/pdf"])
async def test_what_is_no_text_is_refused(site: Web, type: str) -> None:
    site.routes["/"] = answer(b"\x89PNG", type=type)
    with pytest.raises(InvalidInput, match=r"http\.refused_type"):
        await fetched(site)


@pytest.mark.parametrize(
    "url",
    ["http://127.0.0.1/", "http://[::ffff:10.0.0.1]/", "http://169.254.169.254/", "file:///etc"],
)
async def test_the_built_in_tool_reaches_nothing_private(url: str) -> None:
    with pytest.raises(PartsongError, match=r"http\.(refused_address|bad_url)"):
        await fetch_page(url)


async def test_the_built_in_tool_reaches_what_the_operator_allows(
    site: Web, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PARTSONG_HTTP_ALLOW", site.here)
    site.routes["/"] = answer("inside")
    assert "inside" in await fetch_page(site.url())


def test_it_only_reads() -> None:
    assert (fetch_page.side_effect, fetch_page.guarded) == ("read", False)
    with pytest.raises(InvalidInput, match=r"args\.start"):
        fetch_page.bind({"url": "https://example.com", "start": -1})
