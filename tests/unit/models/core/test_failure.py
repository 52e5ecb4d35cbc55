"""Failures: classes and retry hints, from statuses, codes, headers and bodies."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest
from pydantic import JsonValue

from partsong.models.core.failure import error_class, failed, retry_after
from partsong.models.providers.openai_client import explain as openai_explain
from partsong.models.providers.transport import explain

NOW = datetime(2026, 3, 1, 12, 0, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("status", "code", "expected"),
    [
        (200, "overloaded_error", "overloaded"),
        (429, "insufficient_quota", "limit"),
        (429, None, "rate_limited"),
        (429, "some_new_code", "rate_limited"),
        (418, None, "invalid_request"),
        (408, None, "timeout"),
        (409, None, "server"),
        (599, None, "server"),
        (None, "DEADLINE_EXCEEDED", "timeout"),
        (None, "never_heard_of", "server"),
        (None, None, "server"),
    ],
)
def test_a_code_that_is_known_decides_before_the_status(
    status: int | None, code: str | None, expected: str
) -> None:
    assert error_class(status, code) == expected


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry-after": "7"}, 7.0),
        ({"retry-after": "0.5"}, 0.5),
        ({"retry-after-ms": "250", "retry-after": "7"}, 0.25),
        ({"retry-after": "Sun, 01 Mar 2026 12:00:30 GMT"}, 30.0),
        ({"retry-after": "Sun, 01 Mar 2026 11:00:00 GMT"}, 0.0),
        # Their clock is an hour ahead of ours; the wait is still what they meant.
        (
            {
                "retry-after": "Sun, 01 Mar 2026 13:00:05 GMT",
                "date": "Sun, 01 Mar 2026 13:00:00 GMT",
            },
            5.0,
        ),
        ({"retry-after": "soon"}, None),
        ({"retry-after": "-1"}, None),
        ({"retry-after": "nan"}, None),
        ({"retry-after": "inf"}, None),
        ({}, None),
    ],
)
def test_a_header_says_how_long_to_wait(headers: dict[str, str], seconds: float | None) -> None:
    assert retry_after(headers, None, NOW) == seconds


def test_a_date_without_any_clock_says_nothing() -> None:
    assert retry_after({"retry-after": "Sun, 01 Mar 2026 12:00:30 GMT"}) is None


@pytest.mark.parametrize(
    "body", [None, [], {}, {"error": "x"}, {"error": {"details": [{"@type": "x"}, 1]}}]
)
def test_a_body_without_a_hint_says_nothing(body: JsonValue) -> None:
    assert retry_after({}, body) is None


@pytest.mark.parametrize(("delay", "seconds"), [("31s", 31.0), ("0.25s", 0.25), ("later", None)])
def test_a_retry_info_is_found_in_the_body(delay: str, seconds: float | None) -> None:
    detail: JsonValue = {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": delay}
    assert retry_after({}, {"error": {"details": [{"@type": "other"}, detail]}}) == seconds


def test_the_provider_may_overrule_whether_to_retry() -> None:
    assert not failed("server", "x", headers={"x-should-retry": "false"}).retryable
    assert failed("invalid_request", "x", headers={"x-should-retry": "true"}).retryable
    assert failed("server", "x").retryable
    assert not failed("invalid_request", "x").retryable


def test_an_event_that_is_no_complete_json_is_truncated() -> None:
    with pytest.raises(json.JSONDecodeError) as caught:
        json.loads('{"type": "message_st')
    assert explain(caught.value).error == "truncated"
    assert openai_explain(caught.value).error == "truncated"


def test_an_error_nobody_foresaw_is_said_and_not_tried_again() -> None:
    unforeseen = explain(AttributeError("no attribute 'delta'"))
    assert (unforeseen.error, unforeseen.retryable) == ("server", False)
    assert unforeseen.message == "AttributeError: no attribute 'delta'"
