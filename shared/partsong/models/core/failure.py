"""Failures: what an HTTP status, a provider's error code and its hints say about another attempt."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from pydantic import JsonValue

from partsong.contracts.talk.chunks import ErrorClass, Failed

__all__ = ["RETRYABLE", "error_class", "failed", "retry_after"]

RETRYABLE: frozenset[ErrorClass] = frozenset(
    {"rate_limited", "overloaded", "timeout", "connection", "truncated", "server"}
)
"""Classes for which the same call may succeed if it is simply made again."""

_BY_STATUS: dict[int, ErrorClass] = {
    401: "auth",
    402: "limit",
    403: "auth",
    408: "timeout",
    409: "server",  # vendors' lock time-outs, which their own SDKs retry
    429: "rate_limited",
    503: "overloaded",
    504: "timeout",
    529: "overloaded",
}

_BY_CODE: dict[str, ErrorClass] = {
    # Anthropic's types
    "api_error": "server",
    "authentication_error": "auth",
    "billing_error": "limit",
    "invalid_request_error": "invalid_request",
    "not_found_error": "invalid_request",
    "overloaded_error": "overloaded",
    "permission_error": "auth",
    "rate_limit_error": "rate_limited",
    "request_too_large": "invalid_request",
    "timeout_error": "timeout",
    # OpenAI's codes
    "insufficient_quota": "limit",
    "invalid_api_key": "auth",
    "rate_limit_exceeded": "rate_limited",
    "server_error": "server",
    "server_is_overloaded": "overloaded",
    "slow_down": "overloaded",
    "vector_store_timeout": "timeout",
    # Google's statuses
    "DEADLINE_EXCEEDED": "timeout",
    "INTERNAL": "server",
    "INVALID_ARGUMENT": "invalid_request",
    "PERMISSION_DENIED": "auth",
    "RESOURCE_EXHAUSTED": "rate_limited",
    "UNAUTHENTICATED": "auth",
    "UNAVAILABLE": "overloaded",
}


def error_class(status: int | None, code: str | None = None) -> ErrorClass:
    """The class of an error. The code decides where it is known, because an error event comes with status 200."""
    if code in _BY_CODE:
        return _BY_CODE[code]
    if status is None or status < 400:
        return "server"
    return _BY_STATUS.get(status, "server" if status >= 500 else "invalid_request")


def failed(
    error: ErrorClass,
    message: str,
    *,
    status: int | None = None,
    headers: Mapping[str, str] | None = None,
    body: JsonValue = None,
    now: datetime | None = None,
) -> Failed:
    """The chunk of a failure. `x-should-retry` overrules the class's own rule; `now` dates a hint that is a date."""
    headers = headers or {}
    asked = headers.get("x-should-retry")
    return Failed(
        error=error,
        message=message,
        status=status,
        retryable=asked == "true" if asked in {"true", "false"} else error in RETRYABLE,
        retry_after=retry_after(headers, body, now),
    )


def retry_after(
    headers: Mapping[str, str], body: JsonValue = None, now: datetime | None = None
) -> float | None:
    """Seconds that the provider asks us to wait; None if it does not say, or says nonsense.

    Most exact hint first: `retry-after-ms`, then `retry-after` in seconds or as a date, then the `RetryInfo` that
    Gemini puts into the body. A date is measured against the answer's own `date`, so our clock need not agree.
    """
    if (milliseconds := _seconds(headers.get("retry-after-ms"))) is not None:
        return milliseconds / 1000
    hint = headers.get("retry-after")
    if (seconds := _seconds(hint)) is not None:
        return seconds
    if (moment := _moment(hint)) is not None:
        reference = _moment(headers.get("date")) or now
        return max(0.0, (moment - reference).total_seconds()) if reference else None
    return _retry_info(body)


def _seconds(text: str | None) -> float | None:
    try:
        value = float(text) if text is not None else math.nan
    except ValueError:
        return None
    return value if math.isfinite(value) and value >= 0 else None


def _moment(text: str | None) -> datetime | None:
    try:
        moment = parsedate_to_datetime(text) if text is not None else None
    except ValueError:
        return None
    return moment.replace(tzinfo=UTC) if moment is not None and moment.tzinfo is None else moment


def _retry_info(body: JsonValue) -> float | None:
    error = body.get("error", body) if isinstance(body, dict) else None
    details = error.get("details") if isinstance(error, dict) else None
    for detail in details if isinstance(details, list) else ():
        if isinstance(detail, dict) and str(detail.get("@type", "")).endswith(".RetryInfo"):
            found = re.fullmatch(r"(\d+(?:\.\d+)?)s", str(detail.get("retryDelay")))
            return float(found[1]) if found else None
    return None
