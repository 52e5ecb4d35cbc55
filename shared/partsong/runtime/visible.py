"""Text for a terminal or a log line: what would steer a terminal, or turn text around, is shown instead of sent.

Titles, outputs, errors and names come from graphs, models and callers. An escape sequence among them can retitle the
window, clear the screen or write "approved" over what is there, and a carriage return or an override of the direction of
text can show something else than it is (https://www.trojansource.codes).
"""

from __future__ import annotations

import re

__all__ = ["escaped", "has_password", "visible", "without_password"]

_STEERING = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f"  # C0 but tab and newline, DEL, C1
    "\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"  # directions of text
    "\u2028\u2029\ufeff\ufff9-\ufffb\ud800-\udfff]"  # lines, marks, and half characters
)
_BREAKING = re.compile("[\t\n]")
_NEXT_URL = re.compile(r",(?=\s*[A-Za-z]+://)")
"""Between two URLs; a comma elsewhere may be one of a password."""


def visible(text: str, *, lines: bool = True) -> str:
    """The text with such characters written out as escapes; without `lines` it stays on one line."""
    if text.isascii() and text.isprintable():
        return text
    text = _STEERING.sub(_written, text)
    return text if lines else _BREAKING.sub(lambda sign: repr(sign[0])[1:-1], text)


def escaped(text: str) -> str:
    """JSON, or YAML in double quotes, in which such characters stand as escapes: it reads as the same value."""
    return _STEERING.sub(lambda sign: f"\\u{ord(sign[0]):04x}", text)


def without_password(url: str, *, instead: str = "") -> str:
    """A URL, or several with commas between, without what stands before its @; `instead` takes its place."""
    shown = []
    for part in _NEXT_URL.split(url):
        scheme, sep, rest = part.strip().partition("://")
        scheme, rest = (scheme, rest) if sep else ("", scheme)
        _, secret, host = rest.rpartition("@")
        shown.append(f"{scheme}{sep}{instead if secret else ''}{host}")
    return ",".join(shown)


def has_password(url: str) -> bool:
    """A URL, or one of several, says before its @ who asks."""
    return without_password(url, instead="@") != without_password(url)


def _written(sign: re.Match[str]) -> str:
    code = ord(sign[0])
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"
