"""Telemetry: real spans over real OTLP/HTTP, linked without anybody telling anybody."""

from __future__ import annotations

import asyncio
import logging
import socket
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from partsong.contracts.errors import NotFound, Problem
from partsong.contracts.events import TurnUsage
from partsong.runtime import clock
from partsong.runtime.telemetry import spans
from partsong.runtime.telemetry.otlp import OtlpTelemetry
from partsong.runtime.telemetry.setup import setup
from partsong.runtime.telemetry.telemetry import Telemetry, is_traceparent, traceparent
from partsong.testing.otlp import OtlpReceiver, ReceivedSpan

DEADLINE = 30.0
FOREIGN = "00-0123456789abcdef0123456789abcdef-0123456789abcdef-01"


@pytest.fixture
async def otlp() -> AsyncIterator[OtlpReceiver]:
    async with OtlpReceiver() as receiver, asyncio.timeout(DEADLINE):
        yield receiver


@pytest.fixture(autouse=True)
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "10")
    for name in ("OTEL_TRACES_SAMPLER", "OTEL_SDK_DISABLED", "OTEL_RESOURCE_ATTRIBUTES"):
        monkeypatch.delenv(name, raising=False)


@asynccontextmanager
async def telemetry(url: str, service: str = "graph-engine") -> AsyncIterator[Telemetry]:
    made = setup(service, url, instance="w1")
    try:
        yield made
    finally:
        await asyncio.to_thread(made.shutdown)


def by_name(received: list[ReceivedSpan]) -> dict[str, ReceivedSpan]:
    assert len({span.name for span in received}) == len(received)
    return {span.name: span for span in received}


