"""Expressions and signatures as text: the same on every Python, in lines that fit a page."""

from __future__ import annotations

import ast
import copy
from collections.abc import Iterator, Sequence
from textwrap import wrap

from tests.house.api.source import Source

__all__ = ["WIDTH", "expression", "function", "value", "wrapped"]

WIDTH = 96
_INDENT = "    "
Function = ast.FunctionDef | ast.AsyncFunctionDef


def expression(source: Source, module: str, node: ast.expr) -> str:
    """An annotation or a base class; a string is what it says, and a private alias what it stands for."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        node = ast.parse(node.value, mode="eval").body
    return ast.unparse(_WithoutPrivate(source, module).visit(copy.deepcopy(node)))


class _WithoutPrivate(ast.NodeTransformer):
    def __init__(self, source: Source, module: str) -> None:
        self._source, self._module = source, module

    def visit_Name(self, node: ast.Name) -> ast.expr:
        found = self._source.find(self._module, node.id) if node.id.startswith("_") else None
        match found and found.nodes[-1]:
            case ast.Assign(value=aliased) | ast.AnnAssign(value=ast.expr() as aliased):
                return aliased
            case _:
                return node


def value(source: Source, module: str, node: ast.expr) -> str:
    """A default as readers can use it: a private constant is its value, and what is longer or made is `...`."""
    if isinstance(node, ast.Name) and node.id.startswith("_"):
        found = source.find(module, node.id)
        made = found.nodes[0] if found else None
        if isinstance(made, ast.Assign | ast.AnnAssign) and made.value:
            node = made.value
    match node:
        case ast.Call(func=ast.Lambda()):
            return "..."
        case ast.Call(args=[], keywords=[]) | ast.Name() | ast.Attribute():
            text = ast.unparse(node)
            return "..." if text.startswith("_") or "._" in text else text
        case _:
            return ast.unparse(node) if _literal(node) else "..."


def _literal(node: ast.expr) -> bool:
    try:
        ast.literal_eval(node)
    except (ValueError, TypeError):
        return False
    return len(ast.unparse(node)) <= 60


def function(source: Source, module: str, node: Function, *, bound: bool) -> list[str]:
    """A signature; the first parameter of a bound one is not the caller's."""
    word = "async def" if isinstance(node, ast.AsyncFunctionDef) else "def"
    returns = f" -> {expression(source, module, node.returns)}" if node.returns else ""
    parameters = list(_parameters(source, module, node, bound=bound))
    line = f"{word} {node.name}({', '.join(parameters)}){returns}"
    if len(line) <= WIDTH:
        return [line]
    inner = [f"{_INDENT}{one}," for one in parameters]
    return [f"{word} {node.name}(", *inner, f"){returns}"]


def _parameters(source: Source, module: str, node: Function, *, bound: bool) -> Iterator[str]:
    given = node.args
    plain = [*given.posonlyargs, *given.args]
    defaults: list[ast.expr | None] = [None] * (len(plain) - len(given.defaults))
    defaults += given.defaults
    for index, (one, default) in enumerate(zip(plain, defaults, strict=True)):
        if index or not bound:
            yield _parameter(source, module, one, default)
        if index + 1 == len(given.posonlyargs) and (index or not bound):
            yield "/"
    if given.vararg:
        yield f"*{_parameter(source, module, given.vararg, None)}"
    elif given.kwonlyargs:
        yield "*"
    for one, default in zip(given.kwonlyargs, given.kw_defaults, strict=True):
        yield _parameter(source, module, one, default)
    if given.kwarg:
        yield from _unpacked(source, module, given.kwarg)


def _parameter(source: Source, module: str, one: ast.arg, default: ast.expr | None) -> str:
    annotation = f": {expression(source, module, one.annotation)}" if one.annotation else ""
    if default is None:
        return f"{one.arg}{annotation}"
    return f"{one.arg}{annotation}{' = ' if annotation else '='}{value(source, module, default)}"


def _unpacked(source: Source, module: str, one: ast.arg) -> Iterator[str]:
    """The keywords behind `**options: Unpack[Options]`, which a caller may give."""
    match one.annotation:
        case ast.Subscript(value=ast.Name(id="Unpack"), slice=options):
            found = source.resolve(module, options)
        case _:
            found = None
    if not found or not isinstance(found.nodes[0], ast.ClassDef):
        yield f"**{_parameter(source, module, one, None)}"
        return
    for node in found.nodes[0].body:
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            yield f"{node.target.id}: {expression(source, found.module, node.annotation)} = ..."


def wrapped(line: str, indent: str = _INDENT) -> Sequence[str]:
    """One long line as several."""
    return wrap(
        line,
        WIDTH,
        subsequent_indent=indent,
        break_long_words=False,
        break_on_hyphens=False,
    )
