"""The public API as a page: a section per module, a listing per name."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from tests.house.api.classes import read_class
from tests.house.api.source import Found, Source
from tests.house.api.table import PUBLIC, Table
from tests.house.api.text import expression, function, value, wrapped

__all__ = ["listed", "python_api"]

_HEAD = """\
# Python API

Written from the source by `make reference`, and compared with it by the tests: do not edit it by hand.

What is listed here is public: no change of it goes unnoticed, and each stands in the changelog.
All else is the project's own business, whatever its name looks like.

A field or a parameter without `=` has to be given; `...` stands for a default that is made or long.
What a class has from a base that is not listed stands in the class itself.
"""


def listed(source: Source, table: Table = PUBLIC) -> dict[str, tuple[str, ...]]:
    """The public names of each public module, in the table's order."""
    return {module: names or source.all_of(module) for module, names in table.items()}


def python_api(source: Source | None = None, table: Table = PUBLIC) -> str:
    """The page.

    Raises:
        LookupError: the table or an `__all__` names what is not there.
    """
    source = source or Source()
    found = {
        (module, name): _required(source, module, name)
        for module, names in listed(source, table).items()
        for name in names
    }
    homes = _homes(found)
    sections = [_HEAD]
    for module, names in listed(source, table).items():
        lines = [f"## {module}", "", _prose(source.about(module)), ""]
        for name in names:
            one = found[module, name]
            home = homes[one.module, one.name]
            lines += (
                _entry(source, name, one, homes)
                if home == (module, name)
                else [
                    f"### {name}",
                    "",
                    f"See `{home[0]}.{home[1]}`, which can be imported from here too.",
                    "",
                ]
            )
        sections.append("\n".join(lines))
    return "\n".join(sections).rstrip() + "\n"


def _required(source: Source, module: str, name: str) -> Found:
    found = source.find(module, name)
    if found is None:
        raise LookupError(f"{module} offers {name}, which nothing makes")
    return found


def _homes(found: dict[tuple[str, str], Found]) -> dict[tuple[str, str], tuple[str, str]]:
    """Where each thing is described: where it is first offered, wherever it is made."""
    homes: dict[tuple[str, str], tuple[str, str]] = {}
    for place, one in found.items():
        homes.setdefault((one.module, one.name), place)
    return homes


def _entry(
    source: Source, name: str, found: Found, public: dict[tuple[str, str], tuple[str, str]]
) -> list[str]:
    kind, block = _listing(source, name, found, public)
    about = f"{kind}: {_prose(found.doc)}" if found.doc else f"{kind}."
    return [f"### {name}", "", about, "", "```text", *block, "```", ""]


def _listing(
    source: Source, name: str, found: Found, public: dict[tuple[str, str], tuple[str, str]]
) -> tuple[str, list[str]]:
    match found.nodes[-1]:
        case ast.ClassDef():
            return "Class", list(read_class(source, found, public).lines(name))
        case ast.FunctionDef() | ast.AsyncFunctionDef():
            return "Function", list(_functions(source, found))
        case ast.AnnAssign(annotation=ast.Name(id="TypeAlias"), value=ast.expr() as aliased):
            return "Alias", list(wrapped(f"{name} = {expression(source, found.module, aliased)}"))
        case ast.AnnAssign(annotation=annotation, value=given):
            shown = value(source, found.module, given) if given else "..."
            return "Constant", list(
                wrapped(f"{name}: {expression(source, found.module, annotation)} = {shown}")
            )
        case ast.Assign(value=aliased) if _is_alias(name, aliased):
            return "Alias", list(wrapped(f"{name} = {expression(source, found.module, aliased)}"))
        case ast.Assign(value=ast.Call(func=maker)):
            return "Constant", list(
                wrapped(f"{name} = {expression(source, found.module, maker)}(...)")
            )
        case ast.Assign(value=given):
            return "Constant", list(wrapped(f"{name} = {value(source, found.module, given)}"))
        case other:
            raise LookupError(f"{found.module}.{name} is made by {type(other).__name__}")


def _functions(source: Source, found: Found) -> Iterator[str]:
    nodes = [one for one in found.nodes if isinstance(one, ast.FunctionDef | ast.AsyncFunctionDef)]
    for node in nodes[: len(nodes) - 1 or 1]:  # what the overloads share is nobody's signature
        yield from (f"@{ast.unparse(one)}" for one in node.decorator_list)
        yield from function(source, found.module, node, bound=False)


def _is_alias(name: str, node: ast.expr) -> bool:
    types = isinstance(node, ast.Subscript | ast.BinOp | ast.Name | ast.Attribute)
    return types and name[0].isupper() and not name.isupper()


def _prose(text: str) -> str:
    """A docstring's sentence as Markdown: what it says of tags and links is not meant as such."""
    parts = re.split(r"(`[^`]*`)", text)
    return "".join(
        one if one.startswith("`") else re.sub(r"([<*\[_])", r"\\\1", one) for one in parts
    )
