"""JSON Schemas of everything that travels, for readers and writers in any language.

They are made from the same models that this program reads and writes with, so they cannot say anything else. One file
per kind and version; a version that was released stays as it was, for the log is kept for ever.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, cast, get_args

from pydantic import BaseModel, JsonValue, TypeAdapter

from partsong.contracts.chunks import Chunk
from partsong.contracts.errors import Problem
from partsong.contracts.events import EVENTS, EventBase
from partsong.contracts.graph import Graph
from partsong.contracts.requests import Accepted, Rejected, Request
from partsong.contracts.work import Work

__all__ = ["DIALECT", "Family", "Published", "Schema", "published"]

DIALECT = "https://json-schema.org/draft/2020-12/schema"
Schema = dict[str, JsonValue]
Family = Literal["event", "record", "request", "reply", "chunk", "work", "graph", "error"]

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


def published() -> tuple[Published, ...]:
    """All schemas of this version of Partsong, in an order that does not change by itself."""
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
    yield Published("graph", "graph", 1, _model("graph", Graph))
    yield Published("error", "problem", 1, _model("problem", Problem))


def _members(union: object) -> tuple[type[BaseModel], ...]:
    """The models of an `Annotated[A | B, …]`."""
    return cast("tuple[type[BaseModel], ...]", get_args(get_args(union)[0]))


def _event(kind: str, version: int, model: type[EventBase]) -> Schema:
    """The wire's shape of an event: what all events have, and its own fields in `data`."""
    flat = _tagged(model.model_json_schema())
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
            "id": {"type": "string", "description": "The same thing said twice has the same id."},
            "type": {"const": kind},
            "v": {"const": version},
            "time": {"type": "string", "format": "date-time"},
            "cause": {"type": "string", "description": "Id of what led to it; may be empty."},
            "data": data,
        },
        "required": [*_META, "data"],
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
        "required": [*_META, "data"],
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
    raw = _tagged(TypeAdapter(model).json_schema())
    required = [*_list(raw.get("required"))]
    required += [name for name in always if name not in required]
    head: Schema = {"$schema": DIALECT, **raw, "title": kind}
    return {**head, "required": [*required]} if required else head


def _tagged(schema: Schema) -> Schema:
    """Members of a union carry their tag on the wire, also where the model has it as a default."""
    schema = copy.deepcopy(schema)
    defs = _object(schema.get("$defs", {}))
    for union in _unions(schema):
        tag = _object(union["discriminator"])
        name = str(tag["propertyName"])
        for target in _object(tag["mapping"]).values():
            member = _object(defs[str(target).rpartition("/")[2]])
            required = _list(member.setdefault("required", []))
            if name not in required:
                required.append(name)
    return schema


def _unions(value: JsonValue) -> Iterator[Schema]:
    if isinstance(value, dict):
        if isinstance(value.get("discriminator"), dict):
            yield value
        for part in value.values():
            yield from _unions(part)
    elif isinstance(value, list):
        for part in value:
            yield from _unions(part)


def _object(value: JsonValue) -> Schema:
    assert isinstance(value, dict), f"pydantic made {value!r} where an object was expected"  # noqa: S101
    return value


def _list(value: JsonValue) -> list[JsonValue]:
    assert value is None or isinstance(value, list), f"pydantic made {value!r}, not a list"  # noqa: S101
    return value or []