def said(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [r.getMessage() for r in caplog.records if r.name == "partsong.telemetry"]


async def lost(caplog: pytest.LogCaptureFixture) -> None:
    """Returns once the exporter's thread has said, in one line, that spans are lost."""
    async with asyncio.timeout(DEADLINE):
        while not said(caplog):  # noqa: ASYNC110  # the thread sets no event
            await asyncio.sleep(0.001)
    assert said(caplog) == ["spans are lost"]


async def test_a_span_arrives_with_what_it_says(otlp: OtlpReceiver) -> None:
    what = spans.chat("m-1", "r_1", provider="anthropic", agent="answer", attempt=2)
    async with telemetry(otlp.url, "agent-gateway") as tracer:
        with tracer.span(what, attributes={"extra": ("a", "b"), "nothing": None}) as span:
            usage = TurnUsage(input_total=5, output_total=7, cost=0.01)
            span.set(spans.answered(model="m-1-x", stop="stop", usage=usage))
    (received,) = otlp.spans
    assert (received.service, received.name, received.kind) == (
        "agent-gateway",
        "chat m-1",
        "client",
    )
    assert (received.resource["service.namespace"], received.resource["service.instance.id"]) == (
        "partsong",
        "w1",
    )
    assert received.error is None
    assert received.end >= received.start > 0
    assert received.attributes == {
        "gen_ai.operation.name": "chat",
        "gen_ai.conversation.id": "r_1",
        "gen_ai.provider.name": "anthropic",
        "gen_ai.request.model": "m-1",
        "gen_ai.agent.name": "answer",
        "partsong.attempt": 2,
        "extra": ("a", "b"),
        "gen_ai.response.model": "m-1-x",
        "gen_ai.response.finish_reasons": ("stop",),
        "gen_ai.usage.input_tokens": 5,
        "gen_ai.usage.output_tokens": 7,
        "gen_ai.usage.cache_read.input_tokens": 0,
        "gen_ai.usage.cache_creation.input_tokens": 0,
        "partsong.usage.cost": 0.01,
    }


async def test_spans_of_a_run_link_across_services_that_never_met(otlp: OtlpReceiver) -> None:
    run, node = traceparent("r_1"), traceparent("r_1", "refund:1")
    call = traceparent("r_1", "refund:1", 1)
    start = clock.now() - timedelta(hours=30)
    async with telemetry(otlp.url, "tool-runner") as runner:
        what = spans.tool("refund", "r_1", "refund:1", attempt=1)
        with runner.span(what, at=call, parent=node) as span:
            assert span.traceparent == call
    async with telemetry(otlp.url, "graph-engine") as engine:
        end = clock.now()
        what = spans.node("refund", "r_1", "refund:1", kind="tool")
        engine.record(what, at=node, parent=run, start=start, end=end)
        engine.record(spans.run("shop", "r_1", status="completed"), at=run, start=start, end=end)
    found = by_name(await otlp.wait_spans(3))
    top, middle, leaf = found["run shop"], found["node refund"], found["execute_tool refund"]
    assert len({top.trace_id, middle.trace_id, leaf.trace_id}) == 1
    assert (top.parent_id, middle.parent_id, leaf.parent_id) == ("", top.span_id, middle.span_id)
    assert {top.service, leaf.service} == {"graph-engine", "tool-runner"}
    assert top.attributes["partsong.run.status"] == "completed"


async def test_a_recorded_span_has_the_times_of_the_log(otlp: OtlpReceiver) -> None:
    start = datetime(2026, 1, 2, 3, 4, 5, 678_901, tzinfo=UTC)
    async with telemetry(otlp.url) as tracer:
        at = traceparent("r_1", "n:1")
        tracer.record("approval x", at=at, start=start, end=start + timedelta(hours=20))
    (received,) = otlp.spans
    assert received.start == 1_767_323_045_678_901_000
    assert received.end - received.start == 20 * 3600 * 10**9


async def test_a_recorded_failure_says_why(otlp: OtlpReceiver) -> None:
    now = clock.now()
    problem = Problem(code="tool.timeout", message="late", fault="tool", where="nodes.n")
    async with telemetry(otlp.url) as tracer:
        at = traceparent("r_1", "n:1")
        tracer.record("node n", at=at, start=now, end=now, problem=problem)
    (received,) = otlp.spans
    assert received.error == "tool.timeout: late"
    assert received.attributes == {
        "error.type": "tool.timeout",
        "partsong.fault": "tool",
        "partsong.where": "nodes.n",
    }


async def test_an_exception_fails_its_span_and_goes_on(otlp: OtlpReceiver) -> None:
    async with telemetry(otlp.url) as tracer:
        with pytest.raises(NotFound), tracer.span("ours"):
            raise NotFound("tool.unknown", "no tool x")
        with pytest.raises(KeyError), tracer.span("theirs"):
            raise KeyError("x")
        with pytest.raises(asyncio.CancelledError), tracer.span("cancelled"):
            raise asyncio.CancelledError
    found = by_name(otlp.spans)
    assert found["ours"].error == "tool.unknown: no tool x"
    assert found["theirs"].error == "KeyError: 'x'"
    assert found["cancelled"].attributes["error.type"] == "CancelledError"


async def test_children_name_the_open_span(otlp: OtlpReceiver) -> None:
    async with telemetry(otlp.url) as tracer:
        with tracer.span("outer") as outer, tracer.span("inner", parent=outer.traceparent):
            pass
    found = by_name(otlp.spans)
    assert found["inner"].parent_id == found["outer"].span_id
    assert found["inner"].trace_id == found["outer"].trace_id
    assert found["outer"].parent_id == ""


async def test_spans_do_not_nest_unless_told(otlp: OtlpReceiver) -> None:
    async with telemetry(otlp.url) as tracer:
        with tracer.span("one"), tracer.span("two"):
            pass
    found = by_name(otlp.spans)
    assert found["two"].parent_id == ""
    assert found["one"].trace_id != found["two"].trace_id


async def test_a_parent_in_another_trace_becomes_a_link(otlp: OtlpReceiver) -> None:
    async with telemetry(otlp.url) as tracer:
        with tracer.span("run x", at=traceparent("r_1"), parent=FOREIGN):
            pass
    (received,) = otlp.spans
    assert received.parent_id == ""
    assert received.trace_id == traceparent("r_1").split("-")[1]
    assert received.links == (FOREIGN.split("-")[1],)


@pytest.mark.parametrize(
    "parent", [None, "", "x", FOREIGN[:-3], "00-" + "0" * 32 + FOREIGN[35:], FOREIGN.upper()]
)
async def test_a_malformed_parent_is_none(otlp: OtlpReceiver, parent: str | None) -> None:
    async with telemetry(otlp.url) as tracer:
        with tracer.span("x", parent=parent) as span:
            assert is_traceparent(span.traceparent)
    assert [span.parent_id for span in otlp.spans] == [""]


async def test_ids_given_in_one_thread_do_not_leak_into_another(otlp: OtlpReceiver) -> None:
    places = [traceparent("r_1", n) for n in range(50)]

    def make(place: str) -> str:
        with tracer.span(place, at=place) as span:
            return span.traceparent

    async with telemetry(otlp.url) as tracer:
        made = await asyncio.gather(*(asyncio.to_thread(make, place) for place in places))
    assert made == places
    assert {span.name.split("-")[2] for span in otlp.spans} == {span.span_id for span in otlp.spans}


async def test_an_outage_is_one_line_and_so_is_its_end(
    otlp: OtlpReceiver, caplog: pytest.LogCaptureFixture
) -> None:
    otlp.status = 500
    async with telemetry(otlp.url) as tracer:
        for count in range(1, 4):
            with tracer.span("lost"):
                pass
            await otlp.wait_requests(count)
        otlp.status = 200
        with tracer.span("kept"):
            pass
        await otlp.wait_spans(1)
    assert [span.name for span in otlp.spans] == ["kept"]
    assert said(caplog) == ["spans are lost", "spans arrive again"]
    assert not [r for r in caplog.records if r.name.startswith("opentelemetry")]
    assert [vars(r)["lost"] for r in caplog.records if hasattr(r, "lost")] == [3]


async def test_a_full_queue_drops_and_does_not_wait(
    otlp: OtlpReceiver, caplog: pytest.LogCaptureFixture
) -> None:
    tracer = OtlpTelemetry("x", otlp.url, queue=2)
    otlp.answering.clear()
    for name in ("a", "b"):
        with tracer.span(name):
            pass
    await otlp.wait_requests(1)
    for name in ("c", "d", "e", "f", "g"):
        with tracer.span(name):
            pass
    otlp.answering.set()
    await asyncio.to_thread(tracer.shutdown)
    assert sorted(span.name for span in otlp.spans)[:2] == ["a", "b"]
    assert len(otlp.spans) < 7
    assert said(caplog)[0] == "spans are lost"


async def test_shutdown_with_a_collector_that_never_answers_gives_up(
    otlp: OtlpReceiver, caplog: pytest.LogCaptureFixture
) -> None:
    otlp.status = 503
    tracer = setup("x", otlp.url)
    with tracer.span("x"):
        pass
    await otlp.wait_requests(1)
    await asyncio.to_thread(tracer.shutdown, 0.01)
    await lost(caplog)


async def test_nobody_at_the_endpoint_harms_nobody(caplog: pytest.LogCaptureFixture) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound, and nobody listens
        tracer = setup("x", f"http://127.0.0.1:{taken.getsockname()[1]}/")
        with tracer.span("x"):
            pass
        await asyncio.to_thread(tracer.shutdown, 0.01)
    await lost(caplog)


async def test_library_logs_are_as_before_afterwards(otlp: OtlpReceiver) -> None:
    library = logging.getLogger("opentelemetry.exporter.otlp.proto.http.trace_exporter")
    before = list(library.filters)
    async with telemetry(otlp.url):
        assert library.filters != before
    assert library.filters == before


class TestWithoutEndpoint:
    def test_an_incoming_traceparent_is_handed_on(self) -> None:
        tracer = setup("x", None)
        with tracer.span("x", parent=FOREIGN) as span:
            assert span.traceparent == FOREIGN
        with tracer.span("x", at=traceparent("r_1"), parent=FOREIGN) as span:
            assert span.traceparent == traceparent("r_1")
        with tracer.span("x") as span:
            assert span.traceparent == ""

    def test_everything_does_nothing(self) -> None:
        tracer = setup("x", "")
        now = clock.now()
        with tracer.span("x") as span:
            span.set({"a": 1})
            span.fail(Problem(code="a.b", message="c"))
        with pytest.raises(KeyError), tracer.span("x"):
            raise KeyError
        tracer.record("x", at=traceparent("r_1"), start=now, end=now)
        tracer.shutdown()

    def test_nothing_of_opentelemetry_is_imported(self) -> None:
        assert python(USED) == "[]\n"

    def test_an_endpoint_without_the_library_names_the_extra(self) -> None:
        assert python(MISSING) == "telemetry.not_installed pip install 'partsong[otel]'\n"


USED = """
import sys
from partsong.runtime.telemetry.setup import setup
from partsong.runtime.telemetry.telemetry import traceparent
from partsong.runtime.telemetry import spans
tracer = setup("x", None)
with tracer.span(spans.run("g", "r_1"), at=traceparent("r_1")) as span:
    span.set({"a": 1})
tracer.shutdown()
print([name for name in sys.modules if name.startswith("opentelemetry")])
"""

MISSING = """
import sys
from partsong.contracts.errors import Unavailable
from partsong.runtime.telemetry.setup import setup
sys.modules["opentelemetry"] = None
try:
    setup("x", "http://127.0.0.1:1")
except Unavailable as error:
    print(error.problem.code, error.problem.fix.partition(",")[0])
"""


def python(source: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", source], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@given(st.text(min_size=1), st.lists(st.text() | st.integers()))
def test_a_place_is_a_traceparent_and_always_the_same(run_id: str, about: list[str | int]) -> None:
    place = traceparent(run_id, *about)
    assert is_traceparent(place)
    assert place == traceparent(run_id, *about)
    assert place.split("-")[1] == traceparent(run_id).split("-")[1]
    assert place != traceparent(run_id, *about, "more")
