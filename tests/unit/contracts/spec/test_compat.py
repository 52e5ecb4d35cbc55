"""Contracts grow, they do not break: each rule by an example, and their sum by trying."""

from __future__ import annotations

import copy
import itertools
import json
from typing import Any, Literal, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ConfigDict, Field, ValidationError, create_model
from pydantic.config import ExtraValues

from partsong.contracts.spec.compat import incompatible
from partsong.contracts.spec.schemas import Schema, published

PUBLISHED = {schema.path: schema.schema for schema in published()}

_EXTRA: tuple[ExtraValues, ...] = ("allow", "allow", "allow", "allow", "allow", "forbid")


class Cat(BaseModel):
    kind: Literal["cat"]
    lives: int = 9


class Dog(BaseModel):
    kind: Literal["dog"]


class Base(BaseModel):
    """Version 1 of the contract that the rules are tried on."""

    name: str
    mood: Literal["good", "bad"] = "good"
    size: int = Field(default=1, ge=0, le=10)
    notes: tuple[str, ...] = ()
    labels: dict[str, str] = Field(default_factory=dict)
    pet: Cat | Dog | None = None


def made(**changes: tuple[Any, Any]) -> type[BaseModel]:
    return create_model("Base", __base__=Base, **cast("dict[str, Any]", changes))


def without(name: str) -> Schema:
    schema = Base.model_json_schema()
    del schema["properties"][name]
    schema["required"] = [other for other in schema["required"] if other != name]
    return schema


def refusals(
    old: type[BaseModel] | Schema, new: type[BaseModel] | Schema
) -> list[tuple[str, str | None]]:
    documents = [s if isinstance(s, dict) else s.model_json_schema() for s in (old, new)]
    found = incompatible({"thing/v1.json": documents[0]}, {"thing/v1.json": documents[1]}, ())
    return [(problem.code, problem.where) for problem in found]


ALLOWED = {
    "nothing changed": Base,
    "a new field with a default": made(extra=(int, 0)),
    "a new field that may be null": made(extra=(str | None, None)),
    "a wider enumeration": made(mood=(Literal["good", "bad", "odd"], "good")),
    "any text for an enumeration": made(mood=(str, "good")),
    "a wider bound": made(size=(int, Field(default=1, ge=-1, le=11))),
    "no bound": made(size=(int, 1)),
    "a number for an integer": made(size=(float, Field(default=1, ge=0, le=10))),
    "null as well": made(name=(str | None, ...)),
    "a field that may now be missing": made(name=(str, "nobody")),
    "another member of a union": made(pet=(Cat | Dog | int | None, None)),
    "anything instead of text": made(name=(Any, ...)),
}


@pytest.mark.parametrize("new", ALLOWED.values(), ids=ALLOWED)
def test_a_contract_may_grow(new: type[BaseModel]) -> None:
    assert refusals(Base, new) == []


REFUSED: dict[str, tuple[type[BaseModel] | Schema, str, str]] = {
    "a field is gone": (without("size"), "removed", ".size"),
    "a required field is gone": (without("name"), "removed", ".name"),
    "another type": (made(name=(int, ...)), "type_changed", ".name"),
    "another type of the elements": (made(notes=(tuple[int, ...], ())), "type_changed", ".notes[]"),
    "another type of the values": (
        made(labels=(dict[str, int], Field(default_factory=dict))),
        "type_changed",
        ".labels.*",
    ),
    "a new field that is required": (made(extra=(int, ...)), "required", ".extra"),
    "a field that is now required": (made(mood=(Literal["good", "bad"], ...)), "required", ".mood"),
    "fewer values": (made(mood=(Literal["good"], "good")), "narrowed", ".mood"),
    "a tighter lower bound": (made(size=(int, Field(default=1, ge=1, le=10))), "narrowed", ".size"),
    "an exclusive bound": (made(size=(int, Field(default=1, gt=0, le=10))), "narrowed", ".size"),
    "a tighter upper bound": (made(size=(int, Field(default=1, ge=0, le=9))), "narrowed", ".size"),
    "a pattern": (made(name=(str, Field(pattern="^a"))), "narrowed", ".name"),
    "a shortest length": (made(name=(str, Field(min_length=1))), "narrowed", ".name"),
    "another default": (made(size=(int, Field(default=2, ge=0, le=10))), "default_changed", ".size"),
    "no null any more": (made(pet=(Cat | Dog, Dog(kind="dog"))), "narrowed", ".pet"),
    "a member of a union is gone": (made(pet=(Cat | None, None)), "narrowed", ".pet"),
    "text for a number": (made(size=(str, "1")), "type_changed", ".size"),
}  # fmt: skip


