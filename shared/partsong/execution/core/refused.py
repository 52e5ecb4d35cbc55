"""Calls that are not made because nobody has agreed to them, and what a person is asked about them."""

from __future__ import annotations

from dataclasses import dataclass

from pydantic import JsonValue

from partsong.contracts.errors import Problem
from partsong.contracts.events import Unapproved
from partsong.contracts.state.tool_calls import UNAPPROVED, digest_of
from partsong.contracts.talk.redaction import REDACTED
from partsong.tools.tool import AnyTool

__all__ = ["Refused", "refused"]


@dataclass(frozen=True, slots=True)
class Refused:
    """A call that waits for a person."""

    problem: Problem
    about: Unapproved


def refused(tool: AnyTool, args: JsonValue, doubt: str | None = None) -> Refused:
    """The end of an attempt whose arguments are right, and to which nobody has agreed, or not in spite of a `doubt`."""
    problem = Problem(
        code=UNAPPROVED,
        message=f"{tool.name} is not called before a person has agreed to these arguments",
        fix="approve the call",
    )
    given = args if isinstance(args, dict) else {}
    about = Unapproved(
        args=tool.shown(given),
        digest=digest_of(args),
        doubt=doubt,
        edit_schema=_editable(tool) if doubt is None else None,
        hidden={key: digest_of(given[key]) for key in sorted(tool.redact & given.keys())},
        deadline=tool.approval_deadline,
    )
    return Refused(problem, about)


def _editable(tool: AnyTool) -> dict[str, JsonValue]:
    """The schema of the arguments as a person edits them: one that nobody is shown stays, for the log keeps an edit."""
    schema = dict(tool.parameters.schema)
    properties = schema.get("properties")
    if tool.redact and isinstance(properties, dict):
        schema["properties"] = {
            key: {"const": REDACTED} if key in tool.redact else value
            for key, value in properties.items()
        }
    return schema
