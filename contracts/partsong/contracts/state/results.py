"""`RunResult`: how a run stands, and everything that led there."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from pydantic import JsonValue

from partsong.contracts.errors import Problem, RunFailed
from partsong.contracts.events import Event
from partsong.contracts.state.state import Status

__all__ = ["RunResult"]


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
            RunFailed: it ended otherwise, or has not ended; with the run's own error.
        """
        if self.status == "completed":
            return self
        if self.error is not None:
            raise RunFailed.of(self.error)
        raise RunFailed(
            "run.not_completed", f"run {self.run_id} is {self.status}", where=self.run_id
        )
