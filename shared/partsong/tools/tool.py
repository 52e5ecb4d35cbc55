"""`Tool` and `@tool`: a Python function that agents and graphs may call, and what callers must know about it."""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Generic, ParamSpec, TypeAlias, TypeVar, overload

from pydantic import JsonValue

from partsong.contracts.durations import Duration, parse_optional
from partsong.contracts.errors import InvalidInput, Unavailable
from partsong.contracts.foreign import cel
from partsong.contracts.graph.expressions import check_expression, holds
from partsong.contracts.graph.function_results import NodeContext
from partsong.contracts.graph.nodes import SideEffect
from partsong.contracts.talk.messages import ToolSpec
from partsong.contracts.talk.redaction import REDACTED
from partsong.runtime.evaluation.evaluator import evaluate
from partsong.tools.docstring import described
from partsong.tools.parameters import Parameters, parameters_of
from partsong.tools.pausing import Pausing

__all__ = ["AnyTool", "Approval", "Bound", "SideEffect", "Tool", "as_tool", "tool"]

P = ParamSpec("P")
R_co = TypeVar("R_co", covariant=True)

Approval: TypeAlias = str
"""Whether a person must agree to a call: `never`, `always`, or CEL over `args` that is true if so."""

_STRENGTH: dict[SideEffect, int] = {"none": 0, "read": 1, "write": 2, "destructive": 3}
"""Side effects, the stronger the higher."""

_PLAIN = frozenset({"never", "always"})
_NONE: Mapping[str, object] = {}
_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
_SECRET_DIGITS = 4
"""Signs that a number has at least, to be looked for in texts."""


@dataclass(frozen=True)
class Tool(Generic[P, R_co]):
    """A function with a name, a schema and manners. Called like the function, it is the function."""

    function: Callable[P, R_co]
    name: str
    description: str
    parameters: Parameters
    side_effect: SideEffect = "write"
    idempotent: bool = False
    """Calling twice with the same arguments is as good as once."""
    timeout: float | None = 60.0
    """Seconds one call may take."""
    retries: int = 0
    """How often a call that raised is made again at once; only for tools that are safe to repeat."""
    concurrency: int | None = None
    """How many calls may run at a time in one process."""
    output_cap: int = 32_768
    """Characters of the result; what is longer is cut, and says so."""
    approval: Approval = "never"
    approval_deadline: float | None = None
    """Seconds a person has to agree; after that the call is refused. None leaves that to whoever calls."""
    redact: frozenset[str] = frozenset()
    """Arguments whose values nobody is shown."""
    pausing: Pausing | None = None
    """How it runs code that may call other tools; None if it runs none."""

    def __post_init__(self) -> None:
        """Refuse a rule for approval that nobody can follow.

        Raises:
            InvalidInput: `cel.syntax`.
        """
        if self.approval not in _PLAIN:
            check_expression(self.approval, f"tool {self.name}: approval", "args")

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R_co:
        """Call the function as it is, with nothing checked."""
        return self.function(*args, **kwargs)

    @property
    def guarded(self) -> bool:
        """Whether a call must not be made twice: it changes the world, and a repeat would change it again."""
        return self.side_effect in {"write", "destructive"} and not self.idempotent

    @property
    def is_async(self) -> bool:
        """Whether calling it makes a coroutine."""
        return inspect.iscoroutinefunction(self.function) or inspect.iscoroutinefunction(
            getattr(self.function, "__call__", None)  # noqa: B004  # the method, not whether there is one
        )

    def require(self) -> None:
        """Refuse to be offered for calls where its rule for approval could not be followed.

        Raises:
            Unavailable: `cel.not_installed`.
        """
        if self.approval not in _PLAIN:
            try:
                cel.require()
            except Unavailable as error:
                where = f"tool {self.name}: approval"
                raise Unavailable.of(error.problem.model_copy(update={"where": where})) from error

    def spec(self) -> ToolSpec:
        """The tool as a model sees it."""
        return ToolSpec(
            name=self.name,
            description=self.description,
            parameters=self.parameters.schema,
            approval=self.approval,
            redact=tuple(sorted(self.redact)),
        )

    def permitted(self, may: SideEffect | None) -> bool:
        """Whether its side effect is allowed to whoever may have effects up to `may`; None is any."""
        return may is None or _STRENGTH[self.side_effect] <= _STRENGTH[may]

    def check_permitted(self, may: SideEffect | None) -> None:
        """Refuse what is not permitted.

        Raises:
            InvalidInput: `tool.forbidden`.
        """
        if not self.permitted(may):
            raise InvalidInput(
                "tool.forbidden",
                f"{self.name} has the side effect {self.side_effect}, allowed is up to {may}",
                where=self.name,
                fix="take it off the list, or allow more",
            )

    def bind(self, args: JsonValue) -> Bound:
        """Check arguments, without calling anything.

        Raises:
            InvalidInput: `tool.invalid_arguments`, naming the field.
        """
        return Bound(self, self.parameters.read(self.name, args, self.redact))

    def shown(self, args: Mapping[str, JsonValue]) -> dict[str, JsonValue]:
        """The arguments as they may be shown to people and written to traces."""
        return {key: REDACTED if key in self.redact else value for key, value in args.items()}

    def without_secrets(self, text: str, args: JsonValue) -> str:
        """The text with the values of redacted arguments taken out."""
        for key, value in args.items() if isinstance(args, dict) else ():
            for secret in (
                sorted(_texts(value), key=len, reverse=True) if key in self.redact else ()
            ):
                text = text.replace(secret, REDACTED)
        return text


