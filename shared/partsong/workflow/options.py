"""What all nodes may be told, and how a builder's caller may write it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, TypedDict, TypeVar, cast

from pydantic import BaseModel, JsonValue, ValidationError

from partsong.contracts.durations import ASKED, Duration
from partsong.contracts.errors import InvalidInput
from partsong.contracts.graph import AtLeast, Retry
from partsong.contracts.graph.validate import problem_of

__all__ = ["Calling", "JoinLike", "Placing", "Schema", "checked", "fields_of", "schema_of"]

Model = TypeVar("Model", bound=BaseModel)

JoinLike = Literal["all", "any", "first"] | AtLeast | int | Mapping[str, int]
"""When a node with several inbound edges fires; `2` and `{"n": 2}` are `AtLeast(n=2)`."""

Schema = type[BaseModel] | Mapping[str, JsonValue]
"""A pydantic model, or a JSON Schema."""


class Placing(TypedDict, total=False):
    """What any node may be told."""

    max_visits: int | None
    """How often a run may enter it; one more ends the run with `limit_exceeded`."""
    join: JoinLike


class Calling(Placing, total=False):
    """What a node may be told that somebody is called for."""

    retry: Retry | None
    timeout: Duration | None
    """How long one attempt may take: seconds, or text like `30s`."""
    idle_timeout: Duration | None
    """How long an attempt may show nothing."""


def fields_of(options: Placing) -> dict[str, object]:
    """The options as fields of a node."""
    fields: dict[str, object] = dict(options)
    join = fields.get("join")
    if isinstance(join, int):
        fields["join"] = {"n": join}
    return fields


def schema_of(schema: Schema | None) -> dict[str, JsonValue] | None:
    """The JSON Schema."""
    if schema is None or isinstance(schema, Mapping):
        return None if schema is None else dict(schema)
    return cast("dict[str, JsonValue]", schema.model_json_schema())


def checked(
    kind: type[Model], fields: Mapping[str, object], where: str, code: str = "graph.malformed"
) -> Model:
    """A part of a graph, without what is None.

    Raises:
        InvalidInput: `code`, naming the field.
    """
    given = {name: value for name, value in fields.items() if value is not None}
    try:
        return kind.model_validate(given, context=ASKED)
    except ValidationError as error:
        raise InvalidInput.of(problem_of(error, code, where)) from None
