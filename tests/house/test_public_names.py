"""`__all__` and reality: what a module offers is what it says it offers. (Ruff keeps the order, RUF022.)"""

from __future__ import annotations

import ast
from collections.abc import Iterator

from tests.house.sources import LANGUAGE_AND_MEANS, PLAYERS, modules, name_of, parse

PUBLIC = [
    path
    for path in modules(*LANGUAGE_AND_MEANS)
    if "cli" not in path.parts and (path.stem == "__init__" or not path.stem.startswith("_"))
]


def declared(tree: ast.Module) -> list[str] | None:
    """The names in `__all__`, or None if there is none."""
    for node in tree.body:
        if isinstance(node, ast.Assign) and any(
            isinstance(target, ast.Name) and target.id == "__all__" for target in node.targets
        ):
            names: list[str] = ast.literal_eval(node.value)
            return names
    return None


def statements(body: list[ast.stmt]) -> Iterator[ast.stmt]:
    """Top-level statements, also those under a top-level `if` or `try`."""
    for node in body:
        yield node
        if isinstance(node, ast.If | ast.Try):
            yield from statements(node.body)
            yield from statements(node.orelse)


def defined(tree: ast.Module) -> set[str]:
    """Names of the classes, functions and values that the module itself makes; type variables are nobody's API."""
    found: set[str] = set()
    for node in statements(tree.body):
        match node:
            case (
                ast.ClassDef(name=name)
                | ast.FunctionDef(name=name)
                | ast.AsyncFunctionDef(name=name)
            ):
                found.add(name)
            case ast.Assign(value=ast.Call(func=ast.Name(id="TypeVar" | "ParamSpec"))):
                pass
            case ast.Assign(targets=targets):
                found.update(target.id for target in targets if isinstance(target, ast.Name))
            case ast.AnnAssign(target=ast.Name(id=name)):
                found.add(name)
            case _:
                pass
    return found


def imported(tree: ast.Module) -> set[str]:
    """Names that the module got from elsewhere at import time."""
    return {
        alias.asname or alias.name.partition(".")[0]
        for node in statements(tree.body)
        if isinstance(node, ast.Import | ast.ImportFrom)
        for alias in node.names
    }


def lazy(tree: ast.Module) -> set[str]:
    """Names that a module-level `__getattr__` serves: the string keys of its tables."""
    if "__getattr__" not in defined(tree):
        return set()
    return {
        key.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Dict)
        for key in node.keys
        if isinstance(key, ast.Constant) and isinstance(key.value, str)
    }


def test_every_name_in_all_exists() -> None:
    wrong = []
    for path in modules(*LANGUAGE_AND_MEANS, *PLAYERS):
        tree = parse(path)
        missing = set(declared(tree) or ()) - defined(tree) - imported(tree) - lazy(tree)
        if missing:
            wrong.append(f"{name_of(path)}: in __all__ but not in the module: {sorted(missing)}")
    assert not wrong, "\n".join(wrong)


def test_every_public_name_is_in_all() -> None:
    wrong = []
    for path in PUBLIC:
        tree = parse(path)
        public = {name for name in defined(tree) if not name.startswith("_")}
        names = declared(tree)
        if names is None and public:
            wrong.append(f"{name_of(path)} defines {sorted(public)} but has no __all__")
        elif hidden := public - set(names or ()):
            wrong.append(
                f"{name_of(path)}: public but not in __all__ (or prefix with _): {sorted(hidden)}"
            )
    assert not wrong, "\n".join(wrong)
