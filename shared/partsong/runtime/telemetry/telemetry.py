"""Telemetry: spans for OpenTelemetry if there is an endpoint; nothing at all, at no cost, if there is none.

A run outlives processes, so no process can hold its span open. Ids are derived instead: the trace id from the run's id,
a span's id from what the span is about. So any process can say where a thing stands in the trace (`traceparent`) without
having been told, and whoever sees a thing end records its span with the start time from the log. A `traceparent` also
travels in message headers (www.w3.org/TR/trace-context).
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from datetime import datetime
from functools import lru_cache
from types import MappingProxyType
from typing import Literal, NamedTuple, Protocol, TypeAlias

from partsong.contracts.errors import Problem

__all__ = ["Attributes", "Kind", "Span", "Telemetry", "What", "is_traceparent", "traceparent"]

Attributes: TypeAlias = Mapping[str, "str | bool | int | float | Sequence[str] | None"]
"""What a span says; None is left out."""
Kind = Literal["internal", "client"]

_TRACEPARENT = re.compile(r"[0-9a-f]{2}-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")


@lru_cache(maxsize=4096)
def traceparent(run_id: str, *about: object) -> str:
    """Where a thing stands in its run's trace: the same in every process, at any time.

    `traceparent(run)` is the run, `traceparent(run, exec_id)` a node's execution, `traceparent(run, call_id, attempt)`
    one attempt of a call.
    """
    trace = hashlib.sha256(run_id.encode()).hexdigest()[:32]
    place = "\n".join(["span", run_id, *map(str, about)])
    return f"00-{trace}-{hashlib.sha256(place.encode()).hexdigest()[:16]}-01"


def is_traceparent(text: str | None) -> bool:
    """Whether it is one; a header from outside may hold anything."""
    return text is not None and _TRACEPARENT.fullmatch(text) is not None


class What(NamedTuple):
    """What a span is about; `runtime/telemetry/spans.py` has them all."""

    name: str
    attributes: Attributes = MappingProxyType({})
    kind: Kind = "internal"


class Span(Protocol):
    """A span that is open."""

    @property
    def traceparent(self) -> str:
        """What its children name as their parent; empty if there is none."""
        ...

    def set(self, attributes: Attributes) -> None:
        """Add attributes."""
        ...

    def fail(self, problem: Problem) -> None:
        """Mark it as failed, and say why."""
        ...


class Telemetry:
    """Makes spans. As it stands it makes none and hands an incoming traceparent on; see `telemetry.setup`.

    Nothing here blocks but `shutdown`, and nothing raises because a collector is slow, full or gone.
    """

    recording = False
    """Whether spans go anywhere."""

    def span(
        self,
        what: What | str,  # noqa: ARG002
        *,
        parent: str | None = None,
        at: str | None = None,
        attributes: Attributes | None = None,  # noqa: ARG002
    ) -> AbstractContextManager[Span]:
        """A span around a block; an exception that leaves the block fails it.

        `parent` is a traceparent, and one that is malformed is none. `at` is the span's own, if others must be able to
        name it; a parent in another trace then becomes a link.
        """
        return _NoSpan(at or parent or "")

    def record(
        self,
        what: What | str,
        *,
        at: str,
        start: datetime,
        end: datetime,
        parent: str | None = None,
        attributes: Attributes | None = None,
        problem: Problem | None = None,
    ) -> None:
        """A span that is over: for what outlives a process."""

    def shutdown(self, within: float = 3.0) -> None:
        """Send what is left, for at most so many seconds, and stop. It blocks: in a busy process, call it in a thread."""


class _NoSpan:
    """Hands the traceparent on."""

    __slots__ = ("traceparent",)

    def __init__(self, traceparent: str) -> None:
        self.traceparent = traceparent

    def __enter__(self) -> Span:
        return self

    def __exit__(self, *error: object) -> None:
        return None

    def set(self, attributes: Attributes) -> None:
        """Say nothing."""

    def fail(self, problem: Problem) -> None:
        """Say nothing."""
