"""Functions by name: how a graph that is data refers to Python."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping
from types import MethodType

from partsong.contracts.errors import InvalidInput
from partsong.runtime.module_names import place_of

__all__ = ["check_name", "hindrance", "is_portable", "portable", "reference"]

_NOWHERE = frozenset({"__main__", "__mp_main__", "builtins", "?"})


def reference(
    function: Callable[..., object],
    place: str,
    others: Mapping[str, Callable[..., object]] | None = None,
) -> str:
    """`module:qualname` of a function; for one that cannot be imported by it, or that shares it, the place is added."""
    module = getattr(function, "__module__", None) or "?"
    name = f"{module}:{getattr(function, '__qualname__', type(function).__qualname__)}"
    shared = others is not None and others.get(name, function) != function
    return name if is_portable(name) and not shared else f"{name}@{place}"


def portable(function: Callable[..., object], place: str, where: str) -> str:
    """The name under which importing its module finds this very function, object or method.

    Raises:
        InvalidInput: `function.not_portable`, saying what to do.
    """
    if (found := place_of(function, far=True)) is not None:
        return found
    name = reference(function, place)
    raise InvalidInput(
        "function.not_portable",
        f"{where}: {name.split('@', maxsplit=1)[0]} {hindrance(function, name)}, so no tool-runner can import it",
        where=where,
        fix=_fix(function),
    )


def check_name(name: str) -> None:
    """Refuse the name of a function that names no module.

    Raises:
        InvalidInput: `function.not_portable`.
    """
    module, _, path = name.partition(":")
    if not module or not path:
        raise InvalidInput(
            "function.not_portable",
            f"function {name!r} names no module, so no tool-runner can import it",
            where=name,
            fix="name it `package.module:function`",
        )


def hindrance(function: Callable[..., object], name: str) -> str:
    """Why another process cannot import it."""
    if isinstance(function, MethodType):
        kind = type(function.__self__).__qualname__
        return f"is a method of a {kind} that no module has under a public name at its top level"
    if isinstance(function, functools.partial):
        return "is a partial that no module has under a public name at its top level"
    if "<lambda>" in name:
        return "is a lambda"
    if name.startswith(("__main__", "__mp_main__")):
        return "lives in __main__"
    if name.startswith("builtins:"):
        return "is built into Python"
    if "<locals>" in name:
        return "is local"
    if inspect.isroutine(function) or inspect.isclass(function):
        return "is not what its module has under that name"
    return "is an object that no module has under a public name at its top level"


def is_portable(name: str) -> bool:
    """Whether another process can import the function by this name, as far as the name tells."""
    module, _, qualname = name.partition(":")
    return module not in _NOWHERE and "<" not in qualname and "@" not in qualname


def _fix(function: Callable[..., object]) -> str:
    plain = inspect.isroutine(function) or inspect.isclass(function)
    if isinstance(function, MethodType | functools.partial) or not plain:
        return (
            "give it, or the object that it is a method of, a public name at the top level of a module, and load that "
            "module: `partsong up --load your.module`; or write a function with `def`, and have it given what it needs: "
            "`client: Annotated[Client, Depends(get_client)]`"
        )
    return (
        "define it with `def` at the top level of a module, import it from there, and load that module: "
        "`partsong up --load your.module`; decorators should keep it importable"
    )
