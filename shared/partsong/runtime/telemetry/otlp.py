"""Telemetry over OTLP/HTTP: the OpenTelemetry SDK with derived ids, a bounded queue, and one log line for an outage."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from datetime import UTC, datetime, timedelta
from importlib.metadata import version
from types import TracebackType

from partsong.contracts.errors import PartsongError, Problem, Unavailable
from partsong.runtime import clock
from partsong.runtime.telemetry.telemetry import (
    Attributes,
    Kind,
    Span,
    Telemetry,
    What,
    is_traceparent,
)

try:
    from opentelemetry import trace
    from opentelemetry.context import Context
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor, TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
    from opentelemetry.sdk.trace.id_generator import RandomIdGenerator
    from opentelemetry.trace.status import StatusCode
except ImportError as error:
    raise Unavailable(
        "telemetry.not_installed",
        f"an OTLP endpoint is set, but {error.name} is not installed",
        fix="pip install 'partsong[otel]', or unset OTEL_EXPORTER_OTLP_ENDPOINT",
    ) from error

__all__ = ["OtlpTelemetry"]

_log = logging.getLogger("partsong.telemetry")

_BATCH = 512
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_KINDS: dict[Kind, trace.SpanKind] = {
    "internal": trace.SpanKind.INTERNAL,
    "client": trace.SpanKind.CLIENT,
}
_TALKATIVE = (
    "opentelemetry.exporter.otlp.proto.http.trace_exporter",
    "opentelemetry.sdk._shared_internal",
)
"""They log every failed attempt; we log an outage once."""


class OtlpTelemetry(Telemetry):
    """Spans go to a bounded queue, and from there in batches, by a thread, to the endpoint."""

    recording = True

    def __init__(
        self, service: str, endpoint: str, *, instance: str = "", queue: int = 4096
    ) -> None:
        """Begin; whether anybody listens at the endpoint shows later, in the log."""
        self._ids = _Ids()
        self._export = _Export(endpoint, queue)
        resource = {"service.namespace": "partsong", "service.name": service}
        if instance:
            resource["service.instance.id"] = instance
        self._provider = TracerProvider(
            resource=Resource.create(resource), id_generator=self._ids, shutdown_on_exit=False
        )
        self._provider.add_span_processor(_Queue(self._export, queue))
        self._tracer = self._provider.get_tracer("partsong", version("partsong"))

    def span(
        self,
        what: What | str,
        *,
        parent: str | None = None,
        at: str | None = None,
        attributes: Attributes | None = None,
    ) -> AbstractContextManager[Span]:
        """A span around a block, see `Telemetry.span`."""
        start = clock.now()
        return _OpenSpan(self._start(what, parent, at, attributes, start), start)

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
        """A span that is over, see `Telemetry.record`."""
        span = _OpenSpan(self._start(what, parent, at, attributes, start), start)
        if problem is not None:
            span.fail(problem)
        span.end(end)

    def shutdown(self, within: float = 3.0) -> None:
        """Send what is left, for at most so many seconds, see `Telemetry.shutdown`."""
        ending = threading.Thread(target=self._provider.shutdown, daemon=True)
        ending.start()
        ending.join(within)
        self._export.give_up()
        ending.join(1.0)

    def _start(
        self,
        what: What | str,
        parent: str | None,
        at: str | None,
        attributes: Attributes | None,
        start: datetime,
    ) -> trace.Span:
        if isinstance(what, str):
            what = What(what)
        own, above = _context(at), _context(parent)
        links = []
        if own is not None and above is not None and own.trace_id != above.trace_id:
            links, above = [trace.Link(above)], None
        context = Context()
        if above is not None:
            context = trace.set_span_in_context(trace.NonRecordingSpan(above), context)
        with self._ids.next(own):
            return self._tracer.start_span(
                what.name,
                context,
                kind=_KINDS[what.kind],
                attributes=_said({**what.attributes, **(attributes or {})}),
                links=links,
                start_time=_nanoseconds(start),
            )


class _OpenSpan(AbstractContextManager[Span]):
    """A span of the SDK, in our words."""

    def __init__(self, span: trace.Span, start: datetime) -> None:
        self._span, self._start, self._since = span, start, clock.monotonic()

    @property
    def traceparent(self) -> str:
        """Its own place."""
        own = self._span.get_span_context()
        return f"00-{own.trace_id:032x}-{own.span_id:016x}-{own.trace_flags & 1:02x}"

    def set(self, attributes: Attributes) -> None:
        """Add attributes."""
        self._span.set_attributes(_said(attributes))

    def fail(self, problem: Problem) -> None:
        """Mark it as failed, and say why."""
        self._span.set_status(StatusCode.ERROR, f"{problem.code}: {problem.message}")
        fault, where = problem.fault, problem.where
        self.set({"error.type": problem.code, "partsong.fault": fault, "partsong.where": where})
        self.set({"exception.stacktrace": problem.traceback})

    def end(self, at: datetime) -> None:
        """It is over; no span ends before it starts."""
        self._span.end(_nanoseconds(max(self._start, at)))

    def __enter__(self) -> Span:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        where: TracebackType | None,
    ) -> None:
        match error:
            case None:
                pass
            case PartsongError():
                self.fail(error.problem)
            case _:
                name = type(error).__name__
                self.fail(Problem(code=name, message=str(error), fault="platform"))
        self.end(self._start + timedelta(seconds=clock.monotonic() - self._since))


class _Ids(RandomIdGenerator):
    """Random ids, unless the next span's own place is given: it is made in the same thread, at once."""

    def __init__(self) -> None:
        self._given = threading.local()

    @contextmanager
    def next(self, own: trace.SpanContext | None) -> Iterator[None]:
        """Inside, a new span gets the ids of `own`."""
        self._given.own = own
        try:
            yield
        finally:
            self._given.own = None

    def generate_trace_id(self) -> int:
        """The given one, or a random one."""
        own: trace.SpanContext | None = getattr(self._given, "own", None)
        return super().generate_trace_id() if own is None else own.trace_id

    def generate_span_id(self) -> int:
        """The given one, or a random one."""
        own: trace.SpanContext | None = getattr(self._given, "own", None)
        return super().generate_span_id() if own is None else own.span_id


