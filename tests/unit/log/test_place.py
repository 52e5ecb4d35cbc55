"""A log's name is a path or the URL of a Redis, and what is neither is refused in words."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from partsong.contracts.errors import InvalidInput, Unavailable
from partsong.log.place import check_place, open_log, read


@pytest.mark.parametrize(
    ("place", "redis"),
    [
        ("runs.jsonl", False),
        ("a:b/runs.log", False),
        (Path("redis://h"), False),
        ("redis://h:6379/0", True),
        ("REDISS://u:p@h", True),
        ("unix:///run/redis.sock", True),
    ],
)
def test_a_url_of_redis_is_known_by_its_scheme(place: str | Path, redis: bool) -> None:
    assert check_place(place) is redis


@pytest.mark.parametrize("url", ["postgres://u:secret@h/x", "s3://b", "sqlite:///x", "nats://h"])
async def test_another_scheme_is_refused_with_what_to_write(url: str) -> None:
    for refused in (lambda: read(url), lambda: check_place(url)):
        with pytest.raises(InvalidInput) as found:
            refused()
        problem = found.value.problem
        assert problem.code == "log.unknown_scheme"
        assert "secret" not in str(problem)
        assert ("Client(url)" if url.startswith("nats") else "redis://") in str(problem.fix)


async def test_without_its_client_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "partsong.log.redis", raising=False)
    monkeypatch.setitem(sys.modules, "redis", None)
    monkeypatch.delattr("partsong.log.redis", raising=False)
    with pytest.raises(Unavailable) as missing:
        async with open_log("redis://h"):
            pass
    assert (missing.value.problem.code, missing.value.problem.fix) == (
        "log.no_driver",
        "pip install 'partsong[redis]'",
    )
