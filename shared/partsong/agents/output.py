"""Structured output: what an answer must look like, and how it is checked."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeAlias

from pydantic import JsonValue, TypeAdapter, ValidationError
from pydantic.errors import PydanticUserError

from partsong.contracts.errors import InvalidInput, Unavailable
from partsong.contracts.foreign import schema as json_schema
from partsong.contracts.graph.conform import findings_of, path_of
from partsong.contracts.plain import plain
from partsong.contracts.state.model_answers import parsed
from partsong.runtime.evaluation.evaluator import evaluate

__all__ = ["Output", "OutputType", "Unfit", "output_of"]

OutputType: TypeAlias = object
"""A type (a pydantic model, a dataclass, a TypedDict, an Enum, a Union, `list[int]`, `int`, …), or a JSON Schema.

None and `str` are plain text.
"""

_MOST_FINDINGS = 10


class Unfit(Exception):
    """An answer that does not fit; the text says why, for people and models."""


@dataclass(frozen=True, slots=True)
class Output:
    """What an answer must look like."""

    schema: dict[str, JsonValue]
    adapter: TypeAdapter[object] | None = None

    def read(self, text: str) -> object:
        """The value of an answer that came as text; a fence around it is no harm.

        Raises:
            Unfit: it is not JSON, or does not fit.
        """
        try:
            value = plain(parsed(text), "$", "agent.bad_output", fault="provider")
        except InvalidInput as error:
            raise Unfit(error.problem.message) from error
        except ValueError as error:
            raise Unfit(f"the answer is not JSON: {error}") from error
        return self.check(value)

    def check(self, value: JsonValue) -> object:
        """The value, as an instance of the type if there is one.

        Raises:
            Unfit: it does not fit.
        """
        if self.adapter is not None:
            try:
                return self.adapter.validate_json(json.dumps(value))
            except ValidationError as error:
                raise Unfit(_said(_of_pydantic(error))) from error
            except KeyboardInterrupt:
                raise
            except BaseException as error:  # a validator of the user's, which may do anything
                raise Unfit(f"$: its check raised {type(error).__name__}") from error
        try:
            found = findings_of(self.schema, value, evaluate, _MOST_FINDINGS + 1)
        except InvalidInput as error:
            raise Unfit(error.problem.message) from error
        if found:
            raise Unfit(_said([(f"${path_of(place)}", said) for place, said in found]))
        return value


def output_of(wanted: OutputType) -> Output | None:
    """What was asked for, ready to check answers; None for plain text.

    Raises:
        InvalidInput: `output.bad_schema`, for what is no JSON Schema, and no type that one can be made of.
        Unavailable: `jsonschema.not_installed`.
    """
    if wanted is None or wanted is str:
        return None
    if not isinstance(wanted, Mapping):
        return _typed(wanted)
    schema = dict(wanted)
    try:
        json_schema.check(schema)
    except Unavailable as error:
        fix = f"{error.problem.fix}, or give a type"
        raise Unavailable.of(error.problem.model_copy(update={"fix": fix})) from error
    except InvalidInput as error:
        raise _bad(error.problem.message, f"output.{error.problem.where}".rstrip(".")) from error
    return Output(schema)


def _typed(wanted: object) -> Output:
    try:
        adapter: TypeAdapter[object] = TypeAdapter(wanted)  # type: ignore[arg-type]  # whatever a type is, pydantic knows
        return Output(adapter.json_schema(), adapter)
    except (PydanticUserError, NameError, TypeError) as error:
        said = f"no JSON Schema can be made of {wanted!r:.80}: {str(error).splitlines()[0]}"
        raise _bad(said, "output") from error


def _bad(message: str, where: str) -> InvalidInput:
    return InvalidInput("output.bad_schema", message, where=where)


def _of_pydantic(error: ValidationError) -> list[tuple[str, str]]:
    return [(f"${path_of(e['loc'])}", e["msg"]) for e in error.errors(include_url=False)]


def _said(findings: list[tuple[str, str]]) -> str:
    lines = [f"{where}: {what}" for where, what in findings[:_MOST_FINDINGS]]
    if len(findings) > _MOST_FINDINGS:
        lines.append("and more")
    return "\n".join(lines)
