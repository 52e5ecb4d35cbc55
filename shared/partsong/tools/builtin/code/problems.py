"""What is wrong with a model's code, in words that help it to write the next version."""

from __future__ import annotations

import re

from partsong.contracts.durations import format_duration
from partsong.contracts.errors import InvalidInput, Unavailable
from partsong.tools.builtin.code.limits import Limits

__all__ = ["LANGUAGE", "crashed", "limit", "missing", "raised", "syntax", "unsupported"]

_LONGEST = 4000
_UNSUPPORTED = re.compile(r"(?:.* )?does not yet support (.*)", re.DOTALL)
LANGUAGE = (
    "write functions, closures, comprehensions and plain classes; there is no inheritance, yield or property, "
    "and of the library only json, re, math, datetime, decimal, random, itertools, functools, collections, dataclasses, "
    "base64, hashlib, copy, asyncio and typing, and none of it reaches files or the network"
)
"""What the sandbox's Python is like."""


def syntax(said: str) -> InvalidInput:
    """The code cannot be read."""
    return InvalidInput("code.syntax", _cut(said), where="code", fix="correct the code")


def unsupported(said: str) -> InvalidInput:
    """The code uses what the sandbox does not have."""
    found = _UNSUPPORTED.match(said)
    return InvalidInput(
        "code.unsupported",
        f"not in this sandbox: {_cut(found[1] if found else said)}",
        where="code",
        fix=LANGUAGE,
    )


def raised(said: str, printed: str) -> InvalidInput:
    """The code raised."""
    return InvalidInput(
        "code.raised", _cut(said) + _printed(printed), where="code", fix="correct the code"
    )


def limit(said: str, limits: Limits, printed: str) -> InvalidInput:
    """The code wanted more than it may have."""
    return InvalidInput(
        "code.limit",
        f"stopped: {_cut(said)}{_printed(printed)}",
        where="code",
        fix=f"there are {format_duration(limits.seconds)}, {limits.memory / 1024 / 1024:g} MB of memory, {limits.depth} nested calls, "
        f"{limits.output} bytes of output and {limits.calls} tool calls: do less, or in smaller parts",
    )


def crashed(said: str) -> Unavailable:
    """The sandbox died, and nobody knows why; the process around it did not."""
    return Unavailable(
        "code.crashed", f"the sandbox is gone: {_cut(said)}", retryable=True, fault="platform"
    )


def missing(package: str, extra: str) -> Unavailable:
    """The sandbox is not installed."""
    return Unavailable(
        "code.not_installed",
        f"{package} is not installed",
        where=extra,
        fix=f"pip install 'partsong[{extra}]'",
    )


def _printed(text: str) -> str:
    return f"\nprinted before: {text[-500:]}" if text else ""


def _cut(text: str) -> str:
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}… [{len(text)} characters in all]"
