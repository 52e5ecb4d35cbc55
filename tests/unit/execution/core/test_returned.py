"""What a function may return, and what it is told if it returned something else."""

from __future__ import annotations

import enum
import itertools
import json
import math
from collections import OrderedDict, UserDict
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from types import MappingProxyType

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, JsonValue, model_serializer

from partsong.contracts.errors import InvalidInput, Problem
from partsong.contracts.graph.function_results import Goto, Overwrite, Route
from partsong.contracts.graph.reducers import reduce
from partsong.contracts.plain import copied, plain
from partsong.execution.core.returned import Content, Returned, capped, content, returned

TEXT = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]))
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=20,
)


class Item(BaseModel):
    name: str
    at: datetime | None = None


class Blob(BaseModel):
    raw: bytes


class Raising(BaseModel):
    @model_serializer
    def dumped(self) -> str:
        raise KeyError("price")


class Colour(enum.StrEnum):
    RED = "red"


class Level(enum.IntEnum):
    HIGH = 3


@dataclass
class Plain:
    x: int


class Array:
    def tolist(self) -> list[int]:
        return [1]


def refused(value: object) -> Problem:
    with pytest.raises(InvalidInput) as caught:
        returned(value)
    assert caught.value.problem.code == "function.bad_return"
    assert caught.value.problem.fault == "tool"
    assert not caught.value.problem.retryable
    return caught.value.problem


def test_none_writes_nothing() -> None:
    assert returned(None) == Returned(None)


def test_a_dict_is_an_update() -> None:
    assert returned({"a": 1}) == Returned({"a": 1})


def test_any_mapping_is_an_update() -> None:
    assert returned(OrderedDict(a=1)) == Returned({"a": 1})
    assert returned(UserDict(a=1)) == Returned({"a": 1})
    assert returned(MappingProxyType({"a": 1})) == Returned({"a": 1})


def test_a_route_has_a_label_and_maybe_an_update() -> None:
    assert returned(Route("left")) == Returned(None, "left")
    assert returned(Route("left", {"a": 1})) == Returned({"a": 1}, "left")


@given(st.dictionaries(TEXT, JSON))
def test_any_json_object_comes_out_as_it_went_in(update: dict[str, JsonValue]) -> None:
    assert returned(update) == Returned(update)
    json.dumps(returned(update).update, allow_nan=False).encode()


def test_models_become_objects_and_tuples_lists() -> None:
    item = Item(name="a", at=datetime(2026, 1, 2, tzinfo=UTC))
    value = {"item": item, "pair": (1, (item,)), "colour": Colour.RED, "level": Level.HIGH}
    written = {"name": "a", "at": "2026-01-02T00:00:00Z"}
    update = returned(value).update
    assert update == {"item": written, "pair": [1, [written]], "colour": "red", "level": 3}
    assert update is not None
    assert [type(update[key]) for key in ("colour", "level")] == [str, int]


def test_only_an_overwrite_overwrites() -> None:
    """A dict that looks like one is somebody's data."""
    looks: JsonValue = {"__overwrite__": []}
    assert returned({"a": Overwrite([1])}).update == {"a": {"__overwrite__": [1]}}
    update = returned({"a": looks, "b": [looks]}).update
    assert update is not None
    assert reduce("append", "a", True, [1], update["a"]) == [1, looks]
    assert reduce("replace", "a", True, [1], update["a"]) == looks
    assert update["b"] == [looks]


def test_what_is_returned_is_a_copy() -> None:
    inner: list[JsonValue] = [1]
    found = returned({"a": inner})
    inner.append(2)
    assert found == Returned({"a": [1]})


