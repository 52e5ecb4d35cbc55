"""JSON Schema checks of what enters a state: inputs, updates, signals."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import cast

from pydantic import JsonValue

from partsong.contracts.errors import InvalidInput, Unavailable
from partsong.contracts.foreign import schema as json_schema
from partsong.contracts.foreign.question import Evaluate, Fit, at_once

__all__ = ["check_edit", "check_schema", "check_state", "check_value", "findings_of", "path_of"]


def check_edit(
    edited: JsonValue,
    editable: str | None,
    schema: Mapping[str, JsonValue] | None,
    decision: str,
    evaluate: Evaluate = at_once,
) -> None:
    """Refuse what an approver may not put in the place of a value.

    Raises:
        InvalidInput: `approval.not_editable`, `approval.bad_edit`, `schema.budget`.
    """
    if edited is None:
        return
    if editable is None or decision != "approve":
        raise InvalidInput(
            "approval.not_editable",
            "nothing of this approval can be edited"
            if editable is None
            else f"an edit of {editable} belongs to an approval, the decision is {decision}",
            where="edit",
            fix="decide without an edit",
        )
    if schema is not None:
        check_value(schema, edited, editable, "approval.bad_edit", evaluate)


def check_schema(schema: Mapping[str, JsonValue], where: str) -> None:
    """Refuse what is not a JSON Schema; without the engine's packages nothing is checked here, see `lacking`.

    Raises:
        InvalidInput: `schema.invalid`.
    """
    try:
        json_schema.check(dict(schema))
    except Unavailable:
        return
    except InvalidInput as error:
        place = f"{where}.{error.problem.where}".rstrip(".")
        raise InvalidInput.of(error.problem.model_copy(update={"where": place})) from None


def check_value(
    schema: Mapping[str, JsonValue],
    value: JsonValue,
    where: str,
    code: str = "state.invalid",
    evaluate: Evaluate = at_once,
) -> None:
    """Refuse a value that does not fit.

    Raises:
        InvalidInput: `code`, naming the place in the value; `schema.budget`, `schema.invalid`.
    """
    for place, said in findings_of(dict(schema), value, evaluate):
        path = path_of(place)
        raise InvalidInput(code, f"{where}{path}: {said}", where=f"{where}{path}")


def check_state(
    schema: Mapping[str, JsonValue] | None,
    values: Mapping[str, JsonValue],
    evaluate: Evaluate = at_once,
) -> None:
    """Refuse keys that do not fit the schema of a state. Keys that are not there yet are not missed.

    Raises:
        InvalidInput: `state.invalid`, naming the key; `schema.budget`, `schema.invalid`.
    """
    if schema is None or not values:
        return
    properties = schema.get("properties")
    known = properties if isinstance(properties, dict) else {}
    if schema.get("additionalProperties") is False and "patternProperties" not in schema:
        for key in values.keys() - known.keys():
            raise InvalidInput(
                "state.invalid",
                f"the state may have no key {key!r} (there are: {', '.join(sorted(known))})",
                where=f"state.{key}",
                fix="add it to the state's schema, or return another key",
            )
    wanted = {key: schema[key] for key in _OF_SINGLE_KEYS if key in schema}
    check_value(wanted, dict(values), "state", evaluate=evaluate)


_OF_SINGLE_KEYS = (
    "$schema",
    "$id",
    "$defs",
    "definitions",
    "properties",
    "patternProperties",
    "additionalProperties",
)
"""What a state's schema says of each key by itself, and what that refers to."""


def findings_of(
    schema: JsonValue, value: JsonValue, evaluate: Evaluate = at_once, most: int = 1
) -> list[tuple[list[str | int], str]]:
    """What of a value does not fit, at most so much: where, and what is said of it.

    Raises:
        InvalidInput: `schema.budget`, `schema.invalid`.
    """
    return cast("list[tuple[list[str | int], str]]", evaluate(Fit(schema, value, most)))


def path_of(place: Iterable[str | int]) -> str:
    """A place in a value as it stands behind the value's name: `.items[3].price`."""
    return "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in place)
