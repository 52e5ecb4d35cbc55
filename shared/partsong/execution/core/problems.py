"""Why a call failed, as a `Problem` that points at the user's line and says whether to try again."""

from __future__ import annotations

import traceback
from pathlib import PurePath

from partsong.contracts.errors import PartsongError, Problem
from partsong.contracts.events import CallKind

__all__ = ["DependencyFailed", "fell_silent", "message_of", "raised", "timed_out"]

_LONGEST = 2000


class DependencyFailed(Exception):
    """Says which dependency of a call failed; its cause says why."""

    def __init__(self, name: str, source: str | None) -> None:
        """`source` is the file that the dependency is written in."""
        super().__init__(name)
        self.name, self.source = name, source


def raised(kind: CallKind, error: BaseException, source: str | None) -> Problem:
    """The problem for an exception, retryable unless it is an error of this project that says otherwise.

    `source` is the file that the called function is written in: of all frames, the innermost in it is shown.
    """
    if isinstance(error, DependencyFailed) and error.__cause__ is not None:
        problem = raised(kind, error.__cause__, error.source)
        message = f"dependency {error.name}: {problem.message}"
        return problem.model_copy(update={"code": "depends.failed", "message": message})
    where = _line(error, source)
    if isinstance(error, PartsongError):
        problem = error.problem
        return (
            problem if problem.where or not where else problem.model_copy(update={"where": where})
        )
    return Problem(
        code=f"{kind}.raised", message=message_of(error), where=where, retryable=True, fault="tool"
    )


def timed_out(kind: CallKind, name: str, seconds: float, *, unknown: bool) -> Problem:
    """The problem for a call that took too long; `unknown` if its effect must not happen twice and may still come."""
    if unknown:
        return Problem(
            code=f"{kind}.timeout",
            message=f"{name} gave no result within {seconds:g} s, and its effect may still happen",
            fix="find out whether it happened before calling it again",
            fault="tool",
        )
    return Problem(
        code=f"{kind}.timeout",
        message=f"{name} gave no result within {seconds:g} s",
        fix="raise the timeout, or make it faster",
        retryable=True,
        fault="tool",
    )


def fell_silent(kind: CallKind, name: str, seconds: float) -> Problem:
    """The problem for a call that showed nothing for too long."""
    return Problem(
        code=f"{kind}.idle_timeout",
        message=f"{name} showed nothing for {seconds:g} s",
        fix="raise idle_timeout, or call the context's emit more often",
        retryable=True,
        fault="tool",
    )


def message_of(error: BaseException) -> str:
    """`ValueError: …`; of a group, its first error and how many more there are."""
    if isinstance(error, BaseExceptionGroup):
        more = _leaves(error) - 1
        return message_of(error.exceptions[0]) + (f" (and {more} more)" if more else "")
    said = _said(error)
    text = f"{type(error).__name__}: {said}" if said else type(error).__name__
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"


def _said(error: BaseException) -> str:
    try:
        return (
            str(error).encode(errors="replace").decode().replace("\0", "\N{REPLACEMENT CHARACTER}")
        )
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