def _texts(value: JsonValue) -> Iterator[str]:
    """The forms in which a value may stand in a text: its own, and as Python and JSON quote it.

    Short numbers are no secrets, and stand everywhere.
    """
    if isinstance(value, str) and value:
        yield from {value, repr(value)[1:-1], json.dumps(value)[1:-1]}
    elif isinstance(value, int | float) and len(str(value)) >= _SECRET_DIGITS:
        yield str(value)
    elif isinstance(value, dict | list):
        for inner in value.values() if isinstance(value, dict) else value:
            yield from _texts(inner)


AnyTool: TypeAlias = Tool[..., object]


@dataclass(frozen=True, slots=True)
class Bound:
    """A tool with checked arguments."""

    tool: AnyTool
    values: Mapping[str, object]

    def needs_approval(self, asks: SideEffect | None = None) -> bool:
        """Whether a person must agree to the call; from the side effect `asks` on, to any.

        A rule that cannot be followed, because an argument it speaks of is not there, asks.
        """
        tool = self.tool
        if asks is not None and _STRENGTH[tool.side_effect] >= _STRENGTH[asks]:
            return True
        if tool.approval in _PLAIN:
            return tool.approval == "always"
        try:
            return holds(tool.approval, tool.parameters.written(self.values), "args", evaluate)
        except KeyboardInterrupt:
            raise
        except BaseException:  # also of a value of the user's, which may not let itself be written
            return True

    def call(self, context: NodeContext, given: Mapping[str, object] = _NONE) -> object:
        """Call the function, with what it needs; of an async one, the coroutine comes back."""
        takes = self.tool.parameters
        first = [self.values[name] for name in takes.names.values() if name in takes.positional]
        named = {name: value for name, value in self.values.items() if name not in takes.positional}
        if takes.context is not None:
            named[takes.context] = context
        return self.tool.function(*first, **named, **given)


@overload
def tool(function: Callable[P, R_co], /) -> Tool[P, R_co]: ...
@overload
def tool(
    *,
    name: str | None = None,
    description: str | None = None,
    side_effect: SideEffect = "write",
    idempotent: bool = False,
    timeout: Duration | None = 60.0,
    retries: int = 0,
    concurrency: int | None = None,
    output_cap: int = 32_768,
    approval: Approval = "never",
    approval_deadline: Duration | None = None,
    redact: tuple[str, ...] = (),
) -> Callable[[Callable[P, R_co]], Tool[P, R_co]]: ...
def tool(
    function: Callable[P, R_co] | None = None,
    /,
    *,
    name: str | None = None,
    description: str | None = None,
    side_effect: SideEffect = "write",
    idempotent: bool = False,
    timeout: Duration | None = 60.0,
    retries: int = 0,
    concurrency: int | None = None,
    output_cap: int = 32_768,
    approval: Approval = "never",
    approval_deadline: Duration | None = None,
    redact: tuple[str, ...] = (),
) -> Tool[P, R_co] | Callable[[Callable[P, R_co]], Tool[P, R_co]]:
    """Make a function a tool: `@tool`, or `@tool(side_effect="read", timeout=5)`.

    Name, description and schema come from the function: its name, its docstring, its annotations. A parameter annotated
    with `NodeContext` gets the context of the call. Unless it says otherwise, a tool is taken to change the world, so a
    call of unknown outcome is never repeated.

    Raises:
        InvalidInput: `tool.bad_name`, `tool.bad_signature`, `duration.invalid`, `cel.syntax` for `approval`, or
            `tool.bad_option` for options that contradict each other.
    """

    def make(function: Callable[P, R_co]) -> Tool[P, R_co]:
        called: str = name or getattr(function, "__name__", "") or type(function).__name__
        summary, docs = described(function)
        made = Tool(
            function=function,
            name=called,
            description=description if description is not None else summary,
            parameters=parameters_of(function, called, docs),
            side_effect=side_effect,
            idempotent=idempotent,
            timeout=parse_optional(timeout, f"{called}.timeout"),
            retries=retries,
            concurrency=concurrency,
            output_cap=output_cap,
            approval=approval,
            approval_deadline=parse_optional(approval_deadline, f"{called}.approval_deadline"),
            redact=frozenset(redact),
        )
        _check(made)
        return made

    return make if function is None else make(function)


def as_tool(given: AnyTool | Callable[..., object]) -> AnyTool:
    """A tool as it is, a plain function made one.

    Raises:
        InvalidInput: `tool.bad_signature`, `tool.bad_name`.
    """
    return given if isinstance(given, Tool) else tool(given)


def _check(made: AnyTool) -> None:
    if not _NAME.fullmatch(made.name):
        raise InvalidInput(
            "tool.bad_name",
            f"{made.name!r} is no tool name: providers take letters, digits, _ and -, at most 64",
            where="name",
            fix="give it one: @tool(name=…)",
        )
    known = set(made.parameters.names.values())
    wrong = {
        "retries": "a call that changes the world is not repeated; declare it idempotent if it is"
        if made.retries and made.guarded
        else None,
        "concurrency": f"{made.concurrency} calls at a time are none"
        if made.concurrency is not None and made.concurrency < 1
        else None,
        "output_cap": f"{made.output_cap} characters" if made.output_cap < 1 else None,
        "redact": f"no parameter {', '.join(sorted(made.redact - known))}"
        if made.redact - known
        else None,
    }
    for option, why in wrong.items():
        if why is not None:
            raise InvalidInput(
                "tool.bad_option", f"tool {made.name}: {option}: {why}", where=option
            )
