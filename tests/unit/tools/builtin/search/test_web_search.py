"""`web_search`: every engine's adapter passes one suite against an endpoint on loopback."""

from __future__ import annotations

import gzip
import json
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from urllib.parse import parse_qs, urlsplit

import pytest

from partsong.contracts.errors import InvalidInput, PartsongError, Unavailable
from partsong.tools.builtin.search import (
    Freshness,
    Hit,
    Query,
    SearchProvider,
    search_tool,
    web_search,
)
from partsong.tools.builtin.search.searxng import Searxng
from partsong.tools.builtin.search.tavily import Tavily
from partsong.tools.net.safe_http import SafeHttp
from tests.support.web import Asked, Web, answer, redirect, stall, web

KEY = "tvly-sesame"
JSON = "application/json"


@dataclass(frozen=True)
class Engine:
    """An adapter, and how its wire is read and written."""

    name: str
    site: Web
    provider: SearchProvider
    published: str

    def results(self, *found: Mapping[str, object]) -> None:
        body = {"query": "q", "answer": None, "results": found, "response_time": 0.5}
        self.site.routes["/search"] = answer(json.dumps(body), type=JSON)

    def asked(self) -> dict[str, str]:
        """What was asked, by the words of the port."""
        asked = self.site.asked[-1]
        read = _searxng if self.name == "searxng" else _tavily
        return read(asked)


def _searxng(asked: Asked) -> dict[str, str]:
    assert asked.method == "GET"
    sent = {name: value for name, [value] in parse_qs(urlsplit(asked.target).query).items()}
    assert sent["format"] == "json"
    return {"text": sent["q"], "freshness": sent.get("time_range", "")}


def _tavily(asked: Asked) -> dict[str, str]:
    assert asked.method == "POST"
    assert asked.headers["authorization"] == f"Bearer {KEY}"
    sent = json.loads(asked.body)
    return {"text": sent["query"], "freshness": sent.get("time_range", "")}


@pytest.fixture(params=["searxng", "tavily"])
async def engine(request: pytest.FixtureRequest) -> AsyncIterator[Engine]:
    async with web() as site:
        http = SafeHttp(allow=[site.here], limit=1_000_000, timeout=30)
        if request.param == "searxng":
            provider: SearchProvider = Searxng(site.url("/"), http)
            yield Engine("searxng", site, provider, "publishedDate")
        else:
            provider = Tavily(KEY, http, base_url=site.url("/"))
            yield Engine("tavily", site, provider, "published_date")


async def failure(engine: Engine, provider: SearchProvider | None = None) -> PartsongError:
    with pytest.raises(PartsongError) as caught:
        await (provider or engine.provider).search(Query("q"))
    assert "sesame" not in str(caught.value)
    return caught.value


async def test_hits_come_best_first(engine: Engine) -> None:
    engine.results(
        {
            "title": "First <b>one</b>",
            "url": "https://a.example/",
            "content": "Some &amp; more",
            "score": 0.9,
            engine.published: "2026-01-02",
        },
        {"title": None, "url": "http://b.example/x", "content": None, "engines": ["x"]},
    )
    assert await engine.provider.search(Query("q")) == [
        Hit("First one", "https://a.example/", "Some & more", "2026-01-02", 0.9),
        Hit("http://b.example/x", "http://b.example/x", ""),
    ]


@pytest.mark.parametrize("freshness", ["day", "year"])
async def test_the_question_arrives_as_it_was_asked(engine: Engine, freshness: Freshness) -> None:
    engine.results()
    text = 'a&b=c #1 \N{SNOWMAN} "d"'
    assert await engine.provider.search(Query(text, freshness=freshness)) == []
    assert engine.asked() == {"text": text, "freshness": freshness}


async def test_no_more_hits_than_asked_for(engine: Engine) -> None:
    engine.results(*({"title": "t", "url": f"https://a.example/{n}"} for n in range(50)))
    assert len(await engine.provider.search(Query("q", count=3))) == 3


async def test_hits_that_lead_nowhere_are_left_out(engine: Engine) -> None:
    urls = ["javascript:alert(1)", "file:///etc/passwd", "", "https://a.example/" + "x" * 3000]
    engine.results(*({"title": "t", "url": url} for url in urls))
    assert await engine.provider.search(Query("q")) == []


async def test_long_words_are_cut_and_tags_taken_out(engine: Engine) -> None:
    engine.results(
        {"title": "t" * 9000, "url": "https://a.example", "content": "<b>" * 9 + "c" * 300_000}
    )
    [hit] = await engine.provider.search(Query("q"))
    assert (len(hit.title), hit.snippet) == (200, "c" * 700)


@pytest.mark.parametrize("status", [429, 500, 503])
async def test_an_engine_in_trouble_is_worth_another_attempt(engine: Engine, status: int) -> None:
    engine.site.routes["/search"] = answer(status=status, headers={"Retry-After": "30"})
    error = await failure(engine)
    assert isinstance(error, Unavailable)
    assert error.problem.code == "search.unavailable"
    assert f"{status}, to be tried after 30" in error.problem.message


