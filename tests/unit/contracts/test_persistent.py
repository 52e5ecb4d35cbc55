"""Persistent maps against dicts: the same entries in the same order, and none of them ever changes."""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from math import isqrt
from unittest import mock

import pytest
from hypothesis import given
from hypothesis import strategies as st

from partsong.contracts import persistent
from partsong.contracts.persistent import PersistentMap, below, chosen, pruned, put, without
from tests.support.wide import made_anew

Step = tuple[str, str, int]

PATHS = [*"abc", "a/1", "a/2", "a/1/x", "a-b", "a0", "ab", "b/1", "b/1/x", "b/1/y"]

steps = st.lists(
    st.tuples(
        st.sampled_from(["put", "put", "without", "pruned"]),
        st.sampled_from(PATHS),
        st.integers(0, 3),
    ),
    max_size=60,
)


def odd(value: int) -> bool:
    return value % 2 == 1


def positive(value: int) -> bool:
    return value > 0


def leads_on(key: str, owner: str) -> bool:
    return key == owner or key.startswith(f"{owner}/")


def stepped(mapping: Mapping[str, int], step: Step) -> Mapping[str, int]:
    do, key, value = step
    match do:
        case "put":
            return put(mapping, key, value)
        case "without":
            return without(mapping, key)
        case _:
            return pruned(mapping, key)


def model_of(entries: dict[str, int], step: Step) -> dict[str, int]:
    do, key, value = step
    match do:
        case "put":
            return {**entries, key: value}
        case "without":
            return {k: v for k, v in entries.items() if k != key}
        case _:
            return {k: v for k, v in entries.items() if not leads_on(k, key)}


def check(mapping: Mapping[str, int], entries: dict[str, int]) -> None:
    assert [*mapping.items()] == [*entries.items()]
    assert [*mapping] == [*entries]
    assert [*mapping.values()] == [*entries.values()]
    assert len(mapping) == len(entries)
    assert mapping == entries
    assert entries == mapping
    assert repr(mapping) == repr(entries)
    for key in PATHS:
        assert (key in mapping) == (key in entries)
        assert mapping.get(key) == entries.get(key)
        assert mapping.get(key, -1) == entries.get(key, -1)
        assert sorted(below(mapping, key)) == sorted(k for k in entries if leads_on(k, key))
    for wanted in (odd, positive):
        assert [*chosen(mapping, wanted)] == [(k, v) for k, v in entries.items() if wanted(v)]


@given(steps, st.integers(0, 8), st.integers(1, 60))
def test_a_map_is_the_dict_it_stands_for_at_every_step_and_stays_it(
    taken: list[Step], small: int, asked: int
) -> None:
    mapping: Mapping[str, int] = {}
    entries: dict[str, int] = {}
    seen: list[tuple[Mapping[str, int], dict[str, int]]] = [(mapping, entries)]
    with mock.patch.object(persistent, "_SMALL", small):
        for place, step in enumerate(taken):
            mapping, entries = stepped(mapping, step), model_of(entries, step)
            if place % asked == 0:
                check(mapping, entries)
            seen.append((mapping, entries))
    for mapping, entries in seen:
        check(mapping, entries)


def test_a_key_that_is_not_there_is_an_error_and_no_key_is_its_mark() -> None:
    mapping: Mapping[str, None] = {str(i): None for i in range(200)}
    mapping = without(put(mapping, "x", None), "7")
    assert isinstance(mapping, PersistentMap)
    assert mapping["x"] is None
    assert "x" in mapping
    assert mapping.get("x", 1) is None
    for key in ("7", "y"):
        assert mapping.get(key) is None
        with pytest.raises(KeyError, match=key):
            mapping[key]


def test_a_map_can_be_pickled() -> None:
    mapping: Mapping[int, int] = {}
    for i in range(300):
        mapping = put(mapping, i, -i)
    assert isinstance(mapping, PersistentMap)
    assert pickle.loads(pickle.dumps(without(mapping, 7))) == without(mapping, 7)


def test_a_change_copies_about_the_root_of_what_there_is() -> None:
    for size in (1_000, 16_000):
        mapping: Mapping[str, int] = {str(i): i for i in range(size)}
        copied = 0
        for i in range(size):
            before = mapping
            mapping = put(mapping, str(i), -i) if i % 3 else without(mapping, str(i))
            copied += made_anew(before, mapping)
        assert copied / size < 5 * isqrt(size)
