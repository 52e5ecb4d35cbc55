"""JSON Schemas that others wrote: what is refused, what does not fit, and which checks are cheap."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import JsonValue

from partsong.contracts.errors import InvalidInput
from partsong.contracts.foreign import schema as json_schema
from partsong.contracts.foreign.parts import parts_of
from partsong.contracts.foreign.question import Answers, Fit, NotAnswered, question_of
from partsong.contracts.foreign.size import at_most, depth_within
from partsong.contracts.graph.conform import check_schema, check_state, check_value

TREE: dict[str, JsonValue] = {
    "$defs": {"t": {"properties": {"kids": {"items": {"$ref": "#/$defs/t"}}}, "type": "object"}},
    "$ref": "#/$defs/t",
}


def doubling(levels: int, of: str = "allOf") -> dict[str, JsonValue]:
    """As many parts as there are paths to its end."""
    twice: dict[str, JsonValue] = {
        f"l{i}": {of: [{"$ref": f"#/$defs/l{i + 1}"}, {"$ref": f"#/$defs/l{i + 1}"}]}
        for i in range(levels)
    }
    return {"$defs": {**twice, f"l{levels}": {"type": "integer"}}, "$ref": "#/$defs/l0"}


def nested(levels: int) -> dict[str, JsonValue]:
    schema: dict[str, JsonValue] = {"type": "integer"}
    for _ in range(levels):
        schema = {"items": schema}
    return schema


@pytest.mark.parametrize(
    ("schema", "where", "said"),
    [
        ({"properties": {"a": {"type": "text"}}}, "properties.a.type", "text"),
        ({"properties": {"a": {"$ref": "#/$defs/no"}}}, "properties.a.$ref", "#/$defs/no"),
        ({"items": {"$ref": "http://127.0.0.1:9/x"}}, "items.$ref", "does not lead to a part"),
        ({"items": {"$ref": "file:///etc/passwd"}}, "items.$ref", "does not lead to a part"),
        ({"pattern": "^(?=a)"}, "pattern", "linear time"),
        ({"properties": {"a": {"pattern": r"(a)\1"}}}, "properties.a.pattern", "linear time"),
        ({"pattern": "^(a{0,1000}){0,1000}$"}, "pattern", "linear time"),
        ({"anyOf": [{"pattern": rf"^(\p{{L}}|x){{1,{n + 9}}}$"} for n in range(20)]}, "", "large"),
        (nested(70), "", "64 levels"),
        ({"enum": ["x" * 70_000]}, "", "65,536 bytes"),
        (doubling(24), "", "10,000 parts"),
        ({"const": "\ud800"}, "", "Unicode"),
    ],
)
def test_what_is_no_schema_is_refused_where_it_stands(
    schema: dict[str, JsonValue], where: str, said: str
) -> None:
    with pytest.raises(InvalidInput) as refused:
        check_schema(schema, "answer")
    problem = refused.value.problem
    assert problem.code == "schema.invalid"
    assert (problem.where or "").startswith(f"answer.{where}".rstrip("."))
    assert said in problem.message


@pytest.mark.parametrize(
    "schema",
    [
        TREE,
        {"$schema": "http://json-schema.org/draft-07/schema#", "type": "object"},
        {"$schema": "https://example.com/of-our-own", "type": "object"},
        {"properties": {"$ref": {"type": "string"}, "pattern": {"const": {"$ref": "nowhere"}}}},
        {"properties": {f"p{i}": {"$ref": "#/$defs/money"} for i in range(100)}, "$defs": {"money": {}}},
        {"pattern": r"^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{12}$"},
        doubling(10),
        {},
    ],
)  # fmt: skip
def test_what_people_write_is_taken(schema: dict[str, JsonValue]) -> None:
    check_schema(schema, "answer")


@pytest.mark.parametrize(
    ("schema", "value", "where"),
    [
        ({"type": "integer"}, "a", "payload"),
        ({"properties": {"a": {"items": {"type": "string"}}}}, {"a": ["x", 1]}, "payload.a[1]"),
        (TREE, {"kids": [{"kids": []}, {"kids": [5]}]}, "payload.kids[1].kids[0]"),
        ({"pattern": "^([a-z]+-?)+$"}, "a" * 41 + "!", "payload"),
        ({"type": "number"}, float("nan"), "payload"),
        ({"type": "integer"}, "\ud800", "payload"),
    ],
)
def test_what_does_not_fit_is_found(schema: Any, value: JsonValue, where: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        check_value(schema, value, "payload", "signal.invalid")
    assert (refused.value.problem.code, refused.value.problem.where) == ("signal.invalid", where)


STATE_SCHEMA: dict[str, JsonValue] = {
    "properties": {"n": {"type": "integer"}, "m": {"$ref": "#/properties/n"}},
    "required": ["n", "m"],
    "additionalProperties": False,
}


def test_a_state_is_checked_key_by_key() -> None:
    check_state(STATE_SCHEMA, {"n": 1})
    check_state(STATE_SCHEMA, {"m": 1})
    with pytest.raises(InvalidInput, match=r"state\.m: ") as refused:
        check_state(STATE_SCHEMA, {"n": 1, "m": "x"})
    assert refused.value.problem.where == "state.m"
    with pytest.raises(InvalidInput, match=r"there are: m, n"):
        check_state(STATE_SCHEMA, {"x": 1})
    check_state({**STATE_SCHEMA, "patternProperties": {"^x_": {"type": "string"}}}, {"x_a": "a"})


@pytest.mark.parametrize(
    ("schema", "value", "cheap"),
    [
        ({"type": "object", "properties": {"a": {"pattern": "^[a-z]+$"}}}, {"a": "b" * 900}, True),
        ({"pattern": "^[a-z]+$"}, "b" * 100_000, False),
        ({"pattern": "^(a{0,1000}){0,9}$"}, "a", False),
        (TREE, {}, False),
        (doubling(10), 1, True),
        (doubling(10), [1] * 1000, False),
        ({"uniqueItems": True}, [1] * 10_000, True),
        ({"uniqueItems": True}, [1] * 40_000, False),
        ({"pattern": "^(?=a)"}, "a", False),
        ({"anyOf": [{"items": {"type": "string"}}] * 100}, ["a"] * 300, True),
        ({"anyOf": [{"items": {"type": "string"}}] * 100}, [1] * 300, False),
        (doubling(12, "oneOf"), "a", False),
        ({"anyOf": [{"type": "string"}, {"type": "null"}]}, 1, True),
        ({"items": {"enum": [[n] for n in range(3000)]}}, [[2999]] * 3000, False),
        ({"anyOf": [{"type": "string"}]}, "\ud800", True),
    ],
)
def test_a_check_is_cheap_if_its_parts_and_the_value_are_few(
    schema: Any, value: JsonValue, cheap: bool
) -> None:
    question = Fit(schema, value)
    assert (question.cost() is not None) is cheap
    assert question_of(question.wire()) == question
    if not cheap:
        with pytest.raises(NotAnswered):
            Answers()(question)


def test_of_a_large_value_only_the_first_finding_is_listed() -> None:
    """The list of all would have ten million."""
    wanted: JsonValue = {"allOf": [{"items": {"minimum": 10**6 + i}} for i in range(1000)]}
    assert len(json_schema.findings(wanted, list(range(10_000)), 10)) == 1
    ones: list[JsonValue] = [1] * 30
    assert len(json_schema.findings({"items": {"type": "string"}}, ones, 10)) == 10


def test_a_pattern_that_looks_around_still_works_for_graphs_that_have_it() -> None:
    assert json_schema.findings({"pattern": "^(?=a)"}, "ab") == []
    assert len(json_schema.findings({"pattern": "^(?=a)"}, "b")) == 1
    with pytest.raises(InvalidInput, match="does not lead"):
        json_schema.findings({"pattern": "^(?=a)", "items": {"$ref": "#/no"}}, ["b"])


def test_a_schema_that_contains_itself_has_no_number_of_parts() -> None:
    assert parts_of(TREE) is None
    assert parts_of({"$ref": "#"}) is None
    assert parts_of({"$id": "https://a.b/c", "items": {"$id": "d"}}) is None
    assert parts_of(doubling(3)) == 30


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3), inner, max_size=4)
    ),
    max_leaves=30,
)


@given(json_values, st.integers(0, 200))
@settings(max_examples=200)
def test_a_value_is_small_up_to_one_size(value: JsonValue, most: int) -> None:
    assert at_most(value, most) <= at_most(value, most + 1)
    assert at_most(value, 100_000)


def deep(value: JsonValue) -> int:
    if isinstance(value, list):
        return 1 + max(map(deep, value), default=0)
    if isinstance(value, dict):
        return 1 + max(map(deep, value.values()), default=0)
    return 0


@given(json_values)
@settings(max_examples=200)
def test_depth_is_counted_without_going_down(value: JsonValue) -> None:
    assert depth_within(value, deep(value))
    assert deep(value) == 0 or not depth_within(value, deep(value) - 1)


def test_depth_of_what_nobody_could_descend_into() -> None:
    value: JsonValue = 1
    for _ in range(100_000):
        value = [value]
    assert not depth_within(value, 64)
