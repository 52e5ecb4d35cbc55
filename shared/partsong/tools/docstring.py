"""What a Google-style docstring says about a function and its parameters."""

from __future__ import annotations

import inspect
import itertools
import re
from collections.abc import Callable

__all__ = ["described"]

_SECTION = re.compile(r"^(Args|Arguments|Parameters|Returns|Yields|Raises|Examples?|Notes?):\s*$")
_PARAMETERS = {"Args", "Arguments", "Parameters"}
_PARAMETER = re.compile(r"^\*{0,2}(\w+)\s*(?:\([^)]*\))?:\s*(.*)$")


def described(function: Callable[..., object]) -> tuple[str, dict[str, str]]:
    """The text before the first section, and what the section of arguments says of each."""
    lines = (inspect.getdoc(function) or "").splitlines()
    heads = [i for i, line in enumerate(lines) if _SECTION.match(line)]
    summary = "\n".join(lines[: heads[0]] if heads else lines).strip()
    for start, end in itertools.pairwise([*heads, len(lines)]):
        if lines[start].rstrip().rstrip(":") in _PARAMETERS:
            return summary, _parameters(lines[start + 1 : end])
    return summary, {}


def _parameters(lines: list[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    name = ""
    outer = min((len(line) - len(line.lstrip()) for line in lines if line.strip()), default=0)
    for line in lines:
        depth = len(line) - len(line.lstrip())
        if depth == outer and (match := _PARAMETER.match(line.strip())):
            name, found[match[1]] = match[1], match[2]
        elif name and line.strip():
            found[name] = f"{found[name]} {line.strip()}".strip()
    return found
