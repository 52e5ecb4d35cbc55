"""Reducers and templates: as plain code would have it, and in time that grows with what there is."""

from __future__ import annotations

from contextlib import suppress
from typing import Any, get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import JsonValue

from partsong.contracts.errors import InvalidInput
from partsong.contracts.graph import ReducerName
from partsong.contracts.graph.reducers import (
    OVERWRITE,
    Write,
    as_data,
    contribute,
    meant,
    overwritten,
    reduce,
    reduced,
)
from partsong.contracts.graph.templates import LONGEST_TEXT, render

scalars = (
    st.none() | st.booleans() | st.integers(-2, 2) | st.sampled_from([0.0, 1.0, "a", "b", "1"])
)
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("ab"), inner),
    max_leaves=5,
)
ids = st.sampled_from([None, "a", "b", 1, True, ["a"]])
messages = st.fixed_dictionaries({}, optional={"id": ids, "text": st.sampled_from("xyz")})
removals = st.fixed_dictionaries(
    {"remove": st.just(True)}, optional={"id": ids | st.just("__all__")}
)


@given(st.lists(values, max_size=6), st.lists(values, max_size=6))
@settings(max_examples=300)
def test_union_takes_what_is_not_there_yet(old: list[JsonValue], new: list[JsonValue]) -> None:
    expected = list(old)
    for value in new:
        if value not in expected:
            expected.append(value)
    assert repr(reduce("union", "k", True, old, new)) == repr(expected)


def plainly(old: list[JsonValue], new: list[JsonValue]) -> list[JsonValue]:
    """The reducer for messages as one would write it who has few of them."""
    grown = list(old)
    for message in new:
        assert isinstance(message, dict)
        id_ = message.get("id")
        same = [m for m in grown if isinstance(m, dict) and m.get("id") == id_]
        if message.get("remove") is True:
            grown = [] if id_ == "__all__" else [m for m in grown if not any(m is s for s in same)]
        elif id_ is not None and same:
            grown[next(i for i, m in enumerate(grown) if m is same[0])] = message
        else:
            grown.append(message)
    return grown


@given(st.lists(messages | scalars, max_size=6), st.lists(messages | removals, max_size=6))
@settings(max_examples=500)
def test_messages_are_added_replaced_and_removed(
    old: list[JsonValue], new: list[JsonValue]
) -> None:
    assert repr(reduce("messages", "k", True, old, new, beside=True)) == repr(plainly(old, new))


def test_a_message_that_is_removed_must_be_there() -> None:
    with pytest.raises(InvalidInput, match="the id of a message that is there"):
        reduce("messages", "k", True, [{"id": "a"}], [{"id": "b", "remove": True}])


MANY = 40_000


def test_many_values_take_no_square_of_their_number() -> None:
    """Forty thousand of each: compared with each other they would be a minute."""
    objects: list[JsonValue] = [{"id": f"m{n}"} for n in range(MANY)]
    removed: list[JsonValue] = [{"id": f"m{n}", "remove": True} for n in range(MANY)]
    assert reduce("union", "k", True, objects, objects) == objects
    assert reduce("messages", "k", True, objects, [*objects, *removed]) == []


@pytest.mark.parametrize("path", ["a.²", "a.99999999999", "a." + "9" * 5000, "a.-1", "a.x", "b"])
def test_what_is_no_place_in_the_state_is_unknown(path: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        render("{{" + path + "}}", {"a": [1]})
    assert refused.value.problem.code == "template.unknown_key"


def test_a_template_grows_to_a_limit() -> None:
    state: dict[str, JsonValue] = {"a": "x" * (LONGEST_TEXT // 4), "b": [1]}
    assert len(render("{{a}}" * 4, state)) == LONGEST_TEXT
    with pytest.raises(InvalidInput) as refused:
        render("{{a}}" * 4 + "{{b.0}}", state)
    assert refused.value.problem.code == "template.too_large"


LOOKS: list[JsonValue] = [{"__overwrite__": 1}, {"__data__": 1}, {"__data__": {"__overwrite__": 1}}]


@pytest.mark.parametrize("value", LOOKS)
def test_data_is_data_whatever_it_looks_like(value: JsonValue) -> None:
    write = as_data(value)
    assert overwritten(write) is None
    assert meant(write) == value
    assert reduce("replace", "k", True, 0, write) == value
    assert reduce("append", "k", True, [0], write) == [0, value]
    once = contribute("replace", "k", None, write)
    assert reduce("replace", "k", True, 0, once) == value
    both = contribute("append", "k", ([0],), write)
    assert reduce("append", "k", False, None, both) == [0, value]


@given(values, values, values)
@settings(max_examples=200)
def test_writes_taken_together_are_writes_one_by_one(
    old: JsonValue, one: JsonValue, two: JsonValue
) -> None:
    names: tuple[ReducerName, ...] = ("append", "union", "replace")
    for name in names:
        before: JsonValue = old if name == "replace" or isinstance(old, list) else [old]
        writes = [as_data(one), as_data(two)]
        expected = before
        for write in writes:
            expected = reduce(name, "k", True, expected, write)
        together = contribute(name, "k", (contribute(name, "k", None, writes[0]),), writes[1])
        assert reduce(name, "k", True, before, together) == expected


plainly_written: st.SearchStrategy[Any] = st.one_of(
    values, messages, removals, st.lists(messages | removals, max_size=3), st.integers()
)
writes: st.SearchStrategy[Any] = plainly_written.map(as_data) | plainly_written.map(
    lambda value: {OVERWRITE: value}
)


@given(
    st.sampled_from(get_args(ReducerName)),
    st.dictionaries(st.just("k"), st.lists(messages, max_size=2) | values),
    st.lists(writes, max_size=6),
)
@settings(max_examples=500)
def test_the_value_after_many_writes_is_the_one_after_each_of_them(
    name: ReducerName, base: dict[str, JsonValue], new: list[JsonValue]
) -> None:
    """Only those that fit when they were made are ever written."""
    present, value = "k" in base, base.get("k")
    line: list[Write] = []
    for at, written in enumerate(new):
        with suppress(InvalidInput):
            value = reduce(name, "k", present, value, written, beside=True)
            present = True
            line.append(Write(at, 0, 0, f"n:{at}", written))
    assert reduced(name, "k", base, line) == value


def test_many_writes_take_no_square_of_their_number() -> None:
    for name in get_args(ReducerName):
        one: JsonValue = {"id": "a"} if name in {"merge", "messages"} else 1
        line = [Write(at, 0, 0, f"n:{at}", one) for at in range(300_000)]
        reduced(name, "k", {}, line)
