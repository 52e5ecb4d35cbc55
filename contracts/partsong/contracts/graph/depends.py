"""`Depends`: a parameter of a function or tool that is given what another function makes, and no state and no model."""

from __future__ import annotations

import functools
import inspect
import typing
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from partsong.contracts.errors import InvalidInput
from partsong.contracts.graph.function_results import NodeContext

__all__ = ["Dependant", "Dependency", "Depends", "dependencies_of"]

_Way: TypeAlias = Literal["sync", "async", "generator", "async generator"]
"""How a dependency is called; a generator yields it, and cleans up behind that when the call has ended."""


@dataclass(frozen=True, slots=True)
class Dependant:
    """Marks a parameter; made by `Depends`."""

    dependency: Callable[..., object]
    use_cache: bool = True


def Depends(dependency: Callable[..., object], *, use_cache: bool = True) -> Any:  # noqa: N802  # as everybody knows it
    """Mark a parameter that is given what `dependency` makes: `Annotated[Db, …]` with this as its second part.

    It may be async, or a generator that cleans up behind its `yield`, and may depend on others. A call makes each once,
    unless `use_cache` is False. The markers of FastDepends mean the same.
    """
    return Dependant(dependency, use_cache)


@dataclass(frozen=True, slots=True)
class Dependency:
    """What is made for a parameter, and how."""

    parameter: str
    make: Callable[..., object]
    way: _Way
    use_cache: bool
    context: str | None
    """Its own parameter that gets the `NodeContext`, if it has one."""
    needs: tuple[Dependency, ...]

    @property
    def name(self) -> str:
        """The maker's name."""
        return getattr(self.make, "__qualname__", None) or type(self.make).__qualname__

    @property
    def waits(self) -> bool:
        """Whether it, or one that it needs, is to be awaited."""
        return self.way.startswith("async") or any(one.waits for one in self.needs)


def dependencies_of(
    function: Callable[..., object], path: tuple[Callable[..., object], ...] = ()
) -> tuple[Dependency, ...]:
    """The dependencies of a function's parameters, in their order; `path` are those that lead to it.

    Raises:
        InvalidInput: `depends.bad_signature`, `depends.cycle`.
    """
    try:
        parameters = inspect.signature(function).parameters
    except (TypeError, ValueError):  # written in C
        return ()
    hints = _hints(function)
    found = []
    for name, parameter in parameters.items():
        marker = _marker(hints.get(name), parameter.default)
        if marker is None:
            continue
        if parameter.kind is inspect.Parameter.POSITIONAL_ONLY:
            raise _unclear(function, f"parameter {name} cannot be given by name")
        found.append(_dependency(name, marker, (*path, function)))
    return tuple(found)


def _dependency(parameter: str, marker: Any, path: tuple[Callable[..., object], ...]) -> Dependency:
    make = marker.dependency
    if any(make == one for one in path):
        names = " → ".join(getattr(one, "__qualname__", repr(one)) for one in (*path, make))
        raise InvalidInput(
            "depends.cycle", f"{names}: what is needed to make it is itself", where=parameter
        )
    needs = dependencies_of(make, path)
    given = {one.parameter for one in needs}
    context = None
    hints = _hints(make)
    for name, own in _parameters(make):
        if name in given:
            continue
        if _is_context(hints.get(name)):
            context = name
        elif own.default is own.empty and own.kind not in (own.VAR_POSITIONAL, own.VAR_KEYWORD):
            raise _unclear(make, f"nobody gives it {name}")
    return Dependency(parameter, make, _way(make), bool(marker.use_cache), context, needs)


def _parameters(function: Callable[..., object]) -> list[tuple[str, inspect.Parameter]]:
    try:
        return list(inspect.signature(function).parameters.items())
    except (TypeError, ValueError):
        return []


def _marker(hint: object, default: object) -> Any:
    """The marker in `Annotated[…]`, or in a parameter's default."""
    for one in (default, *getattr(hint, "__metadata__", ())):
        theirs = type(one).__module__.partition(".")[0] == "fast_depends"
        if isinstance(one, Dependant) or (theirs and callable(getattr(one, "dependency", None))):
            return one
    return None


def _hints(function: Callable[..., object]) -> dict[str, object]:
    """Annotations as types; none if they cannot be resolved here."""
    target: Any = function
    while isinstance(target, functools.partial):
        target = target.func
    if inspect.isclass(target):
        target = target.__init__
    elif not inspect.isroutine(target):
        target = getattr(target, "__wrapped__", None) or type(target).__call__
    try:
        return dict(typing.get_type_hints(target, include_extras=True))
    except Exception:  # an annotation may be any expression
        return {}


def _way(make: Callable[..., object]) -> _Way:
    target: Any = make
    while isinstance(target, functools.partial):
        target = target.func
    call = None if inspect.isclass(target) else getattr(target, "__call__", None)  # noqa: B004
    for one in (target, call):
        if inspect.isasyncgenfunction(one):
            return "async generator"
        if inspect.iscoroutinefunction(one):
            return "async"
        if inspect.isgeneratorfunction(one):
            return "generator"
    return "sync"


def _is_context(hint: object) -> bool:
    return hint is NodeContext or NodeContext in typing.get_args(hint)


def _unclear(function: Callable[..., object], why: str) -> InvalidInput:
    name = getattr(function, "__qualname__", None) or type(function).__qualname__
    return InvalidInput(
        "depends.bad_signature",
        f"{name}: {why}",
        where=name,
        fix="a dependency takes other dependencies and a NodeContext; give every other parameter a default",
        fault="tool",
    )
