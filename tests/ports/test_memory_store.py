"""The store in memory and the one in a file keep the promises of the port; the file keeps more."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from partsong.contracts.errors import Conflict
from partsong.testing.vector_suite import PIN, VectorStoreSuite
from partsong.tools.builtin.memory import Item, Pin, VectorStore
from partsong.tools.builtin.memory.store import SqliteVectorStore


class TestInMemory(VectorStoreSuite):
    @pytest.fixture
    def store(self) -> Iterator[VectorStore]:
        store = SqliteVectorStore(PIN)
        yield store
        store.close()


class TestInAFile(VectorStoreSuite):
    @pytest.fixture
    def store(self, tmp_path: Path) -> Iterator[VectorStore]:
        store = SqliteVectorStore(PIN, tmp_path / "not there yet" / "memory.db")
        yield store
        store.close()


def test_a_file_keeps_what_was_written(tmp_path: Path) -> None:
    path = tmp_path / "memory.db"
    first = SqliteVectorStore(PIN, path)
    first.upsert("a", [Item("x", "kept", (0.1, 0.2, 0.3))])
    first.close()
    again = SqliteVectorStore(PIN, path)
    assert [(m.id, m.text) for m in again.query("a", (1, 2, 3), 5)] == [("x", "kept")]
    again.close()


def test_what_another_process_writes_is_found_at_once(tmp_path: Path) -> None:
    path = tmp_path / "memory.db"
    mine, other = SqliteVectorStore(PIN, path), SqliteVectorStore(PIN, path)
    mine.upsert("a", [Item("x", "mine", (1, 0, 0))])
    assert len(mine.query("a", (1, 0, 0), 5)) == 1
    other.upsert("a", [Item("y", "other", (1, 0, 0))])
    assert [m.text for m in mine.query("a", (1, 0, 0), 5)] == ["mine", "other"]
    other.delete("a", ["x", "y"])
    assert mine.query("a", (1, 0, 0), 5) == []
    mine.close()
    other.close()


@pytest.mark.parametrize("other", [Pin("suite", 4), Pin("another", 3)])
def test_vectors_of_another_embedder_are_refused_with_both_names(
    tmp_path: Path, other: Pin
) -> None:
    path = tmp_path / "memory.db"
    SqliteVectorStore(PIN, path).close()
    with pytest.raises(Conflict) as refused:
        SqliteVectorStore(other, path)
    problem = refused.value.problem
    assert problem.code == "memory.embedder"
    assert "suite with 3 dimensions" in problem.message
    assert f"{other.embedder} with {other.dimension}" in problem.message
    assert "go back to the embedder" in str(problem.fix)
    SqliteVectorStore(PIN, path).close()


def test_many_namespaces_are_answered_right_though_few_are_kept() -> None:
    store = SqliteVectorStore(PIN)
    for n in range(30):
        store.upsert(f"n{n}", [Item("x", f"text {n}", (1, 0, 0))])
    for n in (*range(30), *range(30)):
        assert [m.text for m in store.query(f"n{n}", (1, 0, 0), 1)] == [f"text {n}"]
    store.close()
