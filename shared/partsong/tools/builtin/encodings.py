"""Encodings of text: what bytes are written in, by their declaration or their looks."""

from __future__ import annotations

import codecs
import re

__all__ = ["decoded", "detected", "known"]

_KNOWN = re.compile(
    r"utf-8|utf-8-sig|utf-16|utf-16-[bl]e|utf-32|ascii|iso8859-\d+|cp125\d|cp437|cp850|cp866|koi8-[ru]|mac-roman"
    r"|gb2312|gbk|gb18030|big5|euc_jp|euc_kr|shift_jis|cp932|cp949|iso2022_jp"
)
"""Python knows others that are no encodings of text, or take quadratic time (punycode)."""
_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_NO_TEXT = re.compile(rb"[\x00-\x06\x0e-\x1a\x1c-\x1f]")


def known(name: str) -> str | None:
    """Python's name of a declared encoding; None for what is not taken for text."""
    try:
        found = codecs.lookup(name).name
    except (LookupError, ValueError):
        return None
    return found if _KNOWN.fullmatch(found) else None


def detected(sample: bytes) -> str | None:
    """The encoding that the beginning of a text looks like, or None if it looks binary."""
    for mark, name in _MARKS:
        if sample.startswith(mark):
            return name
    if _NO_TEXT.search(sample):
        return None
    try:
        codecs.getincrementaldecoder("utf-8")().decode(sample)  # it may end within a character
    except UnicodeDecodeError:
        return "cp1252"
    return "utf-8"


def decoded(data: bytes, declared: str = "") -> str:
    """The text, whatever it takes: a mark at the beginning counts most, then the declaration, then its looks."""
    looks = detected(data)
    if looks in ("utf-8-sig", "utf-16", "utf-32"):
        return data.decode(looks, "replace")
    return data.decode(known(declared) or looks or "utf-8", "replace")
