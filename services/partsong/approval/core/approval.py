"""An approval as a value, its place in the log, and its name in URLs.

An approval's id is `<run_id>.<call_id>` with every `/` written as a comma: `r_01J….review:1,t2,c0,u1`. Run ids and call
ids hold neither dots nor commas, so it reads back without doubt, and no character of it needs escaping in a URL or
quoting in a shell.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from pydantic import JsonValue

from partsong.contracts.errors import InvalidInput, NotFound, Problem
from partsong.contracts.ids import check_id

__all__ = ["Approval", "Closure", "Outcome", "Position", "Status", "Verdict", "id_of", "parse_id"]

Verdict = Literal["approve", "reject"]
Outcome = Literal["approved", "rejected", "expired", "cancelled"]
Status = Literal["pending", "approved", "rejected", "expired", "cancelled", "damaged"]

_POSITION = re.compile(r"([0-9]{1,18})\.([0-9]{1,9})")


@dataclass(frozen=True, slots=True, order=True)
class Position:
    """A place in the log: the message's sequence, and the event's index in it."""

    seq: int
    index: int

    def __str__(self) -> str:
        return f"{self.seq}.{self.index}"

    @classmethod
    def parse(cls, text: str, where: str) -> Position:
        """`4711.2` as a position.

        Raises:
            InvalidInput: `position.invalid`.
        """
        found = _POSITION.fullmatch(text)
        if found is None:
            raise InvalidInput(
                "position.invalid",
                f"{text[:80]!r} is not a position in the log, as 4711.2 is",
                where=where,
                fix="give back what `next` of the page before said",
            )
        return cls(int(found[1]), int(found[2]))


@dataclass(frozen=True, slots=True)
class Closure:
    """How an approval ended."""

    position: Position
    event: str
    """Id of the event that closed it."""
    outcome: Outcome
    at: str
    decision: Verdict | None = None
    """What holds for the run; None if nobody needs it any more."""
    by: str | None = None
    """The person; None if it was not a person."""
    reason: str | None = None
    edited: JsonValue = None
    """What was approved in the place of the editable value."""


@dataclass(frozen=True, slots=True)
class Approval:
    """One question to a person, and how it stands."""

    run_id: str
    call_id: str
    exec: str
    """The execution that waits for it."""
    event: str
    """Id of the event that asked."""
    requested: Position
    requested_at: str
    title: str
    detail: str = ""
    context: Mapping[str, JsonValue] = field(default_factory=dict)
    editable: str | None = None
    """Key of the context, perhaps not in it yet, that the approver may give another value."""
    edit_schema: Mapping[str, JsonValue] | None = None
    deadline: str | None = None
    otherwise: Verdict = "reject"
    guard: int = 0
    """Sequence of the last record on the call's subject; 0 if there is none."""
    closure: Closure | None = None
    damage: Problem | None = None
    """Why its run lacks records, if it does: then nobody can say whether it still waits. Not stored; it may pass."""

    @property
    def id(self) -> str:
        """Its name in URLs."""
        return id_of(self.run_id, self.call_id)

    @property
    def status(self) -> Status:
        """How it ended; of one that has not: `damaged` if its run is, else `pending`."""
        if self.closure is not None:
            return self.closure.outcome
        return "damaged" if self.damage is not None else "pending"


def id_of(run_id: str, call_id: str) -> str:
    """The id of a call's approval."""
    return f"{run_id}.{call_id}".replace("/", ",")


def parse_id(text: str) -> tuple[str, str]:
    """The run id and the call id in an approval's id.

    Raises:
        NotFound: `approval.unknown`; no approval can have that id.
    """
    run_id, _, call_id = text.replace(",", "/").partition(".")
    try:
        return check_id("run_id", run_id), check_id("call_id", call_id)
    except InvalidInput as error:
        raise NotFound(
            "approval.unknown",
            f"{text[:80]!r} is not the id of an approval: {error.problem.message}",
            where="id",
            fix="take `id` from GET /api/approvals; it is <run_id>.<call_id> with commas for slashes",
        ) from error