@pytest.mark.parametrize(
    ("value", "said", "fix"),
    [
        ({"a": {1, 2}}, "update.a: a set is no JSON value", "use a list: sorted(…)"),
        ({"a": [math.nan]}, "update.a[0]: nan is no JSON number", "use None, or a text"),
        ({"a": {"b": math.inf}}, "update.a.b: inf is no JSON number", "use None, or a text"),
        ({1: "a"}, "update: key 1 is a int", "use text as keys: str(key)"),
        (
            {"a": b"x"},
            "update.a: a bytes is no JSON value",
            "decode it, or store it elsewhere and return its address",
        ),
        (
            {"a": datetime(2026, 1, 1, tzinfo=UTC)},
            "update.a: a datetime.datetime is no JSON value",
            "use .isoformat()",
        ),
        ({"a": Array()}, "update.a: a ", "use .tolist()"),
        ({"a": Plain(1)}, "update.a: a ", "use dataclasses.asdict(…)"),
        ({"a": Decimal(1)}, "update.a: a decimal.Decimal is no JSON value", None),
        ({"a": object()}, "update.a: a object is no JSON value", None),
        ({"a": "\ud800"}, "update.a: the text has a lone surrogate at 0", None),
        ({"a": ["b\0"]}, "update.a[0]: the text has a NUL at 1", None),
        ({"a\0": 1}, "update: the text has a NUL at 1", None),
        ({"a": 2**64}, "update.a: an integer of 65 bits", "make it a text"),
        ({"a": 10**5000}, "update.a: an integer of 16610 bits", "make it a text"),
        (
            {"a": [Blob(raw=b"\xff")]},
            f"update.a[0]: a {__name__}.Blob cannot be written as JSON: Uni",
            None,
        ),
        ({"a": Raising()}, f"update.a: a {__name__}.Raising cannot be written as JSON", None),
        (Route("x", {"a": {1}}), "update.a: a set is no JSON value", None),
        (Route("x\ud800"), "label: the text has a lone surrogate at 1", None),
        (Goto("a", "b\0"), "target: the text has a NUL at 1", None),
    ],
)
def test_what_json_cannot_hold_is_named_by_key_and_type(
    value: object, said: str, fix: str | None
) -> None:
    problem = refused(value)
    assert problem.message.startswith(said)
    assert problem.where is not None
    assert said.startswith(problem.where)
    assert problem.fix == fix or fix is None


def test_what_holds_itself_is_refused() -> None:
    circle: dict[str, object] = {}
    circle["a"] = circle
    assert "nested deeper than 100 levels" in refused(circle).message


def generator() -> Iterator[int]:
    yield 1


async def async_generator() -> AsyncIterator[int]:
    yield 1


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ("text", "returned a str: 'text'"),
        (3, "returned a int: 3"),
        (True, "returned a bool: True"),
        ([{"a": 1}, 2], "returned a list: [{'a': 1}, 2]"),
        (("left", {}), "returned a tuple: ('left', {})"),
        (Item(name="a"), "returned a Item"),
        (generator(), "returned a generator"),
        (async_generator(), "returned a generator"),
        (Route("x", [1]), "returned a Route with a list: [1] as its update"),  # type: ignore[arg-type]
        (Route(""), "returned a Route with the label ''"),
        (Route(3), "returned a Route with the label 3"),  # type: ignore[arg-type]
    ],
)
def test_anything_else_is_refused_with_what_to_return(value: object, said: str) -> None:
    problem = refused(value)
    assert problem.message.startswith(said)
    assert problem.fix is not None


@given(st.dictionaries(TEXT, JSON))
def test_a_private_copy_is_equal_and_shares_nothing(state: dict[str, JsonValue]) -> None:
    before = json.dumps(state)
    copy = copied(state)
    assert copy == state
    spoil(copy)
    assert json.dumps(state) == before


def spoil(value: JsonValue) -> None:
    if isinstance(value, dict):
        for inner in value.values():
            spoil(inner)
        value["spoilt"] = True
    elif isinstance(value, list):
        for inner in value:
            spoil(inner)
        value.append("spoilt")


class TestContent:
    def test_a_tool_may_return_what_pydantic_can_write(self) -> None:
        value = {
            "at": datetime(2026, 1, 2, tzinfo=UTC),
            "plain": Plain(1),
            "set": {1},
            "money": Decimal("1.5"),
        }
        written: JsonValue = {
            "at": "2026-01-02T00:00:00Z",
            "plain": {"x": 1},
            "set": [1],
            "money": "1.5",
        }
        assert content(value, 1000) == Content(written)

    @pytest.mark.parametrize("value", [object(), {"a": math.nan}, generator, {"a": "\ud800"}])
    def test_what_it_cannot_is_refused(self, value: object) -> None:
        with pytest.raises(InvalidInput) as caught:
            content(value, 1000)
        assert caught.value.problem.code == "tool.bad_return"

    def test_a_long_text_is_cut_with_a_note(self) -> None:
        assert capped("abcdef", 4) == "abcd\n[cut: 6 characters in all, these are the first 4]"
        assert capped("abcd", 4) == "abcd"

    def test_a_long_object_becomes_the_beginning_of_its_text(self) -> None:
        value: JsonValue = {"a": "xyz"}
        assert capped(value, 12) == value
        assert capped(value, 5) == '{"a":\n[cut: 12 characters in all, these are the first 5]'


@given(JSON)
def test_plain_leaves_json_alone(value: JsonValue) -> None:
    assert plain(value, "x", "x") == value


def test_a_generator_without_end_is_read_as_far_as_it_is_shown() -> None:
    value = content(count_up(), cap=100).value
    assert isinstance(value, str)
    assert value.startswith("[0, 1, 2,")


def count_up() -> Iterator[int]:
    yield from itertools.count()
