"""`remember` keeps texts, `recall` finds them by what they are about."""

from __future__ import annotations

import math
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from partsong.contracts.errors import Conflict, InvalidInput
from partsong.tools.builtin.memory import Embedder, memory_tools
from partsong.tools.builtin.memory.hashing import HashEmbedder
from partsong.tools.builtin.memory.store import SqliteVectorStore
from partsong.tools.builtin.memory.tools import EMBEDDER_SETTING
from partsong.tools.builtin.memory.wordllama import WordLlamaEmbedder

NOTES = (
    "Ada prefers mail over phone calls.",
    "The warehouse in Lyon closes at six.",
    "Refunds above 500 euros need an approval.",
)


@pytest.fixture
def kept() -> Iterator[SqliteVectorStore]:
    store = SqliteVectorStore(HashEmbedder().pin)
    yield store
    store.close()


def texts(found: object) -> list[str]:
    assert isinstance(found, dict)
    return [one["text"] for one in found["texts"]]


def cosine(embedder: Embedder, a: str, b: str) -> float:
    one, two = embedder.embed([a, b])
    return sum(x * y for x, y in zip(one, two, strict=True))


def test_the_text_that_is_about_it_comes_first(kept: SqliteVectorStore) -> None:
    remember, recall = memory_tools(kept, HashEmbedder())
    for note in NOTES:
        remember(text=note)
    assert texts(recall(query="refund approval", count=1)) == [NOTES[2]]
    assert texts(recall(query="when does the warehouse close?", count=1)) == [NOTES[1]]
    assert len(texts(recall(query="anything"))) == 3


def test_the_same_text_is_kept_once_and_namespaces_keep_apart(kept: SqliteVectorStore) -> None:
    remember, recall = memory_tools(kept, HashEmbedder())
    assert remember(text=NOTES[0]) == remember(text=NOTES[0])
    remember(text=NOTES[1], namespace="other")
    assert texts(recall(query="Ada")) == [NOTES[0]]
    assert texts(recall(query="Ada", namespace="other")) == [NOTES[1]]
    assert texts(recall(query="Ada", namespace="none")) == []


@pytest.mark.parametrize(
    ("tool", "args"),
    [
        (0, {"text": ""}),
        (0, {"text": "x" * 9000}),
        (0, {"text": "x", "namespace": "../etc"}),
        (1, {"query": "x", "count": 0}),
        (1, {"query": "x", "count": 1000}),
    ],
)
def test_wrong_arguments_are_refused(
    tool: int, args: dict[str, str | int], kept: SqliteVectorStore
) -> None:
    with pytest.raises(InvalidInput) as refused:
        memory_tools(kept, HashEmbedder())[tool].bind(dict(args))
    assert refused.value.problem.code == "tool.invalid_arguments"


def test_half_a_character_is_refused(kept: SqliteVectorStore) -> None:
    remember, recall = memory_tools(kept, HashEmbedder())
    with pytest.raises(InvalidInput, match="half of one"):
        remember(text="\ud800")
    with pytest.raises(InvalidInput, match="half of one"):
        recall(query="\ud800")


def test_writing_twice_is_as_good_as_once_so_no_call_is_lost(kept: SqliteVectorStore) -> None:
    remember, recall = memory_tools(kept, HashEmbedder())
    assert not remember.guarded
    assert recall.side_effect == "read"


def test_the_settings_say_where_and_with_which_embedder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PARTSONG_DATA", str(tmp_path))
    monkeypatch.delenv(EMBEDDER_SETTING, raising=False)
    memory_tools()[0](text=NOTES[0])
    assert texts(memory_tools()[1](query="Ada")) == [NOTES[0]]
    monkeypatch.setenv(EMBEDDER_SETTING, "wordllama")
    with pytest.raises(Conflict, match="hash-1 with 512 dimensions"):
        memory_tools()[1](query="Ada")
    monkeypatch.setenv(EMBEDDER_SETTING, "word2vec")
    with pytest.raises(InvalidInput, match="word2vec"):
        memory_tools()[1](query="Ada")


def test_hashing_is_the_same_in_every_process() -> None:
    program = (
        "from partsong.tools.builtin.memory.hashing import HashEmbedder\n"
        "print(HashEmbedder(16).embed(['Ada prefers mail']))"
    )
    env = {**os.environ, "PYTHONHASHSEED": "7"}
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        timeout=60,
        env=env,
        check=True,
    )
    assert done.stdout.strip() == repr(HashEmbedder(16).embed(["Ada prefers mail"]))


def test_hashing_gives_vectors_of_length_one_and_zeros_for_no_words() -> None:
    for vector in HashEmbedder(64).embed([*NOTES, "naïve Straße 東京"]):
        assert math.hypot(*vector) == pytest.approx(1)
    assert HashEmbedder(4).embed(["?!"]) == [[0, 0, 0, 0]]


def test_hashing_knows_spelling_and_wordllama_some_meaning() -> None:
    hashing, wordllama = HashEmbedder(), WordLlamaEmbedder()
    assert cosine(hashing, "refund", "refunds") > 0.4
    assert abs(cosine(hashing, "car", "automobile")) < 0.2
    assert cosine(wordllama, "car", "automobile") > cosine(wordllama, "car", "poem") + 0.2
    (vector,) = wordllama.embed(["car"])
    assert len(vector) == wordllama.pin.dimension
