"""What may be said to be a graph, and requests made of plain values."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol, TypeVar, cast, runtime_checkable

from pydantic import BaseModel, JsonValue, ValidationError
from pydantic_core import to_jsonable_python

from partsong.contracts.durations import ASKED
from partsong.contracts.errors import InvalidInput, Problem
from partsong.contracts.graph import Graph
from partsong.contracts.graph.validate import problem_of
from partsong.contracts.plain import plain
from partsong.runtime import clock

__all__ = ["BringsTools", "GraphLike", "Portable", "a_request", "spec_of"]

R = TypeVar("R", bound=BaseModel)


class Portable(Protocol):
    """What can say its graph as data, like a `WorkflowGraph`."""

    def spec(self) -> Graph:
        """The graph, with functions that can be found by name elsewhere."""
        ...


@runtime_checkable
class BringsTools(Protocol):
    """What can say which of its tools no other process can import."""

    def unplaced_tools(self) -> Mapping[str, Problem]:
        """By name, and why."""
        ...


GraphLike = str | Graph | Portable | Mapping[str, object]
"""A graph, or the name or hash of one that the bus knows."""


_FREE = frozenset({"input", "payload", "values", "outputs", "reason"})
"""Fields that hold what a caller wants; all others have a form of their own."""


def a_request(model: type[R], own_id: str | None = None, **fields: object) -> R:
    """A request with a fresh id, or one of the caller's.

    Raises:
        InvalidInput: `request.malformed`, naming the field.
    """
    free = {key: plain(fields[key], key, "request.malformed") for key in _FREE & fields.keys()}
    try:
        whole = {"id": own_id or f"q_{clock.new_id()}", **fields, **free}
        request = model.model_validate(whole, context=ASKED)
    except ValidationError as error:
        raise InvalidInput.of(problem_of(error, "request.malformed")) from error
    for key in fields.keys() - free.keys():  # a limit that is NaN would travel as none at all
        plain(to_jsonable_python(getattr(request, key, None)), key, "request.malformed")
    return request


def spec_of(graph: GraphLike) -> str | dict[str, JsonValue]:
    """The graph as a request names it."""
    match graph:
        case str():
            return graph
        case Graph():
            return graph.spec()
        case Mapping():
            return cast("dict[str, JsonValue]", dict(graph))
        case _:
            return graph.spec().spec()
