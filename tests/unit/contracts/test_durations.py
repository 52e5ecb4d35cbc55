"""Durations: every form that is read, what is refused and in which words, and that what is shown is read as it was."""

from __future__ import annotations

import contextlib
import json
import math
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from partsong.contracts.durations import (
    FORMS,
    LONGEST,
    format_duration,
    parse_duration,
    parse_optional,
)
from partsong.contracts.errors import InvalidInput, Problem
from partsong.contracts.graph import AgentSpec, FunctionNode, Retry
from partsong.contracts.graph.validate import parse_graph, problems_in
from partsong.contracts.spec.schemas import schema_of
from partsong.contracts.wire.requests import ScheduleRequest, parse_request

READ: list[tuple[object, float]] = [
    ("30s", 30), ("1h30m", 5400), ("1h 30m", 5400), (" 30 s ", 30), ("500ms", 0.5), ("2d", 172_800), ("1.5h", 5400),
    ("1w", 604_800), ("2d4h1m3.5s", 187_263.5), ("90", 90), ("0.5", 0.5), ("1e3", 1000), (90, 90), (0.25, 0.25),
    (Decimal("1.5"), 1.5), ("PT1H30M", 5400), ("P1D", 86_400), ("P1DT2H", 93_600), ("P1W", 604_800), ("PT1M", 60),
    ("PT0.5S", 0.5), ("PT1,5H", 5400), (timedelta(hours=1, milliseconds=5), 3600.005), (LONGEST, LONGEST),
]  # fmt: skip
REFUSED: list[tuple[object, str]] = [
    (True, "True is no duration"), (None, "None is no duration"), ([30], r"\[30\] is no duration"),
    (b"30s", "b'30s' is no duration"), (math.nan, "nan .*not finite"), (math.inf, "inf .*not finite"),
    (-math.inf, "not finite"), (-1, "-1 is negative"), ("-5s", "'-5s' is negative"), ("-PT1H", "negative"),
    (timedelta(seconds=-1), "negative"), (0, "more than nothing"), ("0s", "more than nothing"), ("", "'' is no duration"),
    ("soon", "'soon' is no duration"), ("nan", "'nan' is no duration"), ("inf", "'inf' is no duration"),
    ("1m1h", "no duration"), ("1h1h", "no duration"), ("1m30", "no duration"), ("5 parsecs", "no duration"),
    ("P", "no duration"), ("PT", "no duration"), ("P1DT", "no duration"), ("1e3s", "no duration"),
    ("P1M", "'P1M' counts years or months"), ("P1Y2M3DT4H", "counts years or months"), (4e9, "too long: 36500d"),
    ("40000d", "too long"), (timedelta.max, "too long"), (10**400, "too long"), ("9" * 60 + "d", "too long"), ("1e999", "too long"), ("1" + " " * 100_000 + "s", "100002 characters"),
]  # fmt: skip


def refused(value: object, **options: Any) -> Problem:
    with pytest.raises(InvalidInput) as caught:
        parse_duration(value, "nodes.a.timeout", **options)
    return caught.value.problem


@pytest.mark.parametrize(("value", "seconds"), READ)
def test_each_form_is_read(value: object, seconds: float) -> None:
    assert parse_duration(value) == seconds
    assert parse_optional(value) == seconds
    assert FunctionNode.model_validate({"function": "m:f", "timeout": value}).timeout == seconds
    assert Retry(initial=value, max=value).max == seconds  # type: ignore[arg-type]


@pytest.mark.parametrize(("value", "says"), REFUSED)
def test_what_is_refused_is_shown_with_its_field_and_the_forms(value: object, says: str) -> None:
    found = refused(value)
    assert (found.code, found.where) == ("duration.invalid", "nodes.a.timeout")
    with pytest.raises(InvalidInput, match=says):
        parse_duration(value)
    assert found.fix is not None
    assert FORMS in found.fix
    assert len(found.message) < 200


def test_an_integer_that_python_does_not_write_is_refused_too() -> None:
    assert refused(10**5000).message.startswith("that integer is too long")


