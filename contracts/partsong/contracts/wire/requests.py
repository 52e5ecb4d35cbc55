"""Requests at the door, and their answers."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    JsonValue,
    TypeAdapter,
    ValidationError,
    model_validator,
)

from partsong.contracts.durations import ASKED, Seconds
from partsong.contracts.errors import InvalidInput, Problem
from partsong.contracts.events import RunOptions
from partsong.contracts.graph.validate import problem_of
from partsong.contracts.ids import check_id
from partsong.contracts.plain import plain, read_json

__all__ = [
    "LONGEST_KEY",
    "REPLY",
    "Accepted",
    "AdmitRequest",
    "CancelRequest",
    "ForkRequest",
    "PauseRequest",
    "Rejected",
    "Reply",
    "Request",
    "ResumeRequest",
    "RetryRequest",
    "RunRequest",
    "ScheduleRequest",
    "SignalRequest",
    "SignalStart",
    "UnscheduleRequest",
    "parse_request",
]


LONGEST_KEY = 200
"""Characters of the key by which a signal finds its wait."""


class _Request(BaseModel):
    model_config = ConfigDict(frozen=True, extra="allow")

    v: Literal[1] = 1
    """Version of the request's form."""
    id: str = Field(min_length=1)
    """The caller's name for this request; the answer comes on `partsong.reply.<id>`."""


class RunRequest(_Request):
    """Start a run. Sent twice with the same `run_id`, it starts one run."""

    run_id: str | None = None
    """Without it, the id follows from the request: delivered twice, the same request starts one run."""
    graph: str | dict[str, JsonValue]
    """A graph's name, its `sha256:…` hash, or the whole spec."""
    input: dict[str, JsonValue] = Field(default_factory=dict)
    options: RunOptions = RunOptions()


class CancelRequest(_Request):
    """End a run."""

    run_id: str
    reason: str | None = None


class PauseRequest(_Request):
    """Begin nothing new in a run; what is in flight reports as usual."""

    run_id: str
    reason: str | None = None


class ResumeRequest(_Request):
    """Go on with a paused run."""

    run_id: str


class SignalStart(BaseModel):
    """How a run begins that is not there when its first signal comes."""

    model_config = ConfigDict(frozen=True, extra="allow")

    graph: str | dict[str, JsonValue]
    """As of a start: a graph's name, its `sha256:…` hash, or the whole spec."""
    input: dict[str, JsonValue] = Field(default_factory=dict)
    options: RunOptions = RunOptions()


class SignalRequest(_Request):
    """Send a run a named signal; sent twice with the same request id, it counts once."""

    run_id: str
    name: str = Field(min_length=1)
    key: str | None = Field(default=None, min_length=1, max_length=LONGEST_KEY)
    """Which of several waits is meant: the one whose key has this value, now or later."""
    payload: JsonValue = None
    start: SignalStart | None = None
    """Begins the run if nobody has; a run that is there, or has ended, stays what it is."""


class RetryRequest(_Request):
    """Go on with a run that failed, was cancelled or met a limit; only what is unfinished runs.

    Sent twice with the same request id, it counts once.
    """

    run_id: str
    graph: str | dict[str, JsonValue] | None = None
    """The graph mended: a name, a hash or a whole spec; without it, the run's own."""
    options: RunOptions | None = None
    """New limits; without them, the old ones."""
    reason: str | None = None


class ForkRequest(_Request):
    """Begin a new run where another one was. Sent twice with the same `new_run_id`, it begins one run.

    A fork belongs to no thread: it goes on beside the runs of its origin's thread, and none of them waits for it.
    """

    run_id: str
    seq: int | None = Field(default=None, ge=1)
    """Sequence of the log; without it, the run's end."""
    new_run_id: str | None = None
    """As with `run_id` of a start, without it the id follows from the request."""
    values: dict[str, JsonValue] = Field(default_factory=dict)
    """State keys to set, also in what is open inside the run; `sub:1/key` sets it there alone."""
    outputs: dict[str, dict[str, JsonValue]] = Field(default_factory=dict)
    """By execution (`a:1`, `sub:1/a:1`): what its function is taken to have returned."""


class AdmitRequest(_Request):
    """Let a run begin whose thread is free now. Engines ask for it, nobody else may."""

    run_id: str


class ScheduleRequest(_Request):
    """Start runs again and again. A schedule of the same name takes the place of the one before."""

    name: str = Field(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_\-]*$", max_length=100)
    every: Seconds | None = None
    """Seconds between starts."""
    cron: str | None = None
    """Five fields, or six with seconds first: `30 9 * * mon-fri`."""
    timezone: str | None = None
    """IANA name for `cron`; UTC without it."""
    graph: str | dict[str, JsonValue]
    input: dict[str, JsonValue] = Field(default_factory=dict)
    options: RunOptions = RunOptions()
    overlap: Literal["allow", "skip", "enqueue", "cancel_previous"] = "skip"
    """What happens when the run before is still open."""

    @model_validator(mode="after")
    def _one_of(self) -> ScheduleRequest:
        if (self.every is None) == (self.cron is None):
            raise ValueError("a schedule has either `every` or `cron`")
        return self


class UnscheduleRequest(_Request):
    """Start no more runs for a schedule; those that run go on."""

    name: str


Request = (
    RunRequest
    | CancelRequest
    | PauseRequest
    | ResumeRequest
    | SignalRequest
    | RetryRequest
    | ForkRequest
    | ScheduleRequest
    | UnscheduleRequest
)
_VERBS: dict[str, type[Request]] = {
    "run": RunRequest,
    "cancel": CancelRequest,
    "pause": PauseRequest,
    "resume": ResumeRequest,
    "signal": SignalRequest,
    "retry": RetryRequest,
    "fork": ForkRequest,
    "schedule": ScheduleRequest,
    "unschedule": UnscheduleRequest,
}


class Accepted(BaseModel):
    """The request is in the log: it will not be lost."""

    model_config = ConfigDict(frozen=True, extra="allow")

    type: Literal["request.accepted"] = "request.accepted"
    id: str
    run_id: str
    """The run; empty for what concerns no run, like a schedule."""
    seq: int
    """Where in the log what was asked for stands, or if it changed nothing, where the run begins; read on from here to
    follow the run."""


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
        raw = read_json(body)
    except ValueError as error:
        raise InvalidInput(
            "request.malformed", f"the body is not JSON: {error}", where="body"
        ) from None
    if not isinstance(raw, dict):
        raise InvalidInput(
            "request.malformed", f"the body is a {type(raw).__name__}, not an object", where="body"
        )
    for key, value in raw.items():
        plain({key: None}, "body", "request.malformed")
        plain(value, key, "request.malformed")
    try:
        request = model.model_validate(raw, context=ASKED)
    except ValidationError as error:
        raise InvalidInput.of(problem_of(error, "request.malformed")) from None
    check_id("id", request.id)
    for name in ("run_id", "new_run_id"):
        if name in model.model_fields and (given := getattr(request, name)) is not None:
            check_id(name, given)
    return request
