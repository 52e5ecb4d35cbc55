"""What is kept compressed: it comes back, and what is something else is refused at little cost."""

from __future__ import annotations

import json
import tracemalloc
import zlib

import pytest

from partsong.log import packed as packing
from partsong.log.packed import packed, unpacked


def test_what_was_packed_comes_back() -> None:
    value = {"a": [1, "ü", None, "\ud800"], "b": {"c": 1.5}}
    assert unpacked(packed(value)) == value


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"no zlib",
        zlib.compress(b"no json"),
        zlib.compress(b"[1]"),
        zlib.compress(b"[" * 100_000),
        packed({"a": "b" * 1000})[:-5],
    ],
)
def test_what_is_something_else_is_refused(body: bytes) -> None:
    with pytest.raises(ValueError, match=r".+"):
        unpacked(body)


def test_a_bomb_is_not_taken_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packing, "_LARGEST", 1_000_000)
    bomb = zlib.compress(json.dumps({"a": "0" * 50_000_000}).encode())
    assert len(bomb) < 100_000
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match="more than"):
            unpacked(bomb)
        assert tracemalloc.get_traced_memory()[1] < 5_000_000
    finally:
        tracemalloc.stop()