def test_nothing_at_all_is_a_duration_where_it_means_something() -> None:
    assert parse_duration("0s", zero=True) == parse_duration(0, zero=True) == 0
    assert (Retry(initial=0).initial, AgentSpec(model="scripted:echo", patience=0).patience) == (
        0,
        0,
    )
    assert refused(-1, zero=True).message == "-1 is negative"
    assert parse_optional(None) is None


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0s"), (3600, "1h"), (5400, "1h30m"), (0.5, "500ms"), (1.5, "1.5s"), (90.5, "1m30.5s"), (90_000, "1d1h"),
        (604_800, "7d"), (0.0015, "1.5ms"), (86_400.0, "1d"), (1e12, "11574074d1h46m40s"),
    ],
)  # fmt: skip
def test_people_read_the_shortest_form(seconds: float, text: str) -> None:
    assert format_duration(seconds) == text


@given(
    st.one_of(
        st.floats(0, LONGEST),
        st.integers(0, int(LONGEST)),
        st.integers(0, 10**9).map(lambda ms: ms / 1000),
        st.integers(0, 10**9).map(lambda ms: ms * 0.001),
    )
)
@example(5e-324)
@example(1.0009999999999999)
@example(90.1)
def test_what_is_shown_is_read_as_the_same_number(seconds: float) -> None:
    assert parse_duration(format_duration(seconds), zero=True) == seconds


@given(st.timedeltas(timedelta(0), timedelta(days=36_500)))
def test_a_timedelta_is_its_seconds(value: timedelta) -> None:
    assert parse_duration(value, zero=True) == value.total_seconds()


@given(st.text(max_size=80) | st.text("0123456789.,wdhmsPTDHMSW +-eE", max_size=30))
def test_any_text_is_read_or_refused(text: str) -> None:
    with contextlib.suppress(InvalidInput):
        assert 0 <= parse_duration(text, zero=True) <= LONGEST


def graph(timeout: object, retry: object = None) -> dict[str, object]:
    node = {"type": "function", "function": "m:f", "timeout": timeout}
    return {"name": "g", "nodes": {"a": node if retry is None else {**node, "retry": retry}}}


def test_the_normal_form_is_seconds_and_the_hash_does_not_know_how_they_were_written() -> None:
    made = parse_graph(graph("1h30m", {"initial": "500ms", "max": "PT2M"}))
    assert made.spec()["nodes"]["a"]["timeout"] == 5400.0  # type: ignore[call-overload,index]
    assert made.spec()["nodes"]["a"]["retry"] == {"initial": 0.5, "max": 120.0}  # type: ignore[call-overload,index]
    assert made.hash == parse_graph(graph(5400, {"initial": 0.5, "max": 120})).hash
    # What stood in logs and buckets before there was more than one form; a text of one unit was multiplied just so.
    assert made.hash == "sha256:e3d5817a6253c3ff7e551de649b9c6ef5d0b4e149e01a03d18dbf6bca2e2ce05"
    assert parse_graph(graph("1001ms")).nodes["a"].timeout == 1001 * 0.001


def test_a_graph_names_the_field_of_a_wrong_one_and_all_of_them() -> None:
    found = problems_in(graph("soon", {"initial": "-1s"}))
    assert [(p.code, p.where) for p in found] == [
        ("duration.invalid", "graph.nodes.a.function.retry.initial"),
        ("duration.invalid", "graph.nodes.a.function.timeout"),
    ]
    assert all(FORMS in str(p.fix) for p in found)


def test_what_was_stored_may_be_longer_than_what_is_accepted_now() -> None:
    with pytest.raises(InvalidInput, match="too long"):
        parse_graph(graph(1e12))
    assert parse_graph(graph(1e12), stored=True).nodes["a"].timeout == 1e12
    with pytest.raises(InvalidInput, match="not finite"):
        parse_graph(graph(math.inf), stored=True)


def test_a_request_has_any_form_and_keeps_seconds() -> None:
    body = {"id": "q1", "name": "s", "graph": "g", "every": "PT1H30M"}
    request = parse_request("schedule", json.dumps(body).encode())
    assert isinstance(request, ScheduleRequest)
    assert request.every == 5400.0
    with pytest.raises(InvalidInput) as caught:
        parse_request("schedule", json.dumps({**body, "every": "P1M"}).encode())
    assert (caught.value.problem.code, caught.value.problem.where) == ("duration.invalid", "every")


@pytest.mark.parametrize(("value", "_seconds"), READ)
def test_the_published_schema_lets_the_forms_in(value: object, _seconds: float) -> None:
    if isinstance(value, str | int | float):
        node = Draft202012Validator(schema_of(FunctionNode))
        assert not list(node.iter_errors({"type": "function", "function": "m:f", "timeout": value}))
