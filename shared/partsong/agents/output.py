"""Structured output: what an answer must look like, and how it is checked."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from pydantic import BaseModel, JsonValue, ValidationError

from partsong.contracts.answers import parsed
from partsong.contracts.errors import InvalidInput, Unavailable

if TYPE_CHECKING:
    from jsonschema.protocols import Validator

__all__ = ["Output", "OutputType", "Unfit", "output_of"]

OutputType: TypeAlias = "type[BaseModel] | Mapping[str, JsonValue] | None"
"""A pydantic model, or the JSON Schema of an object; None is plain text."""

_MOST_FINDINGS = 10


class Unfit(Exception):
    """An answer that does not fit; the text says why, for people and models."""


@dataclass(frozen=True, slots=True)
class Output:
    """What an answer must look like."""

    schema: dict[str, JsonValue]
    model: type[BaseModel] | None = None
    _validator: Validator | None = None

    def read(self, text: str) -> object:
        """The value of an answer that came as text; a fence around it is no harm.

        Raises:
            Unfit: it is not JSON, or does not fit.
        """
        try:
            value = parsed(text)
        except ValueError as error:
            raise Unfit(f"the answer is not JSON: {error}") from error
        return self.check(value)

    def check(self, value: JsonValue) -> object:
        """The value, as the model's instance if there is a model.

        Raises:
            Unfit: it does not fit.
        """
        if self.model is not None:
            try:
                return self.model.model_validate_json(json.dumps(value))
            except ValidationError as error:
                raise Unfit(_said(_of_pydantic(error))) from error
        if self._validator is not None:
            found = [
                (error.json_path, error.message) for error in self._validator.iter_errors(value)
            ]
            if found:
                raise Unfit(_said(found))
        return value


def output_of(wanted: OutputType) -> Output | None:
    """What was asked for, ready to check answers.

    Raises:
        InvalidInput: `output.bad_schema`, for what is no JSON Schema of an object.
        Unavailable: `jsonschema.not_installed`.
    """
    if wanted is None:
        return None
    if isinstance(wanted, type):
        return Output(wanted.model_json_schema(), wanted)
    if wanted.get("type") != "object":
        raise InvalidInput(
            "output.bad_schema",
            f"the answer must be an object, the schema says type {wanted.get('type')!r}",
            where="output.type",
            fix='put it into one: {"type": "object", "properties": {"value": …}, "required": ["value"]}',
        )
    schema = dict(wanted)
    return Output(schema, None, _validator(schema))


def _validator(schema: dict[str, JsonValue]) -> Validator:
    try:
        from jsonschema import SchemaError
        from jsonschema.validators import validator_for
        from referencing import Registry
        from referencing.exceptions import Unresolvable
        from referencing.jsonschema import DRAFT202012
    except ImportError as error:
        raise Unavailable(
            "jsonschema.not_installed",
            "a JSON Schema needs the package 'jsonschema'",
            fix="pip install 'partsong[gateway]', or give a pydantic model",
        ) from error
    kind = validator_for(schema)
    # A registry of its own, that fetches nothing: what is not in the schema is not there.
    registry = Registry().with_resource("", DRAFT202012.create_resource(schema)).crawl()
    try:
        kind.check_schema(schema)
        for reference in _references(schema):
            registry.resolver().lookup(reference)
    except SchemaError as error:
        raise _bad(error.message, f"output{error.json_path[1:]}") from error
    except Unresolvable as error:
        raise _bad(f"{error.ref} does not lead to a part of the schema", "output") from error
    return kind(schema, registry=registry)


def _references(schema: JsonValue) -> Iterator[str]:
    """Every `$ref` in a schema."""
    match schema:
        case dict():
            if isinstance(reference := schema.get("$ref"), str):
                yield reference
            for inner in schema.values():
                yield from _references(inner)
        case list():
            for inner in schema:
                yield from _references(inner)
        case _:
            pass


def _bad(message: str, where: str) -> InvalidInput:
    return InvalidInput("output.bad_schema", message, where=where)


def _of_pydantic(error: ValidationError) -> list[tuple[str, str]]:
    return [
        ("$" + "".join(f"[{p}]" if isinstance(p, int) else f".{p}" for p in e["loc"]), e["msg"])
        for e in error.errors(include_url=False)
    ]


def _said(findings: list[tuple[str, str]]) -> str:
    lines = [f"{where}: {what}" for where, what in findings[:_MOST_FINDINGS]]
    if len(findings) > _MOST_FINDINGS:
        lines.append(f"and {len(findings) - _MOST_FINDINGS} more")
    return "\n".join(lines)
