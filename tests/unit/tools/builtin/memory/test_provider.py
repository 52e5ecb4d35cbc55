"""Embeddings by a provider, over a real socket."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from partsong.contracts.errors import InvalidInput, PartsongError, Unavailable
from partsong.tools.builtin.memory import memory_tools
from partsong.tools.builtin.memory.hashing import HashEmbedder
from partsong.tools.builtin.memory.provider import ProviderEmbedder


class Server(ThreadingHTTPServer):
    """Answers `/v1/embeddings`; what it was asked is kept."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.asked: list[dict[str, object]] = []
        self.keys: list[str | None] = []
        self.status = 200
        self.lost = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/v1"


class Handler(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        server = self.server
        assert isinstance(server, Server)
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        server.asked.append({"path": self.path, **body})
        server.keys.append(self.headers.get("authorization"))
        vectors = HashEmbedder().embed(body["input"])
        data = [
            {"index": i, "embedding": [3.0 * x for x in vector]} for i, vector in enumerate(vectors)
        ]
        data.reverse()
        answer = json.dumps({"data": data[server.lost :]}).encode()
        self.send_response(server.status)
        self.send_header("content-length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # its name
        """Tests are quiet."""


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def embedder(server: Server) -> ProviderEmbedder:
    return ProviderEmbedder("openai:small", {"OPENAI_BASE_URL": server.url, "OPENAI_API_KEY": "k"})


def test_vectors_come_in_the_order_of_the_texts_with_length_one(server: Server) -> None:
    asked = embedder(server)
    mine = HashEmbedder().embed(["tea", "coffee"])
    theirs = asked.embed(["tea", "coffee"])
    assert [pytest.approx(list(vector)) for vector in mine] == [list(v) for v in theirs]
    assert (server.asked[0]["path"], server.asked[0]["model"]) == ("/v1/embeddings", "small")
    assert server.keys == ["Bearer k"]
    assert asked.pin.embedder == "openai:small"
    assert asked.pin.dimension == HashEmbedder().pin.dimension


def test_many_texts_go_in_several_requests(server: Server) -> None:
    assert len(embedder(server).embed([str(i) for i in range(250)])) == 250
    assert len(server.asked) == 3


@pytest.mark.parametrize(("status", "again"), [(429, True), (503, True), (401, False)])
def test_what_the_provider_refuses_is_said_with_whether_to_try_again(
    server: Server, status: int, again: bool
) -> None:
    server.status = status
    with pytest.raises(Unavailable) as failed:
        embedder(server).embed(["tea"])
    assert failed.value.problem.code == "memory.provider"
    assert f"status {status}" in failed.value.problem.message
    assert failed.value.problem.retryable is again


def test_a_vector_too_few_is_an_error_and_not_somebody_elses_vector(server: Server) -> None:
    server.lost = 1
    with pytest.raises(Unavailable, match="1 vectors came for 2 texts"):
        embedder(server).embed(["tea", "coffee"])


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("openai:", "memory.bad_embedder"),
        ("nobody:m", "memory.bad_embedder"),
        ("openai:m", "memory.no_key"),
    ],
)
def test_a_name_or_a_key_that_is_missing_is_said_at_once(name: str, code: str) -> None:
    with pytest.raises(PartsongError) as refused:
        ProviderEmbedder(name, {})
    assert refused.value.problem.code == code


def test_the_tools_remember_with_the_embedder_that_the_environment_names(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PARTSONG_DATA", str(tmp_path))
    monkeypatch.setenv("PARTSONG_EMBEDDER", "openai:small")
    monkeypatch.setenv("OPENAI_BASE_URL", server.url)
    remember, recall = memory_tools()
    remember("Ada prefers mail.")
    found = recall("How does Ada like to be reached?")
    assert "Ada prefers mail." in json.dumps(found)
    monkeypatch.setenv("PARTSONG_EMBEDDER", "nonsense")
    with pytest.raises(InvalidInput, match="nonsense"):
        memory_tools()[1]("Ada?")
