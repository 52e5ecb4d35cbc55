"""A tool's parameters: the JSON Schema a model sees, and the check of what it sends, both from the signature."""

from __future__ import annotations

import inspect
import typing
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationError, create_model
from pydantic.errors import PydanticUserError
from pydantic.json_schema import GenerateJsonSchema
from pydantic_core import to_jsonable_python

from partsong.contracts.errors import InvalidInput
from partsong.contracts.graph.depends import Dependency, dependencies_of
from partsong.contracts.graph.function_results import NodeContext

__all__ = ["Parameters", "parameters_of"]

_Kind = inspect.Parameter


class _Schema(GenerateJsonSchema):
    """Without the titles that pydantic makes from names: they tell a model nothing and cost tokens."""

    def field_title_should_be_set(self, schema: object) -> bool:  # noqa: ARG002
        return False


@dataclass(frozen=True, slots=True)
class Parameters:
    """What a function may be given, as a pydantic model with one field per parameter."""

    model: type[BaseModel]
    names: Mapping[str, str]
    """Parameters by the model's field: a field's own name could shadow a method of the model."""
    positional: frozenset[str] = frozenset()
    context: str | None = None
    """The parameter that gets the `NodeContext`; no model sees it."""
    schema: dict[str, JsonValue] = field(default_factory=dict)
    needs: tuple[Dependency, ...] = ()
    """What is made for its other parameters; no model sees them."""

    def read(
        self, tool: str, args: JsonValue, secret: frozenset[str] = frozenset()
    ) -> dict[str, object]:
        """The arguments as Python values, by parameter.

        Raises:
            InvalidInput: `tool.invalid_arguments` naming the field; values of `secret` parameters are not shown.
        """
        if not isinstance(args, dict):
            raise _invalid(tool, "args", f"an object is needed, got {_shown(args)}", self)
        try:
            values = self.model.model_validate(args)
        except ValidationError as error:
            found = [
                (".".join(map(str, e["loc"])), e["msg"], e["type"], e["input"])
                for e in error.errors(include_url=False)
            ]
            said = [
                f"{where}: {message}"
                + (
                    ""
                    if kind == "missing" or secret & {where.partition(".")[0]}
                    else f", got {_shown(value)}"
                )
                for where, message, kind, value in found[:3]
            ]
            if len(found) > 3:
                said.append(f"and {len(found) - 3} more")
            raise _invalid(tool, f"args.{found[0][0]}", "; ".join(said), self) from None
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # a validator of the user's, which may do anything
            why = f"their check raised {type(error).__name__}"
            raise _invalid(tool, "args", why, self) from error
        return {name: getattr(values, key) for key, name in self.names.items()}

    def written(self, values: Mapping[str, object]) -> dict[str, JsonValue]:
        """The values that `read` gave as JSON; text for what JSON cannot hold."""
        return {key: to_jsonable_python(value, fallback=str) for key, value in values.items()}


def parameters_of(
    function: Callable[..., object], tool: str, docs: Mapping[str, str]
) -> Parameters:
    """Read a signature; `docs` are the parameters' descriptions.

    Raises:
        InvalidInput: `tool.bad_signature` if a model could not know what to send; `depends.bad_signature`.
    """
    hints = _hints(function, tool)
    fields: dict[str, Any] = {}
    names: dict[str, str] = {}
    positional: set[str] = set()
    context = None
    needs = dependencies_of(function)
    given = {one.parameter for one in needs}
    for name, parameter in inspect.signature(function).parameters.items():
        if name in given:
            continue
        hint = hints.get(name)
        if hint is NodeContext or NodeContext in typing.get_args(hint):
            context = name
            continue
        if parameter.kind in (_Kind.VAR_POSITIONAL, _Kind.VAR_KEYWORD):
            raise _unclear(tool, f"*{name} may be anything", "name every parameter")
        if hint is None:
            raise _unclear(tool, f"parameter {name} has no type", f"annotate it: `{name}: str`")
        if parameter.kind is _Kind.POSITIONAL_ONLY:
            positional.add(name)
        key = f"p{len(names)}"
        names[key] = name
        default = ... if parameter.default is _Kind.empty else parameter.default
        described = (
            Field(alias=name, description=docs.get(name)) if name in docs else Field(alias=name)
        )
        fields[key] = (Annotated[hint, described], default)
    try:
        model = create_model(tool, __config__=ConfigDict(extra="forbid"), **fields)
        schema = model.model_json_schema(by_alias=True, schema_generator=_Schema)
    except PydanticUserError as error:
        raise _unclear(
            tool, str(error).splitlines()[0], "use types that JSON can express"
        ) from error
    schema.pop("title", None)
    schema.setdefault("properties", {})
    return Parameters(model, names, frozenset(positional), context, schema, needs)


def _hints(function: Callable[..., object], tool: str) -> dict[str, Any]:
    target = function if inspect.isroutine(function) else type(function).__call__
    try:
        return typing.get_type_hints(target, include_extras=True)
    except NameError as error:
        raise _unclear(
            tool,
            f"an annotation cannot be resolved: {error}",
            "import its type at the top of the module",
        ) from error


def _invalid(tool: str, where: str, message: str, parameters: Parameters) -> InvalidInput:
    required = parameters.schema.get("required", [])
    assert isinstance(required, list)  # noqa: S101
    takes = [
        f"{name} (required)" if name in required else name for name in parameters.names.values()
    ]
    return InvalidInput(
        "tool.invalid_arguments",
        f"{tool}: {message}",
        where=where,
        fix=f"{tool} takes {', '.join(takes) or 'no arguments'}",
    )


def _unclear(tool: str, message: str, fix: str) -> InvalidInput:
    return InvalidInput("tool.bad_signature", f"tool {tool}: {message}", where=tool, fix=fix)


def _shown(value: object) -> str:
    return f"{value!r:.80}"
