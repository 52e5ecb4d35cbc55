"""How a function node's function wants to be called, found out once from its signature."""

from __future__ import annotations

import functools
import inspect
import typing
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from pydantic import BaseModel, JsonValue, ValidationError

from partsong.contracts.errors import InvalidInput
from partsong.contracts.graph.depends import Dependency, dependencies_of
from partsong.contracts.graph.function_results import NodeContext

__all__ = ["Callee", "callee", "is_async", "source_of"]

_POSITIONAL = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)


_NONE: Mapping[str, object] = {}


@dataclass(frozen=True, slots=True)
class Callee:
    """A function node's function, ready to be called."""

    function: Callable[..., object]
    is_async: bool
    source: str | None
    """The file it is written in."""
    takes_state: bool = True
    model: type[BaseModel] | None = None
    """The model that the state is read into first, if its parameter is annotated with one."""
    takes_context: bool = False
    context_name: str | None = None
    """The keyword the context goes by; None if it is the second positional argument."""
    needs: tuple[Dependency, ...] = ()
    """What is made for its other parameters."""

    def call(
        self, state: dict[str, JsonValue], context: NodeContext, given: Mapping[str, object] = _NONE
    ) -> object:
        """Call it, with what it needs; of an async function, the coroutine comes back.

        Raises:
            InvalidInput: `function.bad_state` if the state does not fit the annotated model.
        """
        named: dict[str, object] = {self.context_name: context} if self.context_name else {}
        args: list[object] = [self._read(state)] if self.takes_state else []
        if self.takes_context and not self.context_name:
            args.append(context)
        return self.function(*args, **named, **given)

    def _read(self, state: dict[str, JsonValue]) -> object:
        if self.model is None:
            return state
        try:
            return self.model.model_validate(state)
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            raise InvalidInput(
                "function.bad_state",
                f"the state is no {self.model.__name__}: {first['msg']}",
                where=".".join(["state", *map(str, first["loc"])]),
                fix="write the key in a node that comes before, or give it as input",
            ) from None


def callee(function: Callable[..., object]) -> Callee:
    """Read a function's signature.

    It may take nothing, the state, or the state and a `NodeContext`: as its second positional parameter, or as any
    parameter annotated with it. Beside them there may be dependencies.

    Raises:
        InvalidInput: `function.bad_signature` if it needs more than that; `depends.bad_signature`, `depends.cycle`.
    """
    source = source_of(function)
    asynchronous = is_async(function)
    try:
        parameters = list(inspect.signature(function).parameters.values())
    except (TypeError, ValueError):  # written in C: it gets the state and has to cope
        return Callee(function, asynchronous, source)
    needs = dependencies_of(function)
    given = {one.parameter for one in needs}
    parameters = [p for p in parameters if p.name not in given]
    hints = _hints(function)
    context = next((p for p in parameters[1:] if _wants_context(hints.get(p.name))), None)
    positional = [p for p in parameters if p.kind in _POSITIONAL]
    if context is None and len(positional) > 1 and positional[1].default is inspect.Parameter.empty:
        context = positional[1]
    taken = {p.name for p in (*positional[:1], *([context] if context else ()))}
    missing = [p.name for p in parameters if p.name not in taken and _required(p)]
    if missing:
        raise InvalidInput(
            "function.bad_signature",
            f"{_name(function)} needs {', '.join(missing)} beside the state and the context",
            fix="take (state) or (state, context), and give every other parameter a default",
            fault="tool",
        )
    spread = any(p.kind is inspect.Parameter.VAR_POSITIONAL for p in parameters)
    by_name = context is not None and (
        context.kind not in _POSITIONAL or context not in positional[:2]
    )
    return Callee(
        function,
        asynchronous,
        source,
        takes_state=bool(positional) or spread,
        model=_model(hints.get(positional[0].name)) if positional else None,
        takes_context=context is not None,
        context_name=context.name if context is not None and by_name else None,
        needs=needs,
    )


def is_async(function: Callable[..., object]) -> bool:
    """Whether calling it makes a coroutine, as far as can be told without calling."""
    return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(
        getattr(function, "__call__", None)  # noqa: B004  # the method, not whether there is one
    )


def source_of(function: Callable[..., object]) -> str | None:
    """The file a function is written in, behind decorators and partials."""
    while isinstance(function, functools.partial):
        function = function.func
    function = inspect.unwrap(function)
    if not hasattr(function, "__code__"):
        function = getattr(type(function), "__call__", function)  # noqa: B004
    code = getattr(function, "__code__", None)
    return code.co_filename if code is not None else None


def _hints(function: Callable[..., object]) -> dict[str, object]:
    """Annotations as types; those that cannot be resolved here as the text they are."""
    target = function
    while isinstance(target, functools.partial):
        target = target.func
    if not inspect.isroutine(target) and not inspect.isclass(target):
        target = type(target).__call__
    try:
        return dict(typing.get_type_hints(target))
    except Exception:  # an annotation may be any expression
        return dict(getattr(target, "__annotations__", {}))


def _wants_context(hint: object) -> bool:
    if isinstance(hint, str):
        return hint.rpartition(".")[2].removesuffix(" | None") == "NodeContext"
    return hint is NodeContext or NodeContext in typing.get_args(hint)


def _model(hint: object) -> type[BaseModel] | None:
    return hint if isinstance(hint, type) and issubclass(hint, BaseModel) else None


def _required(parameter: inspect.Parameter) -> bool:
    return parameter.default is inspect.Parameter.empty and parameter.kind not in (
        inspect.Parameter.VAR_POSITIONAL,
        inspect.Parameter.VAR_KEYWORD,
    )


def _name(function: Callable[..., object]) -> str:
    return getattr(function, "__qualname__", None) or repr(function)