@pytest.mark.parametrize(("new", "code", "where"), REFUSED.values(), ids=REFUSED)
def test_a_contract_may_not_break(new: type[BaseModel] | Schema, code: str, where: str) -> None:
    assert (f"schema.{code}", f"thing/v1.json{where}") in refusals(Base, new)


def test_a_change_inside_a_member_of_a_union_is_found_in_its_place() -> None:
    class Shy(BaseModel):
        kind: Literal["cat"]
        lives: str = "9"

    Shy.__name__ = "Cat"
    old = Base.model_json_schema()
    new = copy.deepcopy(old)
    new["$defs"]["Cat"]["properties"]["lives"] = {"type": "string", "default": "9"}
    assert ("schema.type_changed", "thing/v1.json.pet.lives") in refusals(old, new)


def test_an_object_that_is_closed_now_is_refused() -> None:
    class Closed(Base):
        model_config = ConfigDict(extra="forbid")

    assert ("schema.narrowed", "thing/v1.json.*") in refusals(Base, Closed)


def test_a_keyword_nobody_knows_is_not_silently_fine() -> None:
    old: Schema = {"type": "string"}
    assert refusals(old, {"type": "string", "not": {"const": "x"}}) == [
        ("schema.unknown_keyword", "thing/v1.json")
    ]
    assert refusals(old, {"anyOf": [{"type": "string"}], "maxLength": 3}) == [
        ("schema.unknown_keyword", "thing/v1.json")
    ]


def test_what_stands_under_a_pattern_of_names_is_compared() -> None:
    old: Schema = {"type": "object", "patternProperties": {"^a": {"type": "string"}}}
    assert refusals(old, old) == []
    new: Schema = {"type": "object", "patternProperties": {"^a": {"type": "integer"}}}
    assert refusals(old, new) == [("schema.type_changed", "thing/v1.json.*")]
    assert refusals({"type": "object"}, new) == [("schema.type_changed", "thing/v1.json.*")]


def test_a_recursive_schema_is_compared_once_and_to_its_end() -> None:
    tree: dict[str, Any] = {
        "$defs": {
            "Tree": {
                "type": "object",
                "properties": {
                    "value": {"type": "integer"},
                    "below": {"type": "array", "items": {"$ref": "#/$defs/Tree"}},
                },
            }
        },
        "$ref": "#/$defs/Tree",
    }
    assert refusals(tree, tree) == []
    other = copy.deepcopy(tree)
    other["$defs"]["Tree"]["properties"]["value"] = {"type": "string"}
    assert refusals(tree, other) == [("schema.type_changed", "thing/v1.json.value")]


def test_a_new_kind_is_allowed_and_a_lost_one_is_not() -> None:
    one: dict[str, Schema] = {"a/v1.json": {}}
    two: dict[str, Schema] = {**one, "b/v1.json": {}}
    assert list(incompatible(one, two, ())) == []
    assert [p.where for p in incompatible(two, one, ())] == ["b/v1.json"]


def test_a_new_version_may_change_everything_if_the_old_one_can_be_read() -> None:
    old: dict[str, Schema] = {"a/v1.json": {"type": "string"}}
    new: dict[str, Schema] = {"a/v3.json": {"type": "integer"}}
    assert list(incompatible(old, new, {("a", 1), ("a", 2)})) == []
    (missing,) = incompatible(old, new, {("a", 1)})
    assert missing.code == "schema.no_upcaster"
    assert "turns version 2 into 3" in missing.message
    assert missing.fix is not None
    assert "('a', 2)" in missing.fix


def test_versions_only_grow() -> None:
    (found,) = incompatible({"a/v2.json": {}}, {"a/v1.json": {}}, ())
    assert "was at version 2, now it is at 1" in found.message


def test_what_is_published_may_follow_itself() -> None:
    assert len(PUBLISHED) == len(published()), "two schemas have the same path"
    assert list(incompatible(PUBLISHED, json.loads(json.dumps(PUBLISHED)), ())) == []


def test_losing_any_field_of_anything_published_is_refused() -> None:
    for path, schema in PUBLISHED.items():
        new = copy.deepcopy(schema)
        by_name: dict[str, list[dict[str, Any]]] = {}
        for fields in _own_properties(path, new):
            for name in fields:
                by_name.setdefault(name, []).append(fields)
        for places in itertools.zip_longest(*by_name.values()):
            losses = [(name, place) for name, place in zip(by_name, places, strict=True) if place]
            missed = _missed(path, new, losses)
            for name, fields in losses:  # one loss can hide another that is below it
                assert name in missed or name in _missed(path, new, [(name, fields)]), (
                    f"{path}: {name}"
                )


