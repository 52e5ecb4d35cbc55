"""The command line's side of the approval API: pages, and every way in which an answer can be none."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import islice
from urllib.parse import parse_qs, urlparse

import pytest

from partsong.client.approvals import Approvals, Record
from partsong.contracts.errors import (
    Conflict,
    InvalidInput,
    NotFound,
    PartsongError,
    Unavailable,
)

ALL = [{"id": f"r_{n}.ok:1", "status": "pending"} for n in range(250)]


@contextmanager
def answering(status: int, body: bytes | None) -> Iterator[str]:
    """A server that answers everything so; without a body, with pages of `ALL`."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            said = body if body is not None else self._page()
            self.send_response(status)
            self.send_header("Content-Length", str(len(said)))
            self.end_headers()
            self.wfile.write(said)

        do_POST = do_GET  # noqa: N815

        def _page(self) -> bytes:
            query = parse_qs(urlparse(self.path).query)
            begin = int(query.get("cursor", ["0"])[0])
            end = begin + int(query["limit"][0])
            more = str(end) if end < len(ALL) else None
            return json.dumps({"items": ALL[begin:end], "next": more}).encode()

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # the base class's name
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


@pytest.mark.parametrize(
    ("limit", "count", "more"),
    [(1, 1, True), (100, 100, True), (130, 130, True), (250, 250, False), (1000, 250, False)],
)
def test_as_many_pages_are_asked_for_as_are_wanted(limit: int, count: int, more: bool) -> None:
    with answering(200, None) as url:
        found, there_is_more = Approvals(url).newest(limit=limit, status="pending")
    assert [item["id"] for item in found] == [item["id"] for item in ALL[:count]]
    assert there_is_more is more


PROBLEM = {"code": "approval.closed", "detail": "ann was first", "where": "id", "fix": "look"}
ANSWERS: dict[str, tuple[int, bytes, type[PartsongError], str]] = {
    "a conflict": (409, json.dumps(PROBLEM).encode(), Conflict, "approval.closed"),
    "a bad request": (400, json.dumps(PROBLEM).encode(), InvalidInput, "approval.closed"),
    "not found": (404, json.dumps(PROBLEM).encode(), NotFound, "approval.closed"),
    "not ready": (503, json.dumps(PROBLEM).encode(), Unavailable, "approval.closed"),
    "another server": (404, b"<html>nothing here</html>", NotFound, "http.404"),
    "another server's JSON": (500, b"[1]", Unavailable, "http.500"),
    "an empty error": (502, b"", Unavailable, "http.502"),
    "no JSON": (200, b"hello", Unavailable, "approval.unreachable"),
}


@pytest.mark.parametrize(("status", "body", "kind", "code"), ANSWERS.values(), ids=ANSWERS)
def test_an_answer_that_is_an_error_is_raised_as_what_it_is(
    status: int, body: bytes, kind: type[PartsongError], code: str
) -> None:
    with answering(status, body) as url, pytest.raises(kind) as raised:
        Approvals(url).decide("r_1.ok:1", "approve", "ann", None)
    assert raised.value.problem.code == code
    if code == "approval.closed":
        assert raised.value.problem.message == "ann was first"
        assert raised.value.problem.fix == "look"


def test_nobody_there_is_said_with_what_to_do() -> None:
    with pytest.raises(Unavailable, match="partsong up") as raised:
        Approvals("http://127.0.0.1:1").get("r_1.ok:1")
    assert raised.value.problem.code == "approval.unreachable"


@pytest.mark.parametrize("code", ["approval.unknown", "approval.closed", "approval.behind"])
def test_what_is_advised_in_words_of_http_is_said_in_those_of_a_command_line(code: str) -> None:
    told = {"code": code, "detail": "no", "fix": "GET /api/approvals lists them all"}
    with answering(404, json.dumps(told).encode()) as url, pytest.raises(NotFound) as raised:
        Approvals(url).get("r_1.ok:1")
    assert "GET" not in str(raised.value.problem.fix)
    assert "`partsong " in str(raised.value.problem.fix)


def test_what_comes_and_what_ends_is_watched() -> None:
    """Each look is answered with what stands then; one was asked for and decided between two of them."""
    asked = [{"id": f"r.{n}", "status": "pending", "requested_at": f"{n}"} for n in range(4)]
    decided = [
        {**one, "status": "approved", "closed_at": f"9{one['requested_at']}"} for one in asked
    ]
    looks = iter(
        [
            [asked[0]],
            [asked[1], asked[0]],
            [decided[3], asked[2], asked[1], decided[0]],
        ]
    )
    stands: list[dict[str, str]] = []

    class Service(Approvals):
        def newest(self, *, limit: int, **filters: str | None) -> tuple[list[Record], bool]:
            if filters.get("status") == "pending":
                return [dict(one) for one in stands if one["status"] == "pending"], False
            stands[:] = next(looks, stands)
            return [dict(one) for one in stands], False

    stands[:] = [asked[0]]
    watching = Service("http://nowhere").watch(every=0)
    seen = [(one["id"], one["status"]) for one in islice(watching, 5)]
    assert seen == [
        ("r.0", "pending"),
        ("r.1", "pending"),
        ("r.2", "pending"),
        ("r.0", "approved"),
        ("r.3", "approved"),
    ]
