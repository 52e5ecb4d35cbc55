"""Structured output: what an answer must look like, and how it is checked."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeAlias

from pydantic import BaseModel, JsonValue, ValidationError

from partsong.contracts.errors import InvalidInput, Unavailable
from partsong.contracts.foreign import schema as json_schema
from partsong.contracts.graph.conform import findings_of, path_of
from partsong.contracts.plain import plain
from partsong.contracts.state.model_answers import parsed
from partsong.runtime.evaluation.evaluator import evaluate

__all__ = ["Output", "OutputType", "Unfit", "output_of"]

OutputType: TypeAlias = "type[BaseModel] | Mapping[str, JsonValue] | None"
"""A pydantic model, or the JSON Schema of an object; None is plain text."""

_MOST_FINDINGS = 10


class Unfit(Exception):
    """An answer that does not fit; the text says why, for people and models."""


@dataclass(frozen=True, slots=True)
class Output:
    """What an answer must look like."""

    schema: dict[str, JsonValue]
    model: type[BaseModel] | None = None

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
        """The value, as the model's instance if there is a model.

        Raises:
            Unfit: it does not fit.
        """
        if self.model is not None:
            try:
                return self.model.model_validate_json(json.dumps(value))
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
    """What was asked for, ready to check answers.

    Raises:
        InvalidInput: `output.bad_schema`, for what is no JSON Schema of an object.
        Unavailable: `jsonschema.not_installed`.
    """
    if wanted is None:
        return None
    if isinstance(wanted, type):
        return Output(wanted.model_json_schema(), wanted)
    if wanted.get("type") != "object":
        raise InvalidInput(
            "output.bad_schema",
            f"the answer must be an object, the schema says type {wanted.get('type')!r}",
            where="output.type",
            fix='put it into one: {"type": "object", "properties": {"value": …}, "required": ["value"]}',
        )
    schema = dict(wanted)
    try:
        json_schema.check(schema)
    except Unavailable as error:
        fix = f"{error.problem.fix}, or give a pydantic model"
        raise Unavailable.of(error.problem.model_copy(update={"fix": fix})) from error
    except InvalidInput as error:
        raise _bad(error.problem.message, f"output.{error.problem.where}".rstrip(".")) from error
    return Output(schema)


def _bad(message: str, where: str) -> InvalidInput:
    return InvalidInput("output.bad_schema", message, where=where)


def _of_pydantic(error: ValidationError) -> list[tuple[str, str]]:
    return [(f"${path_of(e['loc'])}", e["msg"]) for e in error.errors(include_url=False)]


def _said(findings: list[tuple[str, str]]) -> str:
    lines = [f"{where}: {what}" for where, what in findings[:_MOST_FINDINGS]]
    if len(findings) > _MOST_FINDINGS:
        lines.append("and more")
    return "\n".join(lines)
