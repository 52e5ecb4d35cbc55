"""JSON Schemas as the providers want them for structured answers."""

from __future__ import annotations

import json
from collections.abc import Mapping
from itertools import chain

from pydantic import JsonValue

__all__ = ["CLAUDE", "OPENAI", "closed", "in_words", "is_closed", "is_strict", "portable", "sample"]

_NESTED_LIST = ("anyOf", "allOf", "oneOf", "prefixItems")
_NESTED_MAP = ("properties", "$defs", "definitions")
_LOOSE = frozenset(
    {"allOf", "not", "if", "patternProperties", "prefixItems", "unevaluatedProperties"}
)
"""Keywords with which a schema cannot be kept to."""
_COMMON = frozenset(
    [
        "type",
        "properties",
        "required",
        "additionalProperties",
        "items",
        "anyOf",
        "enum",
        "const",
        "description",
        "title",
        "$defs",
        "definitions",
        "$ref",
    ]
)
_KINDS = frozenset({"type", "anyOf", "oneOf", "enum", "const", "$ref"})
"""Keywords of which a value's schema has one, if it says what the value is."""
CLAUDE = _COMMON
"""Keywords of structured output that Anthropic knows; others are an error."""
OPENAI = _COMMON | frozenset(
    [
        "pattern",
        "minimum",
        "maximum",
        "exclusiveMinimum",
        "exclusiveMaximum",
        "multipleOf",
        "minItems",
        "maxItems",
    ]
)
"""Keywords that OpenAI knows in strict schemas; others are an error."""


def in_words(schema: Mapping[str, JsonValue]) -> str:
    """The schema as an order to the model, for APIs that keep nobody to it: they refuse it, or know none at all."""
    told = "Answer with nothing but one JSON value that fits this JSON Schema:"
    return f"{told}\n{json.dumps(closed(schema))}"


def closed(schema: Mapping[str, JsonValue]) -> dict[str, JsonValue]:
    """The schema with every object that lists its properties closed to others, as structured output demands."""
    result: dict[str, JsonValue] = {}
    for key, value in schema.items():
        if key in _NESTED_MAP and isinstance(value, dict):
            result[key] = {name: _closed(inner) for name, inner in value.items()}
        elif key in _NESTED_LIST and isinstance(value, list):
            result[key] = [_closed(inner) for inner in value]
        elif key in {"items", "additionalProperties"}:
            result[key] = _closed(value)
        else:
            result[key] = value
    if "properties" in schema:
        result.setdefault("additionalProperties", False)
    return result


def _closed(value: JsonValue) -> JsonValue:
    return closed(value) if isinstance(value, dict) else value


def portable(schema: Mapping[str, JsonValue], known: frozenset[str]) -> dict[str, JsonValue]:
    """The schema, closed, in the keywords `known`; what it says in others the model may read in the description.

    A vendor that keeps a model to a schema refuses one with a keyword that it does not know: `minLength` is enough.
    The answer is checked against the whole schema anyway.
    """
    root = closed(schema)
    if isinstance(reference := root.get("$ref"), str) and isinstance(
        found := _resolve(reference, dict(schema)), dict
    ):
        root = {
            **closed(found),
            **{name: root[name] for name in ("$defs", "definitions") if name in root},
        }
    return _portable(root, known)


def _portable(schema: dict[str, JsonValue], known: frozenset[str]) -> dict[str, JsonValue]:
    result: dict[str, JsonValue] = {}
    told: dict[str, JsonValue] = {}
    for key, value in schema.items():
        if key in _NESTED_MAP and isinstance(value, dict):
            result[key] = {name: _ported(inner, known) for name, inner in value.items()}
        elif key in {"anyOf", "oneOf"} and isinstance(value, list):
            result["anyOf"] = [_ported(inner, known) for inner in value]
        elif key in {"items", "additionalProperties"}:
            result[key] = _ported(value, known)
        elif key in known:
            result[key] = value
        elif key != "discriminator":
            told[key] = value
    if told:
        said = ", ".join(
            f"{key}: {json.dumps(value, ensure_ascii=False)}" for key, value in told.items()
        )
        result["description"] = f"{result.get('description', '')} ({said})".strip()
    if "$ref" in result and len(result) > 1:  # a reference stands alone
        result["anyOf"] = [{"$ref": result.pop("$ref")}]
    return result


def _ported(value: JsonValue, known: frozenset[str]) -> JsonValue:
    return _portable(value, known) if isinstance(value, dict) else value


def is_closed(schema: JsonValue) -> bool:
    """Whether a schema says all that there may be: of every object its properties, of every value its kind."""
    if not isinstance(schema, dict) or _LOOSE & schema.keys() or not _KINDS & schema.keys():
        return False
    is_object = schema.get("type") == "object" or "properties" in schema
    if is_object and schema.get("additionalProperties") is not False:
        return False
    maps = [inner.values() for key in _NESTED_MAP if isinstance(inner := schema.get(key), dict)]
    lists = [inner for key in ("anyOf", "oneOf") if isinstance(inner := schema.get(key), list)]
    items = [schema["items"]] if "items" in schema else []
    return all(is_closed(inner) for inner in chain(items, *maps, *lists))


def is_strict(schema: JsonValue) -> bool:
    """Whether every object is closed and requires all its properties: only then may `strict` be asked for."""
    if isinstance(schema, list):
        return all(is_strict(inner) for inner in schema)
    if not isinstance(schema, dict):
        return True
    if _LOOSE & schema.keys():
        return False
    properties = schema.get("properties")
    if isinstance(properties, dict) or schema.get("type") == "object":
        required = schema.get("required")
        names = set(properties) if isinstance(properties, dict) else set()
        listed = set(required) if isinstance(required, list) else set()
        if schema.get("additionalProperties") is not False or names != listed:
            return False
    return all(is_strict(inner) for inner in schema.values())


def sample(schema: JsonValue, text: str, root: JsonValue = None) -> JsonValue:
    """The plainest value that fits a schema; where text may stand, it is `text`.

    A list has one element, unless the schema says that it may have none.
    """
    if not isinstance(schema, dict):
        return text
    root = schema if root is None else root
    for known in ("const", "default"):
        if known in schema:
            return schema[known]
    choices = schema.get("enum") or schema.get("examples")
    if isinstance(choices, list) and choices:
        return choices[0]
    if isinstance(reference := schema.get("$ref"), str):
        return sample(_resolve(reference, root), text, root)
    for combined in _NESTED_LIST:
        if isinstance(options := schema.get(combined), list) and options:
            return sample(options[0], text, root)
    return _plain(schema, text, root)


def _plain(schema: dict[str, JsonValue], text: str, root: JsonValue) -> JsonValue:
    kind = schema.get("type")
    match kind[0] if isinstance(kind, list) and kind else kind:
        case "object":
            properties = schema.get("properties")
            fields = properties if isinstance(properties, dict) else {}
            return {name: sample(inner, text, root) for name, inner in fields.items()}
        case "array":
            may_be_empty = schema.get("minItems") == 0
            return [] if may_be_empty else [sample(schema.get("items"), text, root)]
        case "integer" | "number":
            least = schema.get("minimum")
            return least if isinstance(least, int | float) else 1
        case "boolean":
            return True
        case "null":
            return None
        case _:
            longest = schema.get("maxLength")
            return text[:longest] if isinstance(longest, int) else text


def _resolve(reference: str, root: JsonValue) -> JsonValue:
    value = root
    for name in reference.removeprefix("#/").split("/"):
        value = value.get(name) if isinstance(value, dict) else None
    return value
