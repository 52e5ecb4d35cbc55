"""JSON Schemas of everything that travels, for readers and writers in any language.

They are made from the same models that this program reads and writes with, so they cannot say anything else. One file
per kind and version; a version that was released stays as it was, for the log is kept for ever.
"""

from __future__ import annotations

import ast
import copy
import functools
import inspect
import itertools
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal, cast, get_args

from pydantic import BaseModel, JsonValue
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import core_schema

from partsong.contracts.errors import Problem
from partsong.contracts.events import EVENTS, EventBase
from partsong.contracts.graph import Graph
from partsong.contracts.talk.chunks import Chunk
from partsong.contracts.talk.messages import ToolSpec
from partsong.contracts.wire.requests import Accepted, Rejected, Request
from partsong.contracts.wire.stop import Stop
from partsong.contracts.wire.work import Work

__all__ = ["DIALECT", "Family", "Published", "Schema", "published", "schema_of"]

DIALECT = "https://json-schema.org/draft/2020-12/schema"
Schema = dict[str, JsonValue]
Family = Literal["event", "record", "request", "reply", "chunk", "work", "graph", "tool", "error"]

_META = ("id", "type", "v", "time", "cause")


@dataclass(frozen=True, slots=True)
class Published:
    """One schema that others may rely on."""

    family: Family
    kind: str
    """`run.started`, `request.run`, `chunk.text`: unique over all families."""
    version: int
    schema: Schema

    @property
    def path(self) -> str:
        """Its file below the folder of schemas."""
        return f"{self.kind}/v{self.version}.json"


@functools.cache
def published() -> tuple[Published, ...]:
    """All schemas of this version of Partsong, in an order that does not change by itself. Not to be changed."""
    return tuple(_all())


def _all() -> Iterator[Published]:
    for kind, model in EVENTS.items():
        version = get_args(model.model_fields["v"].annotation)[0]
        yield Published("event", kind, version, _event(kind, version, model))
    yield Published("record", "commit", 1, _record("commit", _COMMIT))
    yield Published("record", "report", 1, _record("report", {}))
    for request in get_args(Request):
        verb = request.__name__.removesuffix("Request").lower()
        yield Published("request", f"request.{verb}", 1, _model(f"request.{verb}", request))
    for reply in (Accepted, Rejected):
        kind = str(reply.model_fields["type"].default)
        yield Published("reply", kind, 1, _model(kind, reply, always=("type",)))
    for chunk in _members(Chunk):
        kind = f"chunk.{chunk.model_fields['kind'].default}"
        always = ("kind", "call_id", "attempt", "seq")
        yield Published("chunk", kind, 1, _model(kind, chunk, always=always))
    for work in _members(Work):
        kind = f"work.{work.model_fields['kind'].default}"
        yield Published("work", kind, 1, _model(kind, work, always=("kind",)))
    yield Published("work", "stop", 1, _model("stop", Stop))
    yield Published("graph", "graph", 1, _model("graph", Graph))
    yield Published("tool", "tool", 1, _model("tool", ToolSpec))
    yield Published("error", "problem", 1, _model("problem", Problem))


def _members(union: object) -> tuple[type[BaseModel], ...]:
    """The models of an `Annotated[A | B, …]`."""
    return cast("tuple[type[BaseModel], ...]", get_args(get_args(union)[0]))


def _event(kind: str, version: int, model: type[EventBase]) -> Schema:
    """The wire's shape of an event: what all events have, and its own fields in `data`."""
    flat = schema_of(model)
    fields = _object(flat["properties"])
    required = [name for name in _list(flat.get("required")) if name not in _META]
    data: Schema = {
        "type": "object",
        "properties": {name: field for name, field in fields.items() if name not in _META},
        "required": [*required],
        "additionalProperties": True,
    }
    return {
        "$schema": DIALECT,
        "title": kind,
        "description": flat.get("description", ""),
        "type": "object",
        "properties": {
            "id": {
                "type": "string",
                "description": "The same thing said twice has the same id. Begins with the run's id, which is left out before a leading dot.",
            },
            "type": {"const": kind},
            "v": {"const": version},
            "time": {
                "type": "string",
                "format": "date-time",
                "description": "That of the event before it in its message, if left out.",
            },
            "cause": {
                "type": "string",
                "description": "Id of what led to it; the event before it in its message, if left out.",
            },
            "data": data,
        },
        "required": ["id", "type", "data"],
        "additionalProperties": True,
        **({"$defs": flat["$defs"]} if "$defs" in flat else {}),
    }


