"""JSON Schemas for structured answers, and values that fit them."""

from __future__ import annotations

from typing import Literal

import pytest
from pydantic import BaseModel, Field, JsonValue

from partsong.models.core.schema import (
    CLAUDE,
    OPENAI,
    closed,
    is_closed,
    is_strict,
    portable,
    sample,
)


class Finding(BaseModel):
    """A nested object."""

    title: str = Field(max_length=8)
    severity: Literal["low", "high"]


class Report(BaseModel):
    """A schema as users write them."""

    summary: str
    findings: list[Finding]
    score: int = Field(ge=3)
    done: bool
    note: str | None


def test_every_object_is_closed_also_in_definitions() -> None:
    schema = closed(Report.model_json_schema())
    assert schema["additionalProperties"] is False
    definitions = schema["$defs"]
    assert isinstance(definitions, dict)
    assert definitions["Finding"] == {**Finding.model_json_schema(), "additionalProperties": False}
    assert is_strict(schema)


def test_a_map_stays_open() -> None:
    schema: dict[str, JsonValue] = {"type": "object", "additionalProperties": {"type": "integer"}}
    assert closed(schema) == schema
    assert not is_strict(schema)


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "object", "properties": {"a": {}}, "required": ["a"]},
        {"type": "object", "properties": {"a": {}}, "additionalProperties": False},
        {"type": "array", "items": {"type": "object"}},
    ],
)
def test_an_open_or_optional_object_is_not_strict(schema: JsonValue) -> None:
    assert not is_strict(schema)


def test_a_sample_fits_the_schema_it_was_made_for() -> None:
    value = sample(Report.model_json_schema(), "a longer text")
    report = Report.model_validate(value)
    assert report.summary == "a longer text"
    assert report.findings == [Finding(title="a longer", severity="low")]
    assert (report.score, report.done) == (3, True)


@pytest.mark.parametrize(
    "inner",
    [
        {"type": "object", "additionalProperties": {"type": "integer"}},
        {"type": "object"},
        {"title": "Anything"},
        {"allOf": [{"type": "string"}]},
        {"type": "array", "items": {}},
        {"anyOf": [{"type": "null"}, {}]},
        True,
    ],
)
def test_what_leaves_something_open_is_not_closed(inner: JsonValue) -> None:
    fine: JsonValue = {"type": "string", "minLength": 1}
    for value, kept in ((fine, True), (inner, False)):
        schema: dict[str, JsonValue] = {"type": "object", "properties": {"x": value}}
        assert is_closed(closed(schema)) is kept


@pytest.mark.parametrize("known", [CLAUDE, OPENAI])
def test_a_schema_in_fewer_keywords_still_says_everything(known: frozenset[str]) -> None:
    schema = portable(Report.model_json_schema(), known)
    assert is_strict(schema)
    title = schema["$defs"]["Finding"]["properties"]["title"]  # type: ignore[index, call-overload]  # JSON
    assert title == {"type": "string", "title": "Title", "description": "(maxLength: 8)"}


def test_a_schema_that_is_a_reference_is_what_it_refers_to() -> None:
    class Tree(BaseModel):
        children: list[Tree]

    reference: dict[str, JsonValue] = {
        "$ref": "#/$defs/Tree",
        "$defs": {"Tree": Tree.model_json_schema()["$defs"]["Tree"]},
    }
    schema = portable(reference, OPENAI)
    assert schema["type"] == "object"
    assert schema["properties"] == {
        "children": {"items": {"$ref": "#/$defs/Tree"}, "title": "Children", "type": "array"}
    }
    assert is_strict(schema)


def test_a_value_of_several_kinds_and_its_description_are_kept() -> None:
    schema: dict[str, JsonValue] = {
        "oneOf": [{"type": "null"}, {"$ref": "#/x", "description": "X."}],
        "default": None,
    }
    assert portable(schema, CLAUDE) == {
        "anyOf": [{"type": "null"}, {"description": "X.", "anyOf": [{"$ref": "#/x"}]}],
        "description": "(default: null)",
    }


def test_a_list_that_says_it_may_be_empty_is() -> None:
    names: dict[str, JsonValue] = {"type": "array", "items": {"type": "string"}}
    assert sample(names, "ann") == ["ann"]
    assert sample({**names, "minItems": 0}, "ann") == []
