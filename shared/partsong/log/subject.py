"""What a subject, a filter, an id and a header may look like, the same for every log."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache

from partsong.contracts.errors import InvalidInput

__all__ = ["check_append", "check_literal", "compile_filter", "is_literal"]

_WORD = r"[^\s.*>\x00-\x1f\x7f\ud800-\udfff]+"
_LITERAL = re.compile(rf"{_WORD}(\.{_WORD})*")
_FILTER = re.compile(rf"((\*|{_WORD})\.)*(\*|>|{_WORD})")
_NAME = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_INK = r"[^\s\x00-\x1f\x7f\ud800-\udfff]"
_VALUE = re.compile(rf"({_INK}([^\x00-\x1f\x7f\ud800-\udfff]*{_INK})?)?")
_LONGEST = 1000
"""A NATS server closes the connection over a longer subject, for ever; so nothing longer is sent."""
_MOST_HEADERS = 32 * 1024
_RESERVED = ("nats-", "partsong-blob")


def check_append(subject: str, id: str, headers: Mapping[str, str] | None) -> None:
    """Refuse what some log could not keep.

    Raises:
        InvalidInput: `subject.not_literal`, `id.invalid` or `header.invalid`.
    """
    check_literal(subject)
    if not id or len(id) > _LONGEST or not _VALUE.fullmatch(id):
        raise InvalidInput(
            "id.invalid",
            f"{id[:80]!r} cannot be the id of a record",
            where="id",
            fix=f"give one line of at most {_LONGEST} characters without white space around it",
        )
    if headers:
        _check_headers(headers)


def check_literal(subject: str) -> None:
    """Refuse a subject that is a filter, or none at all.

    Raises:
        InvalidInput: `subject.not_literal`.
    """
    if len(subject) > _LONGEST or not _LITERAL.fullmatch(subject):
        raise InvalidInput(
            "subject.not_literal",
            f"{subject[:80]!r} is not a literal subject",
            where="subject",
            fix=f"use tokens joined by dots, without wildcards and white space, {_LONGEST} characters at most",
        )


def _check_headers(headers: Mapping[str, str]) -> None:
    size = sum(len(name) + len(value.encode(errors="replace")) for name, value in headers.items())
    if size > _MOST_HEADERS:
        raise _bad_header("headers", f"the headers have {size} bytes, {_MOST_HEADERS} at most fit")
    for name, value in headers.items():
        if name.lower().startswith(_RESERVED):
            wrong = "is reserved"
        elif not _NAME.fullmatch(name):
            wrong = "is not a header name"
        elif not _VALUE.fullmatch(value):
            wrong = f"cannot have the value {value!r}"
        else:
            continue
        raise _bad_header(f"headers[{name!r}]", f"header {name!r} {wrong}")


def _bad_header(where: str, message: str) -> InvalidInput:
    return InvalidInput(
        "header.invalid",
        message,
        where=where,
        fix="use letters, digits and - _ . in names, and one line without white space around it as value",
    )


def is_literal(subject: str) -> bool:
    """Whether a filter is a subject, so that it can match only that one."""
    return _LITERAL.fullmatch(subject) is not None


@lru_cache(maxsize=4096)
def compile_filter(filter: str) -> re.Pattern[str]:
    """A pattern that fully matches the subjects a NATS filter selects.

    Raises:
        InvalidInput: `subject.bad_filter`.
    """
    if not _FILTER.fullmatch(filter):
        raise InvalidInput(
            "subject.bad_filter",
            f"{filter!r} is not a filter",
            where="filter",
            fix="use tokens joined by dots; * for one token, > as the last for one or more",
        )
    wild = {"*": r"[^.]+", ">": r".+"}
    return re.compile(
        r"\.".join(wild.get(token) or re.escape(token) for token in filter.split("."))
    )
