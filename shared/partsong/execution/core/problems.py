"""Why a call failed, as a `Problem` that points at the user's line and says whether to try again."""

from __future__ import annotations

import traceback
from collections.abc import Callable
from pathlib import PurePath

from partsong.contracts.durations import format_duration
from partsong.contracts.errors import PartsongError, Problem
from partsong.contracts.events import CallKind
from partsong.contracts.exception_names import class_name

__all__ = [
    "DependencyFailed",
    "class_names",
    "fell_silent",
    "headline",
    "message_of",
    "raised",
    "timed_out",
    "writable",
]

_LONGEST = 2000
_NAMES = 20
"""Names of classes that an error carries."""


class DependencyFailed(Exception):
    """Says which dependency of a call failed; its cause says why."""

    def __init__(self, name: str, source: str | None) -> None:
        """`source` is the file that the dependency is written in."""
        super().__init__(name)
        self.name, self.source = name, source


def raised(
    kind: CallKind,
    error: BaseException,
    source: str | None,
    hide: Callable[[str], str] = lambda text: text,
) -> Problem:
    """The problem for an exception, retryable unless it is an error of this project that says otherwise.

    `source` is the file that the called function is written in: of all frames, the innermost in it is named. `hide`
    takes out of texts what nobody may see.
    """
    if isinstance(error, DependencyFailed) and error.__cause__ is not None:
        problem = raised(kind, error.__cause__, error.source, hide)
        message = f"dependency {error.name}: {problem.message}"
        return problem.model_copy(update={"code": "depends.failed", "message": message})
    where, names = _line(error, source), class_names(error)
    if isinstance(error, PartsongError):
        problem = error.problem
        update = {
            "where": problem.where or where,
            "message": hide(problem.message),
            "raised": names,
        }
        return problem.model_copy(update=update)
    return Problem(
        code=f"{kind}.raised",
        message=_bounded(hide(message_of(error, whole=True))),
        where=where,
        retryable=True,
        fault="tool",
        raised=names,
    )


def class_names(error: BaseException) -> tuple[str, ...]:
    """The exception's class and its bases; of a group also what all that is in it have in common."""
    names = dict.fromkeys(map(class_name, type(error).__mro__[:-1]))
    if isinstance(error, BaseExceptionGroup):
        each = [class_names(part) for part in error.exceptions]
        names |= dict.fromkeys(n for n in each[0] if all(n in other for other in each[1:]))
    return tuple(names)[:_NAMES]


def timed_out(kind: CallKind, name: str, seconds: float, *, unknown: bool) -> Problem:
    """The problem for a call that took too long; `unknown` if its effect must not happen twice and may still come."""
    if unknown:
        return Problem(
            code=f"{kind}.timeout",
            message=f"{name} gave no result within {format_duration(round(seconds, 3))}, and its effect may still happen",
            fix="find out whether it happened before calling it again",
            fault="tool",
        )
    return Problem(
        code=f"{kind}.timeout",
        message=f"{name} gave no result within {format_duration(round(seconds, 3))}",
        fix="raise the timeout, or make it faster",
        retryable=True,
        fault="tool",
    )


def fell_silent(kind: CallKind, name: str, seconds: float) -> Problem:
    """The problem for a call that showed nothing for too long."""
    return Problem(
        code=f"{kind}.idle_timeout",
        message=f"{name} showed nothing for {format_duration(round(seconds, 3))}",
        fix="raise idle_timeout, or call the context's emit more often",
        retryable=True,
        fault="tool",
    )


def message_of(error: BaseException, *, whole: bool = False) -> str:
    """`ValueError: …`; of a group, its first error and how many more there are. `whole` is however long."""
    if isinstance(error, BaseExceptionGroup):
        more = _leaves(error) - 1
        first = message_of(error.exceptions[0], whole=whole)
        return first + (f" (and {more} more)" if more else "")
    text = headline(error)
    return text if whole else _bounded(text)


def headline(error: BaseException) -> str:
    """`ValueError: …`, as the last line of a traceback has it, however long."""
    said, name = _said(error), class_name(type(error)).rpartition(".")[2]
    return f"{name}: {said}" if said else name


def writable(text: str) -> str:
    """The text as everybody can keep it: half a character has no UTF-8, a NUL no database."""
    return text.encode(errors="replace").decode().replace("\0", "\N{REPLACEMENT CHARACTER}")


def _bounded(text: str) -> str:
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"


def _said(error: BaseException) -> str:
    try:
        return writable(str(error))
    except KeyboardInterrupt:
        raise
    except BaseException as broken:  # a user's __str__ may do anything
        return f"(its text cannot be shown: {type(broken).__name__})"


def _leaves(error: BaseException) -> int:
    if isinstance(error, BaseExceptionGroup):
        return sum(map(_leaves, error.exceptions))
    return 1


def _line(error: BaseException, source: str | None) -> str | None:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    found = None
    for frame, line in traceback.walk_tb(error.__traceback__):
        if frame.f_code.co_filename == source:
            found = f"{PurePath(frame.f_code.co_filename).name}:{line}"
    return found
