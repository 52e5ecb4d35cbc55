"""Redaction: how the value of an argument is written that nobody is shown.

Where it would be shown or kept, `[redacted <token>]` stands in its place; the value itself lies in a vault under the
token until its call has been made. What is only shown says `[redacted]`.
"""

from __future__ import annotations

import re

from pydantic import JsonValue

__all__ = ["REDACTED", "placeholder", "token_in"]

REDACTED = "[redacted]"
"""Stands where a value is shown that is kept nowhere."""

_PLACEHOLDER = re.compile(r"\[redacted ([A-Za-z0-9_-]{22})\]")


def placeholder(token: str) -> str:
    """The text that stands for the value under `token`: 22 signs of URL-safe base64."""
    return f"[redacted {token}]"


def token_in(value: JsonValue) -> str | None:
    """The token of a placeholder; None if the value is none."""
    found = _PLACEHOLDER.fullmatch(value) if isinstance(value, str) else None
    return found[1] if found else None
