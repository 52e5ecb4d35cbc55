"""What a subject, a filter, an id and a header may look like, the same for every log."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache

from partsong.contracts.errors import InvalidInput

__all__ = ["check_append", "compile_filter", "is_literal"]

_WORD = r"[^\s.*>\x00-\x1f\x7f\ud800-\udfff]+"
_LITERAL = re.compile(rf"{_WORD}(\.{_WORD})*")
_FILTER = re.compile(rf"((\*|{_WORD})\.)*(\*|>|{_WORD})")
_NAME = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_INK = r"[^\s\x00-\x1f\x7f\ud800-\udfff]"
_VALUE = re.compile(rf"({_INK}([^\x00-\x1f\x7f\ud800-\udfff]*{_INK})?)?")
_RESERVED = ("nats-", "partsong-blob")


def check_append(subject: str, id: str, headers: Mapping[str, str] | None) -> None:
    """Refuse what some log could not keep.

    Raises:
        InvalidInput: `subject.not_literal`, `id.invalid` or `header.invalid`.
    """
    if not _LITERAL.fullmatch(subject):
        raise InvalidInput(
            "subject.not_literal",
            f"{subject!r} is not a literal subject",
            where="subject",
            fix="append to tokens joined by dots, without wildcards and white space",
        )
    if not id or not _VALUE.fullmatch(id):
        raise InvalidInput(
            "id.invalid",
            f"{id!r} cannot be the id of a record",
            where="id",
            fix="give one line of text without white space around it",
        )
    for name, value in (headers or {}).items():
        _check_header(name, value)


def _check_header(name: str, value: str) -> None:
    if name.lower().startswith(_RESERVED):
        wrong = "is reserved"
    elif not _NAME.fullmatch(name):
        wrong = "is not a header name"
    elif not _VALUE.fullmatch(value):
        wrong = f"cannot have the value {value!r}"
    else:
        return
    raise InvalidInput(
        "header.invalid",
        f"header {name!r} {wrong}",
        where=f"headers[{name!r}]",
        fix="use letters, digits and - _ . in names; one line without white space around it as value",
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
