"""JSON Schema checks of what enters a state: inputs, updates, signals."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import lru_cache
from typing import TYPE_CHECKING

from pydantic import JsonValue

from partsong.contracts.errors import InvalidInput

if TYPE_CHECKING:
    from jsonschema.protocols import Validator

__all__ = ["check_edit", "check_schema", "check_state", "check_value"]


def check_edit(
    edited: JsonValue, editable: str | None, schema: Mapping[str, JsonValue] | None, decision: str
) -> None:
    """Refuse what an approver may not put in the place of a value.

    Raises:
        InvalidInput: `approval.not_editable`, `approval.bad_edit`.
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
        check_value(schema, edited, editable, "approval.bad_edit")


def check_schema(schema: Mapping[str, JsonValue], where: str) -> None:
    """Refuse what is not a JSON Schema; without the engine's packages nothing is checked here, the engine will.

    Raises:
        InvalidInput: `schema.invalid`.
    """
    try:
        from jsonschema import Draft202012Validator, SchemaError
    except ImportError:
        return
    try:
        Draft202012Validator.check_schema(schema)
    except SchemaError as error:
        raise InvalidInput(
            "schema.invalid", f"not a JSON Schema: {error.message}", where=where
        ) from None


def check_value(
    schema: Mapping[str, JsonValue], value: JsonValue, where: str, code: str = "state.invalid"
) -> None:
    """Refuse a value that does not fit.

    Raises:
        InvalidInput: `code`, naming the place in the value.
    """
    for error in _validator(json.dumps(schema, sort_keys=True)).iter_errors(value):
        path = "".join(f"[{p}]" if isinstance(p, int) else f".{p}" for p in error.absolute_path)
        raise InvalidInput(code, f"{where}{path}: {error.message[:300]}", where=f"{where}{path}")


def check_state(schema: Mapping[str, JsonValue] | None, values: Mapping[str, JsonValue]) -> None:
    """Refuse keys that do not fit the schema of a state. Keys that are not there yet are not missed.

    Raises:
        InvalidInput: `state.invalid`, naming the key.
    """
    if schema is None:
        return
    properties = schema.get("properties")
    known = properties if isinstance(properties, dict) else {}
    for key, value in values.items():
        wanted = known.get(key)
        if isinstance(wanted, dict):
            definitions = {"$defs": schema["$defs"]} if "$defs" in schema else {}
            check_value({**definitions, **wanted}, value, f"state.{key}")
        elif schema.get("additionalProperties") is False and key not in known:
            raise InvalidInput(
                "state.invalid",
                f"the state may have no key {key!r} (there are: {', '.join(sorted(known))})",
                where=f"state.{key}",
                fix="add it to the state's schema, or return another key",
            )


@lru_cache(maxsize=512)
def _validator(schema: str) -> Validator:
    from jsonschema import Draft202012Validator

    return Draft202012Validator(json.loads(schema))