@pytest.mark.parametrize("status", [400, 401, 403])
async def test_a_refusal_is_final(engine: Engine, status: int) -> None:
    engine.site.routes["/search"] = answer(status=status)
    error = await failure(engine)
    assert isinstance(error, InvalidInput)
    assert error.problem.code == "search.refused"


@pytest.mark.parametrize(
    "body",
    [
        "",
        "{",
        "[]",
        "{}",
        '{"results": {}}',
        '{"results": [{"title": "t"}]}',
        '{"results": [7]}',
        '{"results": [{"url": ["x"]}]}',
        "[" * 100_000,
        '{"results": [{"url": "https://a.example", "score": "much"}]}',
    ],
)
async def test_what_is_no_answer_is_malformed(engine: Engine, body: str) -> None:
    engine.site.routes["/search"] = answer(body, type=JSON)
    error = await failure(engine)
    assert error.problem.code == "search.malformed"
    assert len(str(error)) < 500


async def test_a_slow_engine_runs_out_of_time(engine: Engine) -> None:
    engine.site.routes["/search"] = stall(b"HTTP/1.1 200 OK\r\n")
    http = SafeHttp(allow=[engine.site.here], timeout=0.2)
    slow: SearchProvider = (
        Searxng(engine.site.url(), http)
        if engine.name == "searxng"
        else Tavily(KEY, http, base_url=engine.site.url())
    )
    assert (await failure(engine, slow)).problem.code == "http.timeout"


async def test_html_is_no_answer(engine: Engine) -> None:
    engine.site.routes["/search"] = answer("<div>" * 100_000, type="text/html")
    assert (await failure(engine)).problem.code == "http.refused_type"


async def test_a_bomb_is_refused(engine: Engine) -> None:
    bomb = gzip.compress(b'{"results": [' + b" " * 50_000_000)
    headers = {"Content-Encoding": "gzip"}
    engine.site.routes["/search"] = answer(bomb, type=JSON, headers=headers)
    assert (await failure(engine)).problem.code == "http.too_large"


async def test_a_redirect_into_the_private_network_is_refused(engine: Engine) -> None:
    engine.site.routes["/search"] = redirect("http://169.254.169.254/latest/meta-data")
    error = await failure(engine)
    assert error.problem.code in ("http.refused_address", "search.refused")


async def test_a_closed_port_is_unreachable(engine: Engine) -> None:
    async with web() as gone:
        http = SafeHttp(allow=[gone.here])
    error = await failure(engine, Searxng(gone.url(), http))
    assert error.problem.code == "http.unreachable"


# The tool


async def test_the_model_sees_marked_text(engine: Engine) -> None:
    engine.results(
        {"title": "A", "url": "https://a.example/", "content": "Obey!", engine.published: "2026"},
        {"title": "B", "url": "https://b.example/"},
    )
    first, *lines, last = (await search_tool(engine.provider)("q")).splitlines()
    assert first.startswith("[untrusted ")
    assert lines == [
        "1. A",
        "   https://a.example/",
        "   Obey! (published 2026)",
        "2. B",
        "   https://b.example/",
        "   ",
    ]
    assert last.startswith("[end of untrusted ")


async def test_nothing_found_is_said(engine: Engine) -> None:
    engine.results()
    assert "(nothing was found)" in await search_tool(engine.provider)("q")


async def test_twenty_long_hits_stay_within_what_a_tool_returns(engine: Engine) -> None:
    hit = {"title": "t" * 900, "content": "c" * 9_000, engine.published: "p" * 900}
    engine.results(*({**hit, "url": f"https://a.example/{n:0480}"} for n in range(30)))
    assert len(await search_tool(engine.provider)("q", count=20)) < web_search.output_cap


async def test_without_an_engine_the_tool_says_what_to_set(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("PARTSONG_SEARCH_URL", "TAVILY_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(InvalidInput, match=r"PARTSONG_SEARCH_URL=.*TAVILY_API_KEY=") as caught:
        await web_search("q")
    assert caught.value.problem.code == "search.no_engine"


async def test_the_setting_opens_its_own_address_and_no_other(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with web() as site, web() as other:
        monkeypatch.setenv("PARTSONG_SEARCH_URL", site.url("/searx/"))
        site.routes["/searx/search"] = answer('{"results": []}', type=JSON)
        assert "(nothing was found)" in await web_search("q")
        site.routes["/searx/search"] = redirect(other.url("/"))
        with pytest.raises(InvalidInput, match=r"http\.refused_port"):
            await web_search("q")
        assert not other.asked


@pytest.mark.parametrize("url", ["localhost:8888", "ftp://x", "http://", "http://x:port"])
async def test_a_setting_that_is_no_url_is_refused(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PARTSONG_SEARCH_URL", url)
    with pytest.raises(InvalidInput, match="PARTSONG_SEARCH_URL"):
        await web_search("q")


@pytest.mark.parametrize(
    "args", [{"query": ""}, {"query": "q", "count": 99}, {"query": "q", "language": "x&y"}]
)
def test_arguments_are_bounded(args: dict[str, str | int]) -> None:
    with pytest.raises(InvalidInput, match=r"tool\.invalid_arguments"):
        web_search.bind({**args})
    assert (web_search.side_effect, web_search.guarded) == ("read", False)
