"""Going round in circles: when a model is warned of it, and when it is stopped.

One rule for agents in graphs and for those that are called from Python. A model is never stopped before it was warned.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from pydantic import JsonValue

from partsong.contracts.errors import Problem
from partsong.contracts.talk.messages import ToolCallPart

__all__ = ["Circles"]

_AGAIN = (
    "You have called {name} with the same arguments {times} times, and got the same result each time. "
    "Go on in another way, or give your answer: the same call once more ends the task."
)
_UNKNOWN = (
    "All the tools that you have called in your last {times} turns do not exist. There are: {names}. "
    "Call one of these, or give your answer: another one that does not exist ends the task."
)


@dataclass(frozen=True, slots=True)
class Circles:
    """How a conversation goes on, after a turn that has called tools."""

    limit: int
    """How often the same call may give the same result."""
    warned: bool
    repeated: tuple[ToolCallPart, int] | None
    """The last turn's call that gave the same result most often, and how often that was."""
    unknown: int
    """Turns in a row whose calls all named tools that there are not."""

    def warning(self, names: Iterable[str]) -> str | None:
        """What the model is told, if it is to be warned; `names` are the tools that there are."""
        if self.warned:
            return None
        if self.repeated is not None and self.repeated[1] >= max(2, self.limit):
            call, times = self.repeated
            return _AGAIN.format(name=call.name, times=times)
        if self.unknown >= max(2, self.limit):
            return _UNKNOWN.format(times=self.unknown, names=", ".join(names) or "none")
        return None

    def problem(self, who: str, where: str) -> Problem | None:
        """Why the model is stopped, if it is: `agent.loop`, `agent.unknown_tools`."""
        if not self.warned:
            return None
        if self.repeated is not None and self.repeated[1] > self.limit:
            call, times = self.repeated
            args: JsonValue = call.args
            return Problem(
                code="agent.loop",
                message=f"{who} called {call.name} with {args!r:.200} {times} times and got the same result each time",
                where=where,
                fix="say in the instructions what to do with that result, or raise repeats",
                fault="provider",
            )
        if self.unknown > self.limit:
            return Problem(
                code="agent.unknown_tools",
                message=f"{who} called only tools that do not exist in {self.unknown} turns in a row",
                where=where,
                fix="name its tools in the instructions, give it the tools it looks for, or ask a stronger model",
                fault="provider",
            )
        return None
