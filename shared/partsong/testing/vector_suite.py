"""What every `VectorStore` promises, as tests: subclass the suite and provide its fixture.

    class TestMyStore(VectorStoreSuite):
        @pytest.fixture
        def store(self) -> Iterator[VectorStore]: ...

The store must be empty and pinned to `PIN`.
"""

# ruff: noqa: D102 — a test's name is its docstring

from __future__ import annotations

import math
import threading

import pytest

from partsong.contracts.errors import InvalidInput
from partsong.tools.builtin.memory.port import Item, Pin, VectorStore

__all__ = ["PIN", "VectorStoreSuite"]

PIN = Pin("suite", 3)
"""Whose vectors the suite writes."""


def _item(id: str, *vector: float) -> Item:
    return Item(id, f"text of {id}", vector)


class VectorStoreSuite:
    """The promises of the port."""

    def test_an_empty_store_finds_nothing(self, store: VectorStore) -> None:
        assert store.query("a", (1, 0, 0), 5) == []
        assert dict(store.namespaces()) == {}
        assert store.delete("a", ["x"]) == 0

    def test_the_nearest_in_direction_comes_first(self, store: VectorStore) -> None:
        store.upsert("a", [_item("far", 0, 0, 5), _item("near", 9, 1, 0), _item("same", 0.1, 0, 0)])
        found = store.query("a", (2, 0, 0), 5)
        assert [match.id for match in found] == ["same", "near", "far"]
        assert found[0].text == "text of same"
        assert found[0].score == pytest.approx(1.0)
        assert found[1].score == pytest.approx(9 / math.sqrt(82))
        assert found[2].score == pytest.approx(0.0)

    def test_the_opposite_is_further_than_the_unrelated(self, store: VectorStore) -> None:
        store.upsert("a", [_item("opposite", -1, 0, 0), _item("unrelated", 0, 1, 0)])
        assert [match.id for match in store.query("a", (1, 0, 0), 5)] == ["unrelated", "opposite"]

    def test_no_more_are_found_than_asked_for(self, store: VectorStore) -> None:
        store.upsert("a", [_item(f"{n}", 1, n, 0) for n in range(9)])
        assert [match.id for match in store.query("a", (1, 0, 0), 2)] == ["0", "1"]
        assert store.query("a", (1, 0, 0), 0) == []

    def test_as_near_is_ordered_by_id(self, store: VectorStore) -> None:
        store.upsert("a", [_item(id, 1, 0, 0) for id in "cab"])
        assert [match.id for match in store.query("a", (1, 0, 0), 5)] == ["a", "b", "c"]

    def test_an_item_with_the_same_id_replaces_the_first(self, store: VectorStore) -> None:
        store.upsert("a", [_item("x", 1, 0, 0)])
        assert len(store.query("a", (1, 0, 0), 5)) == 1
        store.upsert("a", [Item("x", "new", (0, 1, 0))])
        (found,) = store.query("a", (0, 1, 0), 5)
        assert (found.id, found.text) == ("x", "new")

    def test_namespaces_keep_to_themselves(self, store: VectorStore) -> None:
        store.upsert("a", [_item("x", 1, 0, 0), _item("y", 1, 0, 0)])
        store.upsert("b", [Item("x", "of b", (1, 0, 0))])
        assert dict(store.namespaces()) == {"a": 2, "b": 1}
        assert [match.text for match in store.query("b", (1, 0, 0), 5)] == ["of b"]
        assert store.delete("b", ["x", "y"]) == 1
        assert dict(store.namespaces()) == {"a": 2}

    def test_what_is_deleted_is_not_found(self, store: VectorStore) -> None:
        store.upsert("a", [_item("x", 1, 0, 0), _item("y", 0, 1, 0)])
        assert store.query("a", (1, 0, 0), 1)[0].id == "x"
        assert store.delete("a", ["x", "x", "never"]) == 1
        assert [match.id for match in store.query("a", (1, 0, 0), 5)] == ["y"]

    @pytest.mark.parametrize(
        "vector", [(1, 0), (1, 0, 0, 0), (), (1, 0, math.nan), (math.inf, 0, 0)]
    )
    def test_a_wrong_vector_is_refused_and_nothing_is_written(
        self, store: VectorStore, vector: tuple[float, ...]
    ) -> None:
        with pytest.raises(InvalidInput) as refused:
            store.upsert("a", [_item("good", 1, 0, 0), _item("bad", *vector)])
        assert refused.value.problem.code == "memory.bad_vector"
        with pytest.raises(InvalidInput):
            store.query("a", vector, 5)
        assert dict(store.namespaces()) == {}

    def test_a_vector_of_zeros_is_like_nothing(self, store: VectorStore) -> None:
        store.upsert("a", [_item("nothing", 0, 0, 0)])
        assert store.query("a", (1, 0, 0), 5)[0].score == 0
        assert store.query("a", (0, 0, 0), 5)[0].score == 0

    def test_threads_may_write_at_once(self, store: VectorStore) -> None:
        def write(name: str) -> None:
            for n in range(20):
                store.upsert("a", [_item(f"{name}{n}", 1, 0, 0)])
                store.query("a", (1, 0, 0), 1)

        threads = [threading.Thread(target=write, args=(name,)) for name in "xyz"]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(timeout=30)
        assert dict(store.namespaces()) == {"a": 60}
        assert len(store.query("a", (1, 0, 0), 100)) == 60

    def test_closing_twice_is_fine(self, store: VectorStore) -> None:
        store.close()
        store.close()
