"""Where a name is written: modules as syntax trees, read without importing them, and imports followed to their end."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from tests.house.sources import LANGUAGE_AND_MEANS, PLAYERS, ROOT
from tests.house.test_public_names import declared, statements

__all__ = ["ROOTS", "Found", "Source", "sentence"]

ROOTS = tuple(ROOT / root for root in (*LANGUAGE_AND_MEANS, *PLAYERS))


@dataclass(frozen=True, slots=True)
class Found:
    """A name at the place that makes it."""

    module: str
    name: str
    nodes: tuple[ast.stmt, ...]
    """All that define it there: a function with overloads has several."""
    doc: str
    """The first sentence of its docstring, or of the string below it."""


@dataclass(frozen=True, slots=True)
class _Names:
    made: dict[str, list[ast.stmt]]
    docs: dict[str, str]
    imported: dict[str, tuple[str, str]]
    """Module and name; no name stands for the module itself."""
    starred: list[str]
    tables: dict[str, str]
    """String keys and values of dictionaries, if there is a `__getattr__` to serve them."""


class Source:
    """The project's modules below some roots; the first root that has a module wins."""

    def __init__(self, *roots: Path) -> None:
        self._roots = roots or ROOTS
        self.names = cache(self._names)
        self.tree = cache(self._tree)

    def all_of(self, module: str) -> tuple[str, ...]:
        """The module's `__all__`.

        Raises:
            LookupError: there is no such module, or it has none.
        """
        names = declared(self._required(module))
        if names is None:
            raise LookupError(f"{module} has no __all__ that is written out")
        return tuple(names)

    def about(self, module: str) -> str:
        """The first sentence of a module."""
        return sentence(ast.get_docstring(self._required(module)))

    def find(self, module: str, name: str) -> Found | None:
        """The name where it is made, behind all imports; None if the project does not make it."""
        seen: set[tuple[str, str]] = set()
        waiting = [(module, name)]
        while waiting:
            place = waiting.pop()
            if place in seen or self.tree(place[0]) is None:
                continue
            seen.add(place)
            names = self.names(place[0])
            if nodes := names.made.get(place[1]):
                return Found(*place, tuple(nodes), names.docs.get(place[1], ""))
            waiting += self._elsewhere(*place)
        return None

    def resolve(self, module: str, expression: ast.expr) -> Found | None:
        """What `Name`, `alias.Name` or `Name[…]` stands for in the module."""
        match expression:
            case ast.Subscript(value=value):
                return self.resolve(module, value)
            case ast.Name(id=name):
                return self.find(module, name)
            case ast.Attribute(value=ast.Name(id=alias), attr=name):
                home, inner = self.names(module).imported.get(alias, ("", ""))
                return self.find(f"{home}.{inner}" if inner else home, name) if home else None
            case _:
                return None

    def _elsewhere(self, module: str, name: str) -> Iterator[tuple[str, str]]:
        names = self.names(module)
        for starred in names.starred:
            yield starred, name
        if home := names.tables.get(name):
            where, _, inner = home.partition(":")
            yield f"{module}.{where}", inner or name
            yield where, inner or name
        if name in names.imported:
            yield names.imported[name]

    def _required(self, module: str) -> ast.Module:
        tree = self.tree(module)
        if tree is None:
            raise LookupError(f"there is no module {module}")
        return tree

    def _tree(self, module: str) -> ast.Module | None:
        inner = Path(*module.split("."))
        for root in self._roots:
            for path in (root / inner / "__init__.py", root / inner.with_suffix(".py")):
                if path.is_file():
                    return ast.parse(path.read_text("utf-8"), filename=str(path))
        return None

    def _names(self, module: str) -> _Names:
        found = _Names({}, {}, {}, [], {})
        tree = self._required(module)
        last: str | None = None
        for node in statements(tree.body):
            if last and isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
                found.docs.setdefault(last, sentence(str(node.value.value)))
            last = None
            match node:
                case ast.ClassDef() | ast.FunctionDef() | ast.AsyncFunctionDef():
                    found.made.setdefault(node.name, []).append(node)
                    found.docs[node.name] = sentence(ast.get_docstring(node))
                case (
                    ast.Assign(targets=[ast.Name(id=last)])
                    | ast.AnnAssign(target=ast.Name(id=last))
                ):
                    found.made[last] = [node]
                case ast.Import() | ast.ImportFrom():
                    _note_import(node, found)
                case _:
                    pass
        if "__getattr__" in found.made:
            found.tables.update(_pairs(tree))
        return found


def _note_import(node: ast.Import | ast.ImportFrom, found: _Names) -> None:
    for alias in node.names:
        if isinstance(node, ast.Import):
            found.imported[alias.asname or alias.name] = (alias.name, "")
        elif alias.name == "*":
            found.starred.append(node.module or "")
        else:
            found.imported[alias.asname or alias.name] = (node.module or "", alias.name)


def _pairs(tree: ast.Module) -> Iterator[tuple[str, str]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Dict):
            for key, value in zip(node.keys, node.values, strict=True):
                match key, value:
                    case ast.Constant(value=str(name)), ast.Constant(value=str(home)):
                        yield name, home
                    case _:
                        pass


def sentence(docstring: str | None) -> str:
    """The first sentence, on one line."""
    first = " ".join((docstring or "").strip().partition("\n\n")[0].split())
    end = first.find(". ")
    return first if end < 0 else first[: end + 1]
