"""Requests at the door, and their answers."""

from __future__ import annotations

import json
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue, TypeAdapter, ValidationError

from partsong.contracts.errors import InvalidInput, Problem
from partsong.contracts.events import RunOptions
from partsong.contracts.subjects import check_id
from partsong.contracts.validate import problem_of

__all__ = [
    "REPLY",
    "Accepted",
    "CancelRequest",
    "Rejected",
    "Reply",
    "Request",
    "RunRequest",
    "parse_request",
]


class _Request(BaseModel):
    model_config = ConfigDict(frozen=True, extra="allow")

    v: Literal[1] = 1
    """Version of the request's form."""
    id: str = Field(min_length=1)
    """The caller's name for this request; the answer comes on `partsong.reply.<id>`."""


class RunRequest(_Request):
    """Start a run. Sent twice with the same `run_id`, it starts one run."""

    run_id: str | None = None
    graph: str | dict[str, JsonValue]
    """A graph's name, its `sha256:…` hash, or the whole spec."""
    input: dict[str, JsonValue] = Field(default_factory=dict)
    options: RunOptions = RunOptions()


class CancelRequest(_Request):
    """End a run."""

    run_id: str
    reason: str | None = None


Request = RunRequest | CancelRequest
_VERBS: dict[str, type[RunRequest | CancelRequest]] = {
    "run": RunRequest,
    "cancel": CancelRequest,
}


class Accepted(BaseModel):
    """The request is in the log: it will not be lost."""

    model_config = ConfigDict(frozen=True, extra="allow")

    type: Literal["request.accepted"] = "request.accepted"
    id: str
    run_id: str
    seq: int
    """Where in the log; read from here to follow the run."""


class Rejected(BaseModel):
    """The request changed nothing."""

    model_config = ConfigDict(frozen=True, extra="allow")

    type: Literal["request.rejected"] = "request.rejected"
    id: str
    error: Problem


Reply = Annotated[Accepted | Rejected, Field(discriminator="type")]
REPLY: TypeAdapter[Reply] = TypeAdapter(Reply)


def parse_request(verb: str, body: bytes) -> Request:
    """A request from the wire.

    Raises:
        InvalidInput: `request.malformed` naming the field, `request.unknown_verb`, or `id.invalid`.
    """
    model = _VERBS.get(verb)
    if model is None:
        raise InvalidInput(
            "request.unknown_verb",
            f"no request {verb!r}",
            where="subject",
            fix=f"known: {', '.join(sorted(_VERBS))}",
        )
    try:
        raw = json.loads(body)
    except ValueError as error:
        raise InvalidInput(
            "request.malformed", f"the body is not JSON: {error}", where="body"
        ) from None
    if not isinstance(raw, dict):
        raise InvalidInput(
            "request.malformed", f"the body is a {type(raw).__name__}, not an object", where="body"
        )
    try:
        request = model.model_validate(raw)
    except ValidationError as error:
        raise InvalidInput.of(problem_of(error, "request.malformed")) from None
    check_id("id", request.id)
    if request.run_id is not None:
        check_id("run_id", request.run_id)
    return request
