"""What can go wrong, as one value that travels (`Problem`) and one exception tree that carries it.

PartsongError                 something went wrong; `.problem` says what, where, whose fault, what to do
├── InvalidInput              the caller's: a bad request, graph, argument or id; nothing was changed
├── NotFound                  the caller named something that is not there
├── Conflict                  two writers disagreed; the first one stands
├── Unavailable               the platform's: no answer in time, not connected, not installed
└── RunFailed                 a run ended, but not well; `.problem` is the run's own error
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, field_validator

__all__ = [
    "Conflict",
    "Fault",
    "InvalidInput",
    "NotFound",
    "PartsongError",
    "Problem",
    "RunFailed",
    "Unavailable",
]

_MOST_SHOWN = 20
"""Of the problems beside the first that an error's text shows."""

Fault = Literal["caller", "provider", "tool", "platform"]


class Problem(BaseModel):
    """One error as it travels in events, replies and HTTP bodies."""

    model_config = ConfigDict(frozen=True, extra="allow")

    code: str
    """Dotted and stable, for programs: `graph.unknown_target`."""
    message: str
    """For people, with the values that disagreed."""
    where: str | None = None
    """The field, node or subject: `edges[3].to`."""
    fix: str | None = None
    """What to do about it."""
    retryable: bool = False
    """Whether the same call may succeed if simply made again."""
    fault: Fault = "caller"
    """Who has to act."""
    raised: tuple[str, ...] | None = None
    """Of what a function or tool raised: the exception's class and its bases, by name with their modules."""
    traceback: str | None = None
    """Where it was raised, as Python shows it: the frames of the function and of what it called."""

    def brief(self) -> Problem:
        """The problem without its traceback, for whoever gets it as a value: a state, a model, another company."""
        return self if self.traceback is None else self.model_copy(update={"traceback": None})

    @field_validator("code", "message", "where", "fix", "traceback")
    @classmethod
    def _writable(cls, text: str | None) -> str | None:
        """Half a character of somebody's text, which no UTF-8 has, would keep the whole error from being sent."""
        if text is None or text.isascii():
            return text
        return text.encode(errors="replace").decode()


class PartsongError(Exception):
    """Base of every error this project raises on purpose."""

    fault: Fault = "platform"

    def __init__(
        self,
        code: str,
        message: str,
        *,
        where: str | None = None,
        fix: str | None = None,
        retryable: bool = False,
        fault: Fault | None = None,
    ) -> None:
        super().__init__(message)
        self.problem = Problem(
            code=code,
            message=message,
            where=where,
            fix=fix,
            retryable=retryable,
            fault=fault or self.fault,
        )
        self.others: tuple[Problem, ...] = ()
        """What else is wrong; errors about graphs have all of it."""

    @classmethod
    def of(cls, problem: Problem) -> Self:
        """The exception that carries a problem received from elsewhere, whole."""
        error = cls(problem.code, problem.message)
        error.problem = problem
        return error

    @classmethod
    def all_of(cls, problems: Sequence[Problem]) -> Self:
        """The exception for several problems at once; it is about the first one."""
        error = cls.of(problems[0])
        error.others = tuple(problems[1:])
        return error

    @property
    def problems(self) -> tuple[Problem, ...]:
        """All that is wrong, as far as it was looked for; `problem` is the first of them."""
        return (self.problem, *self.others)

    def __str__(self) -> str:
        p = self.problem
        where = f" (at {p.where})" if p.where else ""
        fix = f"\n  fix: {p.fix}" if p.fix else ""
        more = "".join(
            f"\n  also {other.code}: {other.message}"
            + (f" (at {other.where})" if other.where else "")
            for other in self.others[:_MOST_SHOWN]
        )
        left = len(self.others) - _MOST_SHOWN
        return f"{p.code}: {p.message}{where}{fix}{more}" + (
            f"\n  and {left} more" if left > 0 else ""
        )


class InvalidInput(PartsongError):
    """The caller's input cannot be accepted; nothing was changed."""

    fault: Fault = "caller"


class NotFound(PartsongError):
    """The caller named something that is not there."""

    fault: Fault = "caller"


class Conflict(PartsongError):
    """Somebody else was first; what they wrote stands."""

    fault: Fault = "caller"


class Unavailable(PartsongError):
    """The platform could not answer: not connected, not ready, not installed."""

    fault: Fault = "platform"


class RunFailed(PartsongError):
    """A run ended failed, cancelled or at a limit."""
