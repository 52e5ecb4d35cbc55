"""What a docstring says about a function and its parameters: in the manner of Google, of NumPy, or of Sphinx."""

from __future__ import annotations

import inspect
import itertools
import re
from collections.abc import Callable

__all__ = ["described"]

_GOOGLE = re.compile(
    r"^(Args|Arguments|Parameters|Params|Keyword Args|Other Parameters|Attributes|Returns|Yields|Raises|Warns|Examples?"
    r"|Notes?|See Also|References|Todo|Warnings?):\s*$"
)
_NUMPY = re.compile(
    r"^(Parameters|Other Parameters|Attributes|Methods|Returns|Yields|Receives|Raises|Warns|Examples|Notes|Warnings|See Also"
    r"|References)\s*$"
)
_RULE = re.compile(r"^-{3,}\s*$")
_PARAMETERS = {"Args", "Arguments", "Parameters", "Params", "Keyword Args", "Other Parameters"}
_GOOGLE_LINE = re.compile(r"^\*{0,2}(\w+)\s*(?:\([^)]*\))?:\s*(.*)$")
_NUMPY_LINE = re.compile(r"^\*{0,2}(\w+(?:\s*,\s*\*{0,2}\w+)*)\s*(?::.*)?$")
_SPHINX = re.compile(r"^:(\w+)(?:\s+([^:]*))?:\s*(.*)$")
_SPHINX_PARAMETERS = {"param", "parameter", "arg", "argument", "key", "keyword"}


def described(function: Callable[..., object]) -> tuple[str, dict[str, str]]:
    """The text before the first section, and what the sections of arguments say of each."""
    lines = (inspect.getdoc(function) or "").splitlines()
    heads = _heads(lines)
    fields = [i for i, line in enumerate(lines) if _SPHINX.match(line)]
    first = min([*(start for start, _, _ in heads), *fields], default=len(lines))
    found: dict[str, str] = {}
    for (start, title, numpy), (end, _, _) in itertools.pairwise([*heads, (len(lines), "", False)]):
        if title in _PARAMETERS:
            inner = lines[start + 1 + numpy : end]
            found |= _numpy(inner) if numpy else _google(inner)
    return "\n".join(lines[:first]).strip(), {**found, **_sphinx(lines)}


def _heads(lines: list[str]) -> list[tuple[int, str, bool]]:
    """The sections: where each begins, its title, and whether a line is drawn under that."""
    heads: list[tuple[int, str, bool]] = []
    for i, line in enumerate(lines):
        if found := _GOOGLE.match(line):
            heads.append((i, found[1], False))
        elif (found := _NUMPY.match(line)) and i + 1 < len(lines) and _RULE.match(lines[i + 1]):
            heads.append((i, found[1], True))
    return heads


def _google(lines: list[str]) -> dict[str, str]:
    """`name (type): text`, and further lines that stand deeper."""
    found: dict[str, str] = {}
    name = ""
    outer = min((_depth(line) for line in lines if line.strip()), default=0)
    for line in lines:
        if _depth(line) == outer and (match := _GOOGLE_LINE.match(line.strip())):
            name, found[match[1]] = match[1], match[2]
        elif name and line.strip():
            found[name] = f"{found[name]} {line.strip()}".strip()
    return found


def _numpy(lines: list[str]) -> dict[str, str]:
    """`name : type`, and the text in the lines below, which stand deeper; several names may share it."""
    found: dict[str, str] = {}
    names: list[str] = []
    for line in lines:
        if line.strip() and not _depth(line):
            match = _NUMPY_LINE.match(line.strip())
            names = [name.strip(" *") for name in match[1].split(",")] if match else []
            found |= dict.fromkeys(names, "")
        elif line.strip():
            found |= {name: f"{found[name]} {line.strip()}".strip() for name in names}
    return {name: text for name, text in found.items() if text}


def _sphinx(lines: list[str]) -> dict[str, str]:
    """`:param type name: text`, and further lines until a blank one or the next field."""
    found: dict[str, str] = {}
    name = ""
    for line in lines:
        if match := _SPHINX.match(line):
            said = (match[2] or "").split()
            name = said[-1].lstrip("*\\") if match[1] in _SPHINX_PARAMETERS and said else ""
            if name:
                found[name] = match[3]
        elif not line.strip():
            name = ""
        elif name:
            found[name] = f"{found[name]} {line.strip()}".strip()
    return found


def _depth(line: str) -> int:
    return len(line) - len(line.lstrip())
