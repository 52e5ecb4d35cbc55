"""What is added to a model's code, so that values leave the sandbox as text and never as objects.

A list that holds itself forty times over is small inside and a trillion objects outside: the sandbox's limits end where
the conversion of a value begins. So arguments and results are written as JSON inside, under the limits, to the standard
error stream, and the host takes no object from the sandbox.
"""

from __future__ import annotations

import ast
import warnings
from collections.abc import Iterable

__all__ = ["OUTSIDE", "SHOW", "shims", "with_value"]

OUTSIDE = "_outside_"
"""Begins the names that the sandbox does not know and asks the host for."""

_VALUE = "_value_"

SHOW = f"""
def _show_(value):
    import json, sys
    try:
        text = json.dumps(value)
    except (TypeError, ValueError):
        text = json.dumps(repr(value))
    print('', text, sep='\\n', file=sys.stderr)
_show_({_VALUE})
"""
"""Run after the code: writes its value."""

_SHIM = """
def {name}(*args, **kwargs):
    import json, sys
    print('', json.dumps([args, kwargs]), sep='\\n', file=sys.stderr)
    return {outside}{name}()
"""


def shims(functions: Iterable[str]) -> str:
    """Run before the code: functions that write their arguments, then wait for the host."""
    made = "".join(_SHIM.format(name=name, outside=OUTSIDE) for name in functions)
    return f"{made}\n{_VALUE} = None\n"


def with_value(code: str) -> str:
    """The code, with the value of its last line kept; as it is if the last line has none."""
    try:
        with warnings.catch_warnings(action="ignore"):
            body = ast.parse(code).body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return code  # the sandbox has a grammar of its own, and better words for what is wrong
    if not body or not isinstance(last := body[-1], ast.Expr):
        return code
    lines = code.encode().splitlines(keepends=True)
    start = sum(map(len, lines[: last.lineno - 1])) + last.col_offset
    end = sum(map(len, lines[: (last.end_lineno or last.lineno) - 1])) + (last.end_col_offset or 0)
    text = code.encode()
    return b"".join(
        (text[:start], f"{_VALUE} = (".encode(), text[start:end], b")", text[end:])
    ).decode()