class _Queue(SpanProcessor):
    """Takes spans that are over, as long as there is room."""

    def __init__(self, export: _Export, size: int) -> None:
        self._export = export
        self._batches = BatchSpanProcessor(
            export, max_queue_size=size, max_export_batch_size=min(_BATCH, size)
        )

    def on_end(self, span: ReadableSpan) -> None:
        """Queue it, or drop it."""
        if self._export.has_room():
            self._batches.on_end(span)

    def shutdown(self) -> None:
        """Send what is queued."""
        self._batches.shutdown()  # type: ignore[no-untyped-call]  # the SDK left it untyped


class _Export(SpanExporter):
    """The exporter, with an account of what it loses and a log line when that begins and when it ends."""

    def __init__(self, endpoint: str, room: int) -> None:
        self._endpoint = endpoint
        self._room = threading.BoundedSemaphore(room)
        self._quiet = _Quiet()
        for name in _TALKATIVE:
            logging.getLogger(name).addFilter(self._quiet)
        self._inner = OTLPSpanExporter(endpoint=f"{endpoint.rstrip('/')}/v1/traces")
        self._lost = 0
        self._over = False

    def has_room(self) -> bool:
        """Take room for one more span, if there is any."""
        if self._room.acquire(blocking=False):
            return True
        self._lose(1)
        return False

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Send a batch; what cannot be sent is dropped."""
        self._room.release(len(spans))
        result = SpanExportResult.FAILURE if self._over else self._inner.export(spans)
        if result is not SpanExportResult.SUCCESS:
            self._lose(len(spans))
        elif self._lost:
            _log.warning("spans arrive again", extra={"url": self._endpoint, "lost": self._lost})
            self._lost = 0
        return result

    def give_up(self) -> None:
        """Stop trying; log what was lost since the last word."""
        self._over = True
        self._inner.shutdown()  # type: ignore[no-untyped-call]  # the SDK left it untyped
        for name in _TALKATIVE:
            logging.getLogger(name).removeFilter(self._quiet)

    def shutdown(self) -> None:
        """Nothing is kept here."""

    def _lose(self, count: int) -> None:
        if not self._lost:
            _log.warning(
                "spans are lost", extra={"url": self._endpoint, "fix": "start a collector there"}
            )
        self._lost += count


class _Quiet(logging.Filter):
    def filter(self, record: logging.LogRecord) -> bool:  # noqa: ARG002
        return False


def _context(text: str | None) -> trace.SpanContext | None:
    if text is None or not is_traceparent(text):
        return None
    _, trace_id, span_id, flags = text.split("-")
    return trace.SpanContext(
        int(trace_id, 16),
        int(span_id, 16),
        is_remote=True,
        trace_flags=trace.TraceFlags(int(flags, 16)),
    )


def _said(attributes: Attributes) -> dict[str, str | bool | int | float | Sequence[str]]:
    return {key: value for key, value in attributes.items() if value is not None}


def _nanoseconds(moment: datetime) -> int:
    return (moment - _EPOCH) // timedelta(microseconds=1) * 1000
