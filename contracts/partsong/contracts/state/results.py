"""`RunResult`: how a run stands, and everything that led there."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from pydantic import JsonValue

from partsong.contracts.errors import Problem, RunFailed
from partsong.contracts.events import Event
from partsong.contracts.state.state import Status

__all__ = ["RunResult", "failure"]


def failure(problem: Problem, cause: BaseException | None = None) -> RunFailed:
    """The exception for a run that failed of `problem`, and of what it came from; without that, with its traceback as a note."""
    error = RunFailed.of(problem)
    if cause is not None:
        error.__cause__ = cause
    elif problem.traceback is not None:
        error.add_note(f"raised by the run's code:\n{problem.traceback}")
    return error


@dataclass(frozen=True, slots=True)
class RunResult(Mapping[str, JsonValue]):
    """A run's outcome. It reads like the state: `result["answer"]`."""

    run_id: str
    status: Status
    state: dict[str, JsonValue]
    error: Problem | None = None
    events: tuple[Event, ...] = ()
    uncompensated: Mapping[str, Problem] = field(default_factory=dict)
    """Executions that could not be undone, and why: somebody has to do it by hand."""
    cause: BaseException | None = field(default=None, compare=False, repr=False)
    """The exception that the run failed of, if it was raised in this process."""

    def __getitem__(self, key: str) -> JsonValue:
        """The value of a state key."""
        return self.state[key]

    def __iter__(self) -> Iterator[str]:
        """The keys of the state."""
        return iter(self.state)

    def __len__(self) -> int:
        """The number of keys in the state."""
        return len(self.state)

    def raise_for_status(self) -> RunResult:
        """This result, if the run completed.

        Raises:
            RunFailed: it ended otherwise, or has not ended; with the run's own error. What a function raised in this
                process is its `__cause__`; of what was raised elsewhere it has the traceback as a note.
        """
        if self.status == "completed":
            return self
        if self.error is not None:
            raise failure(self.error, self.cause)
        raise RunFailed(
            "run.not_completed", f"run {self.run_id} is {self.status}", where=self.run_id
        )
