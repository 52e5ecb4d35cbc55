"""The meter of a turn: what it has taken so far, so that a run that asks for much leaves others their turns.

It counts what there is to look at, not the clock: the same turn is as long on every machine.
"""

from __future__ import annotations

from dataclasses import dataclass

from pydantic import JsonValue

from partsong.contracts.foreign.question import Evaluate, Question

__all__ = ["EVENT", "MOST", "Meter"]

MOST = 10_000_000
"""What a turn may take, in the units of `Question.cost`: about 0.1 s."""
EVENT = 5_000
"""What an event takes to be decided."""
_LOOK = 125
"""What it takes to look at one unsettled write, or one open execution."""


@dataclass(slots=True)
class Meter:
    """Answers as `evaluate` does, and counts what the answers cost. What had to be waited for ends the turn."""

    evaluate: Evaluate
    spent: int = 0

    @classmethod
    def of(cls, evaluate: Evaluate) -> Meter:
        """That meter, if it is one: a turn has several parts."""
        return evaluate if isinstance(evaluate, cls) else cls(evaluate)

    def __call__(self, question: Question) -> JsonValue:
        """See `Evaluate`."""
        cost = question.cost()
        answer = self.evaluate(question)
        self.spent += MOST if cost is None else cost
        return answer

    def looks_at(self, many: int) -> None:
        """Count that so many writes and executions are looked at."""
        self.spent += many * _LOOK

    def full(self, events: int = 0) -> bool:
        """Whether, with so many events, the turn has taken all that it may."""
        return self.spent + events * EVENT >= MOST