def _missed(path: str, new: Schema, losses: list[tuple[str, dict[str, Any]]]) -> set[str]:
    """The names that are found to be gone when all these are; no name is in `losses` twice."""
    kept = [(fields, name, fields.pop(name)) for name, fields in losses]
    found = list(incompatible({path: PUBLISHED[path]}, {path: new}, ()))
    for fields, name, value in kept:
        fields[name] = value
    return {
        (problem.where or "").rpartition(".")[2]
        for problem in found
        if problem.code == "schema.removed"
    }


def _own_properties(path: str, schema: Any) -> list[dict[str, Any]]:
    """The fields of a schema; those of a definition that several share are one schema's to lose."""
    published: dict[str, Any] = PUBLISHED
    shared = {
        name for other in published for name in published[other].get("$defs", {}) if other < path
    }
    own = {name: value for name, value in schema.get("$defs", {}).items() if name not in shared}
    return _all_properties({**schema, "$defs": own})


def _all_properties(value: Any) -> list[dict[str, Any]]:
    if not isinstance(value, dict):
        return []
    own = [value["properties"]] if isinstance(value.get("properties"), dict) else []
    reachable = value.get("$defs", {}).values()
    inner = value.get("properties", {}).values() if own else []
    return own + [found for part in [*reachable, *inner] for found in _all_properties(part)]


# The sum of the rules: whatever the checker lets pass reads everything that the old contract could write.

_TYPES: list[tuple[Any, st.SearchStrategy[Any]]] = [
    (int, st.integers(-5, 5)),
    (float, st.floats(-5, 5)),
    (str, st.sampled_from(["", "a", "b", "ab"])),
    (bool, st.booleans()),
    (int | None, st.none() | st.integers(-5, 5)),
    (int | str, st.integers(-5, 5) | st.sampled_from(["", "a"])),
    (list[int], st.lists(st.integers(-5, 5), max_size=3)),
    (list[str | None], st.lists(st.none() | st.just("a"), max_size=3)),
    (dict[str, int], st.dictionaries(st.just("k"), st.integers(-5, 5))),
    (Literal["a", "b"], st.sampled_from(["a", "b"])),
    (Literal["a"], st.just("a")),
    (Cat, st.just({"kind": "cat"}) | st.just({"kind": "cat", "lives": 3})),
    (Cat | Dog, st.just({"kind": "cat", "lives": 1}) | st.just({"kind": "dog"})),
]
_BOUNDED: list[tuple[Any, st.SearchStrategy[Any]]] = [
    (cast("Any", Field(ge=-1, le=4)), st.integers(-1, 4)),
    (cast("Any", Field(gt=-1, lt=4)), st.integers(0, 3)),
    (cast("Any", Field(ge=0)), st.integers(0, 5)),
]


@st.composite
def fields(draw: st.DrawFn) -> tuple[Any, st.SearchStrategy[Any]]:
    """A field as pydantic takes it, and what it can be written as."""
    if draw(st.booleans()):
        kind, values = draw(st.sampled_from(_TYPES))
        return ((kind | None, None) if draw(st.booleans()) else (kind, ...)), values
    bound, values = draw(st.sampled_from(_BOUNDED))
    return (int, copy.copy(bound)), values


@st.composite
def successions(
    draw: st.DrawFn,
) -> tuple[type[BaseModel], type[BaseModel], dict[str, st.SearchStrategy[Any]]]:
    """A contract, another that resembles it, and what the first one's fields can be written as."""
    before: dict[str, Any] = {}
    after: dict[str, Any] = {}
    values: dict[str, st.SearchStrategy[Any]] = {}
    for name in draw(st.sampled_from(["x", "x", "x", "xy"])):
        before[name], values[name] = draw(fields())
        after[name] = draw(fields())[0]
    if draw(st.integers(0, 5)) == 0:
        after["more"] = draw(fields())[0]
    extra: ExtraValues = draw(st.sampled_from(_EXTRA))
    old, new = (
        create_model(
            "Thing",
            __config__=ConfigDict(strict=True, extra=extra),
            **kinds,
        )
        for kinds in (before, after)
    )
    return old, new, values


@given(successions(), st.data())
def test_what_passes_reads_everything_the_old_contract_could_write(
    succession: tuple[type[BaseModel], type[BaseModel], dict[str, st.SearchStrategy[Any]]],
    data: st.DataObject,
) -> None:
    old, new, values = succession
    if refusals(old, new):
        return
    text = json.dumps({name: data.draw(strategy) for name, strategy in values.items()})
    old.model_validate_json(text)
    try:
        new.model_validate_json(text)
    except ValidationError as error:
        raise AssertionError(f"let pass, but cannot read {text}: {error}") from None
