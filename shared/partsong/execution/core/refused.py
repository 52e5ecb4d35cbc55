"""Calls that are not made because nobody has agreed to them, and what a person is asked about them."""

from __future__ import annotations

from dataclasses import dataclass

from pydantic import JsonValue

from partsong.contracts.errors import Problem
from partsong.contracts.events import Unapproved
from partsong.contracts.state.tool_calls import UNAPPROVED, digest_of
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
    shown = tool.shown(args if isinstance(args, dict) else {})
    return Refused(problem, Unapproved(args=shown, digest=digest_of(args), doubt=doubt))