_COMMIT: Schema = {
    "n": {
        "type": "integer",
        "minimum": 1,
        "description": "Counts the run's commits.",
    },
    "seen": {
        "type": "integer",
        "minimum": 0,
        "description": "Sequence up to which every record of the run had been folded.",
    },
    "prev_hash": {
        "type": "string",
        "pattern": "^[0-9a-f]{32}$",
        "description": "First half of the running hash over the run's records up to `seen`: "
        "h(0) = 32 zero bytes, h(k) = sha256(h(k-1) + body(k)).",
    },
    "hash": {
        "type": "string",
        "pattern": "^[0-9a-f]{32}$",
        "description": "First half of the SHA-256 of this body without this field, which comes last.",
    },
}
_RECORDS = {
    "commit": "All events of one decision of the graph engine.",
    "report": "What a worker, or whoever closes a guarded call, has to say.",
}


def _record(kind: str, own: Schema) -> Schema:
    """A message of the log; its events are open, because a newer writer may know more of them."""
    event: Schema = {
        "type": "object",
        "description": "See `<type>/v<v>.json`.",
        "properties": {
            "id": {"type": "string"},
            "type": {"type": "string"},
            "v": {"type": "integer", "minimum": 1},
            "time": {"type": "string", "format": "date-time"},
            "cause": {"type": "string"},
            "data": {"type": "object", "additionalProperties": True},
        },
        "required": ["id", "type", "data"],
        "additionalProperties": True,
    }
    return {
        "$schema": DIALECT,
        "title": kind,
        "description": _RECORDS[kind],
        "type": "object",
        "properties": {"run": {"type": "string"}, **own, "events": {"type": "array", "items": event}},
        "required": ["run", *own, "events"],
        "additionalProperties": True,
    }  # fmt: skip


def _model(kind: str, model: type[BaseModel], always: tuple[str, ...] = ()) -> Schema:
    """A model as it travels; `always` are fields that are written even where they have their default."""
    raw = schema_of(model)
    required = [*_list(raw.get("required"))]
    required += [name for name in always if name not in required]
    head: Schema = {"$schema": DIALECT, **raw, "title": kind}
    return {**head, "required": [*required]} if required else head


def schema_of(model: type[BaseModel]) -> Schema:
    """A model's schema. Members of a union carry their tag on the wire, also where the model has it as a default."""
    schema = cast("Schema", copy.deepcopy(model.model_json_schema(schema_generator=_Described)))
    defs = _object(schema.get("$defs", {}))
    for part in _objects(schema):
        if not isinstance(tag := part.get("discriminator"), dict):
            continue
        for target in _object(tag["mapping"]).values():
            member = _object(defs[str(target).rpartition("/")[2]])
            required = _list(member.setdefault("required", []))
            if tag["propertyName"] not in required:
                required.append(tag["propertyName"])
    return schema


class _Described(GenerateJsonSchema):
    """Fields are described by the docstrings below them, and not titled with their own names."""

    def field_title_should_be_set(self, schema: object) -> bool:  # noqa: ARG002
        return False

    def model_schema(self, schema: core_schema.ModelSchema) -> JsonSchemaValue:
        made = super().model_schema(schema)
        for name, text in _field_docs(schema["cls"]).items():
            if name in made.get("properties", {}):
                made["properties"][name]["description"] = text
        return made


def _field_docs(model: type[Any]) -> dict[str, str]:
    """The docstrings below a model's fields, by the names the fields have on the wire."""
    found: dict[str, str] = {}
    for base in reversed(model.__mro__):
        if not issubclass(base, BaseModel) or base is BaseModel:
            continue
        for name, text in _own_docs(base).items():
            alias = base.model_fields[name].validation_alias
            found[alias if isinstance(alias, str) else name] = text
    return found


@functools.cache
def _own_docs(model: type[BaseModel]) -> dict[str, str]:
    """The docstrings below the fields of one class; reading its source again costs more than all the rest."""
    body = cast("ast.ClassDef", ast.parse(textwrap.dedent(inspect.getsource(model))).body[0]).body
    return {
        field.target.id: " ".join(below.value.value.split())
        for field, below in itertools.pairwise(body)
        if isinstance(field, ast.AnnAssign)
        and isinstance(field.target, ast.Name)
        and field.target.id in model.model_fields
        and isinstance(below, ast.Expr)
        and isinstance(below.value, ast.Constant)
        and isinstance(below.value.value, str)
    }


def _objects(value: JsonValue) -> Iterator[Schema]:
    """Every object in a JSON value, the outer ones first."""
    if isinstance(value, dict):
        yield value
    for part in (
        value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    ):
        yield from _objects(part)


def _object(value: JsonValue) -> Schema:
    assert isinstance(value, dict), f"pydantic made {value!r} where an object was expected"  # noqa: S101
    return value


def _list(value: JsonValue) -> list[JsonValue]:
    assert value is None or isinstance(value, list), f"pydantic made {value!r}, not a list"  # noqa: S101
    return value or []
