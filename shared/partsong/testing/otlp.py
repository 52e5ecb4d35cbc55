"""An OTLP/HTTP receiver on loopback, so that tests see the spans a process really sends.

async with OtlpReceiver() as otlp:
...                                 # OTEL_EXPORTER_OTLP_ENDPOINT=otlp.url
async with asyncio.timeout(10):
run, node = await otlp.wait_spans(2)
"""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from types import TracebackType
from typing import Self, TypeAlias

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, Span, Status

from partsong.testing.fake_llm.http import Connection, listen

__all__ = ["OtlpReceiver", "ReceivedSpan", "Value"]

Value: TypeAlias = "str | bool | int | float | tuple[Value, ...] | None"
"""What an attribute may hold."""

_PROTOBUF = {"content-type": "application/x-protobuf"}


@dataclass(frozen=True, slots=True)
class ReceivedSpan:
    """One span as it came over the wire; ids in hexadecimal."""

    service: str
    name: str
    kind: str
    """`internal`, `client`, …"""
    trace_id: str
    span_id: str
    parent_id: str
    """Empty for a root."""
    start: int
    """Nanoseconds since 1970."""
    end: int
    attributes: Mapping[str, Value]
    resource: Mapping[str, Value]
    error: str | None
    """The message of a failed span."""
    links: tuple[str, ...]
    """Trace ids of linked spans."""


class OtlpReceiver:
    """Collects spans; set `status` to refuse them."""

    def __init__(self, *, host: str = "127.0.0.1", port: int = 0) -> None:
        self._host, self._port = host, port
        self._server: asyncio.Server | None = None
        self._connections: dict[asyncio.Task[None], Connection] = {}
        self._changed = asyncio.Condition()
        self.status = 200
        """How to answer; anything but 200 keeps nothing."""
        self.requests = 0
        """How many batches came, accepted or not."""
        self.answering = asyncio.Event()
        """Clear it, and requests are read but not answered until it is set again."""
        self.answering.set()
        self.spans: list[ReceivedSpan] = []
        """Every span so far."""

    @property
    def url(self) -> str:
        """The endpoint, without the path of a signal."""
        return f"http://{self._host}:{self._port}"

    async def __aenter__(self) -> Self:
        self._server = await listen(self._connected, self._host, self._port)
        self._port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._server is None:
            return
        self._server.close()
        tasks = list(self._connections)
        for task in tasks:
            self._connections[task].close()
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._server.wait_closed()
        self._server = None

    async def wait_spans(self, count: int) -> list[ReceivedSpan]:
        """The spans so far, by their start, once there are so many; the caller sets the deadline."""
        async with self._changed:
            await self._changed.wait_for(lambda: len(self.spans) >= count)
        return sorted(self.spans, key=lambda span: span.start)

    async def wait_requests(self, count: int) -> None:
        """Returns once so many batches came; the caller sets the deadline."""
        async with self._changed:
            await self._changed.wait_for(lambda: self.requests >= count)

    def _connected(self, connection: Connection) -> None:
        task = asyncio.get_running_loop().create_task(self._serve(connection))
        self._connections[task] = connection
        task.add_done_callback(self._connections.pop)

    async def _serve(self, connection: Connection) -> None:
        try:
            with suppress(ConnectionError):
                while (request := await connection.request()) is not None:
                    status = self.status if request.path == "/v1/traces" else 404
                    await self._came()
                    packed = request.headers.get("content-encoding") == "gzip"
                    body = gzip.decompress(request.body) if packed else request.body
                    if status == 200:
                        await self._keep(ExportTraceServiceRequest.FromString(body))
                    await connection.answer(status, _PROTOBUF, b"")
        finally:
            connection.close()

    async def _came(self) -> None:
        async with self._changed:
            self.requests += 1
            self._changed.notify_all()
        await self.answering.wait()

    async def _keep(self, batch: ExportTraceServiceRequest) -> None:
        async with self._changed:
            self.spans += _spans(batch)
            self._changed.notify_all()


def _spans(request: ExportTraceServiceRequest) -> Iterator[ReceivedSpan]:
    for group in request.resource_spans:
        for scope in group.scope_spans:
            for span in scope.spans:
                yield _span(group, span)


def _span(group: ResourceSpans, span: Span) -> ReceivedSpan:
    resource = _attributes(group.resource.attributes)
    return ReceivedSpan(
        service=str(resource.get("service.name", "")),
        name=span.name,
        kind=Span.SpanKind.Name(span.kind).removeprefix("SPAN_KIND_").lower(),
        trace_id=span.trace_id.hex(),
        span_id=span.span_id.hex(),
        parent_id=span.parent_span_id.hex(),
        start=span.start_time_unix_nano,
        end=span.end_time_unix_nano,
        attributes=_attributes(span.attributes),
        resource=resource,
        error=span.status.message if span.status.code == Status.STATUS_CODE_ERROR else None,
        links=tuple(link.trace_id.hex() for link in span.links),
    )


def _attributes(pairs: Iterable[KeyValue]) -> dict[str, Value]:
    return {pair.key: _value(pair.value) for pair in pairs}


def _value(value: AnyValue) -> Value:
    match value.WhichOneof("value"):
        case "string_value":
            return value.string_value
        case "bool_value":
            return value.bool_value
        case "int_value":
            return value.int_value
        case "double_value":
            return value.double_value
        case "array_value":
            return tuple(map(_value, value.array_value.values))
        case _:
            return None
