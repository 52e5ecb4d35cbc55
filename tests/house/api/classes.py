"""A class as its users see it: public bases by name, what private ones give as if it were written here."""

from __future__ import annotations

import ast
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field

from tests.house.api.source import Found, Source
from tests.house.api.text import Function, expression, function, value, wrapped

__all__ = ["Class", "read_class"]

_SPOKEN = {
    "__aenter__", "__aiter__", "__anext__", "__await__", "__call__", "__contains__", "__enter__",
    "__getitem__", "__init__", "__iter__", "__len__", "__new__", "__next__",
}  # fmt: skip
"""The special methods that have a syntax, or a call, of their own."""
_BELOW = "    "


@dataclass(slots=True)
class Class:
    """What is said of a class."""

    decorators: list[str] = field(default_factory=list)
    bases: list[str] = field(default_factory=list)
    fields: dict[str, list[str]] = field(default_factory=dict)
    """In their order, which is that of positional arguments."""
    required: set[str] = field(default_factory=set)
    methods: dict[str, list[str]] = field(default_factory=dict)

    def lines(self, name: str) -> Iterator[str]:
        """The class as a stub."""
        yield from (f"@{one}" for one in self.decorators)
        yield from wrapped(
            f"class {name}({', '.join(self.bases)})" if self.bases else f"class {name}"
        )
        special = {"__new__": 0, "__init__": 1}
        order = sorted(self.methods, key=lambda one: (special.get(one, 2), one))
        for lines in (*self.fields.values(), *(self.methods[one] for one in order)):
            yield from (f"{_BELOW}{line}" for line in lines)


def read_class(source: Source, found: Found, public: Collection[tuple[str, str]]) -> Class:
    """Read a class; `public` are the places of those that readers know by name."""
    node = found.nodes[-1]
    assert isinstance(node, ast.ClassDef)
    inherited = Class()
    for base in node.bases:
        # The base that is named first wins, as it does when Python looks.
        inherited = _over(_of_base(source, found.module, base, public), inherited)
    own = Class(decorators=[ast.unparse(one) for one in node.decorator_list])
    for statement in node.body:
        _member(source, found.module, statement, own)
    return _over(inherited, own)


def _over(under: Class, over: Class) -> Class:
    """Both, where a name of `over` hides that of `under`, and a field keeps its place."""
    return Class(
        over.decorators,
        [*over.bases, *(one for one in under.bases if one not in over.bases)],
        {
            name: one
            for name, one in (under.fields | over.fields).items()
            if name not in over.methods
        },
        under.required - set(over.fields) - set(over.methods) | over.required,
        {name: one for name, one in under.methods.items() if name not in over.fields}
        | over.methods,
    )


def _of_base(
    source: Source, module: str, base: ast.expr, public: Collection[tuple[str, str]]
) -> Class:
    """What a base gives: its name if readers know it or it is somebody else's, else what is in it."""
    found = source.resolve(module, base)
    if found is None:
        return Class(bases=[expression(source, module, base)])
    if (found.module, found.name) in public:
        return Class(bases=[expression(source, module, base).rpartition(".")[2]])
    return read_class(source, found, public)


def _member(source: Source, module: str, node: ast.stmt, made: Class) -> None:
    match node:
        case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name):
            if name == "__init__":
                _set_in_init(source, module, node, made)
            if name in _SPOKEN or not name.startswith("_"):
                _method(source, module, node, made)
        case ast.AnnAssign(target=ast.Name(id="_"), annotation=annotation):
            if ast.unparse(annotation).endswith("KW_ONLY"):
                made.fields["_"] = ["*"]
        case ast.AnnAssign(target=ast.Name(id=name)) if not name.startswith("_"):
            _field(source, module, name, node, made)
        case ast.Assign(targets=[ast.Name(id=name)], value=given):
            if not name.startswith("_") and name != "model_config":
                made.fields[name] = [f"{name} = {value(source, module, given)}"]
        case _:
            pass


def _method(source: Source, module: str, node: Function, made: Class) -> None:
    decorators = [ast.unparse(one) for one in node.decorator_list]
    name = node.name
    if any(one.endswith((".setter", ".deleter")) for one in decorators):
        return
    if any(one.endswith("property") for one in decorators):
        returns = f": {expression(source, module, node.returns)}" if node.returns else ""
        made.fields[name] = [f"{name}{returns}  # property"]
        return
    if "override" in decorators:
        decorators.remove("override")
    overload = any(one.rpartition(".")[2] == "overload" for one in decorators)
    known = made.methods.get(name, [])
    if not overload and known[:1] == ["@overload"]:
        return  # what the overloads share is nobody's signature
    signature = function(source, module, node, bound="staticmethod" not in decorators)
    lines = [*(f"@{one}" for one in decorators), *signature]
    made.methods[name] = [*(known if overload else []), *lines]


def _field(source: Source, module: str, name: str, node: ast.AnnAssign, made: Class) -> None:
    annotation = expression(source, module, node.annotation)
    given = _default(node)
    default = "" if given is None else f" = {value(source, module, given)}"
    made.fields[name] = list(wrapped(f"{name}: {annotation}{default}"))
    made.required.discard(name)
    if given is None and not annotation.startswith("ClassVar"):
        made.required.add(name)


def _default(node: ast.AnnAssign) -> ast.expr | None:
    """What stands for a field that is not given; None if it has to be given."""
    inner = node.annotation.slice if isinstance(node.annotation, ast.Subscript) else None
    marks = inner.elts[1:] if isinstance(inner, ast.Tuple) else []
    for given in (node.value, *marks):
        match given:
            case ast.Call(func=ast.Name(id="Field" | "field"), args=args, keywords=keywords):
                named = {one.arg: one.value for one in keywords}
                factory = named.get("default_factory")
                if factory is not None:
                    return ast.Call(factory, [], [])
                if args or "default" in named:
                    return named.get("default") or args[0]
            case _ if given is node.value:
                return given
            case _:
                pass
    return None


def _set_in_init(source: Source, module: str, node: Function, made: Class) -> None:
    """Attributes that the constructor sets; one that is a parameter has its type."""
    given = node.args
    types = {
        one.arg: one.annotation
        for one in (*given.posonlyargs, *given.args, *given.kwonlyargs)
        if one.annotation
    }
    for statement in ast.walk(node):
        for target, annotation, assigned in _assigned(statement):
            if isinstance(target, ast.Attribute) and ast.unparse(target.value) == "self":
                given_type = types.get(assigned.id) if isinstance(assigned, ast.Name) else None
                kind = annotation or given_type
                said = f": {expression(source, module, kind)}" if kind else _class_of(assigned)
                if not target.attr.startswith("_"):
                    made.fields.setdefault(target.attr, [f"{target.attr}{said}"])


def _assigned(node: ast.AST) -> Iterator[tuple[ast.expr, ast.expr | None, ast.expr | None]]:
    match node:
        case ast.AnnAssign(target=target, annotation=annotation, value=assigned):
            yield target, annotation, assigned
        case ast.Assign(targets=[ast.Tuple(elts=targets)], value=ast.Tuple(elts=values)):
            yield from ((one, None, two) for one, two in zip(targets, values, strict=True))
        case ast.Assign(targets=targets, value=assigned):
            yield from ((one, None, assigned) for one in targets)
        case _:
            pass


def _class_of(assigned: ast.expr | None) -> str:
    match assigned:
        case ast.Call(func=ast.Name(id=name)) if name[:1].isupper():
            return f": {name}"
        case _:
            return ""
