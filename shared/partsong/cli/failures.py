"""How a command says what went wrong, and the exit code that follows.

0 ok, 1 failure, 2 usage, 3 not found, 4 the run did not complete, 5 timeout, 78 the log is damaged, 130 interrupted.
"""

from __future__ import annotations

import json
import os
import traceback

import click

from partsong.cli.output import EXIT, Output
from partsong.cli.repairs import carried
from partsong.contracts.errors import InvalidInput, NotFound, PartsongError, Problem, RunFailed
from partsong.contracts.wire.damage import DAMAGED
from partsong.runtime.visible import escaped, visible

__all__ = ["exit_code", "problem_of", "report", "tell"]

_UNKNOWN = {"run.unknown", "graph.unknown", "approval.unknown", "schedule.unknown"}
_REFUSED = {
    "run.completed", "run.ended", "run.exists", "run.not_ended", "graph.node_missing", "thread.busy",
    "log.unreadable",
}  # fmt: skip
"""Nothing was wrong with what was typed: the run is not in a state for it."""
_UNFIT = {*DAMAGED, "up.unfit"}
"""What must be mended before anything is tried again; a service ends with the same code."""
_SILENT = {"request.no_answer", "nats.no_answer", "log.no_answer", "streams.no_answer"}


def report(error: BaseException, out: Output) -> int:
    """Print an error to stderr, as JSON if the output is JSON; the exit code."""
    while isinstance(error, BaseExceptionGroup):  # tasks that ran side by side: the first to fail
        error = error.exceptions[0]
    tell(problem_of(error), out)
    if not isinstance(error, PartsongError | TimeoutError) and os.environ.get("PARTSONG_DEBUG"):
        click.echo(visible("".join(traceback.format_exception(error))), err=True, nl=False)
    return exit_code(error)


def tell(problem: Problem, out: Output) -> None:
    """Print a problem to stderr; what it advises is about the log that was meant."""
    if problem.fix:
        problem = problem.model_copy(update={"fix": carried(problem.fix, out.given)})
    if out.form in {"json", "jsonl"}:
        said = json.dumps(problem.model_dump(exclude_none=True), ensure_ascii=False)
        click.echo(escaped(said), err=True)
    else:
        click.echo(_text(problem), err=True, color=out.color)


def exit_code(error: BaseException) -> int:
    """The exit code of an error."""
    match error:
        case NotFound():
            return EXIT["not_found"]
        case RunFailed():
            return EXIT["run_failed"]
        case TimeoutError():
            return EXIT["timeout"]
        case PartsongError(problem=problem) if problem.code in _UNFIT:
            return EXIT["damaged"]
        case PartsongError(problem=problem) if problem.code in _SILENT:
            return EXIT["timeout"]
        case InvalidInput(problem=problem) if (
            problem.code in _REFUSED or problem.fault == "platform"
        ):
            return EXIT["failure"]
        case InvalidInput(problem=problem):
            return EXIT["not_found" if problem.code in _UNKNOWN else "usage"]
        case _:
            return EXIT["failure"]


def problem_of(error: BaseException) -> Problem:
    """Any error as a problem."""
    match error:
        case PartsongError(problem=problem):
            return problem
        case TimeoutError():
            said = str(error) or "it did not end in time"
            return Problem(code="timeout", message=said, retryable=True)
        case _:
            return Problem(
                code="internal",
                message=f"{type(error).__name__}: {error}",
                fix="set PARTSONG_DEBUG=1 to see where, and report it",
                fault="platform",
            )


def _text(problem: Problem) -> str:
    lines = [f": {problem.code}: {problem.message}"]
    lines += [f"  at   {problem.where}"] if problem.where else []
    lines += [f"  fix  {problem.fix}"] if problem.fix else []
    return click.style("error", fg="red", bold=True) + visible("\n".join(lines))
