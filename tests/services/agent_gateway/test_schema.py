"""JSON Schemas for structured answers, and values that fit them."""

from __future__ import annotations

from typing import Literal

import pytest
from pydantic import BaseModel, Field, JsonValue

from partsong.agent_gateway.core.schema import closed, is_strict, sample


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


def test_a_list_that_says_it_may_be_empty_is() -> None:
    names: dict[str, JsonValue] = {"type": "array", "items": {"type": "string"}}
    assert sample(names, "ann") == ["ann"]
    assert sample({**names, "minItems": 0}, "ann") == []
