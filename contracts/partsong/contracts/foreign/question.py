"""A question: what somebody else wrote, asked of values; and how it is answered."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeAlias

from pydantic import JsonValue

from partsong.contracts.errors import InvalidInput, Problem
from partsong.contracts.foreign import cel, schema

__all__ = [
    "Answers",
    "Evaluate",
    "Expression",
    "Fit",
    "NotAnswered",
    "Question",
    "at_once",
    "question_of",
]


@dataclass(frozen=True, slots=True)
class Expression:
    """What is a CEL expression worth?"""

    text: str
    values: Mapping[str, JsonValue]
    """What it can speak of; see `cel.named`."""
    name: str = "state"
    """By which name it knows the values."""

    def cost(self) -> int | None:
        """What an answer costs at most, in units of some 10 ns; None if it is not to be answered where it is asked."""
        return cel.cost(self.text, self.values)

    def answer(self) -> JsonValue:
        """Its value.

        Raises:
            InvalidInput: `cel.syntax`, `cel.too_long`, `cel.failed`.
        """
        return cel.evaluate(self.text, dict(self.values), self.name)

    def wire(self) -> str:
        """As JSON, on one line."""
        return json.dumps({"cel": self.text, "values": dict(self.values), "name": self.name})

    def over_budget(self, why: str) -> Problem:
        """What to say if it took more than it may."""
        return Problem(
            code="cel.budget",
            message=f"{self.text!r:.300}: {why}",
            fix=cel.LESS,
        )


@dataclass(frozen=True, slots=True)
class Fit:
    """What of a value does not fit a JSON Schema? The answer is a list of places, each with what is said of it."""

    schema: JsonValue
    value: JsonValue
    most: int = 1
    """So many findings are of use."""

    def cost(self) -> int | None:
        """See `Expression.cost`."""
        return schema.cost(self.schema, self.value)

    def answer(self) -> JsonValue:
        """The findings.

        Raises:
            InvalidInput: `schema.invalid`.
        """
        found = schema.findings(self.schema, self.value, self.most)
        return [[list(x.place), x.said] for x in found]

    def wire(self) -> str:
        """As JSON, on one line."""
        return json.dumps({"schema": self.schema, "value": self.value, "most": self.most})

    def over_budget(self, why: str) -> Problem:
        """What to say if it took more than it may."""
        return Problem(
            code="schema.budget",
            message=f"a value was not compared with its JSON Schema: {why}",
            fix="let the schema ask less: fewer references to parts that refer to others, simpler patterns",
        )


Question: TypeAlias = Expression | Fit
Evaluate: TypeAlias = Callable[[Question], JsonValue]
"""Answers a question; raises InvalidInput if there is no answer, NotAnswered if there is none yet."""


def question_of(wire: str | bytes) -> Question:
    """The question that somebody sent."""
    raw = json.loads(wire)
    if "cel" in raw:
        return Expression(raw["cel"], raw["values"], raw["name"])
    return Fit(raw["schema"], raw["value"], raw["most"])


def at_once(question: Question) -> JsonValue:
    """Answer where it is asked, whatever it takes: for one's own process and one's own questions."""
    return question.answer()


class NotAnswered(Exception):  # nothing is wrong
    """A question that is not cheap: whoever decides is asked again when it is answered."""

    def __init__(self, question: Question, key: bytes, wire: str) -> None:
        super().__init__(f"not answered yet: {wire[:100]}")
        self.question, self.key, self.wire = question, key, wire


class Answers:
    """Answers cheap questions, and those whose answer has been learnt."""

    def __init__(self) -> None:
        self._known: dict[bytes, JsonValue | Problem] = {}

    def __call__(self, question: Question) -> JsonValue:
        """See `Evaluate`."""
        if question.cost() is not None:
            return question.answer()
        wire = question.wire()
        key = hashlib.sha256(wire.encode()).digest()
        if key not in self._known:
            raise NotAnswered(question, key, wire)
        answer = self._known[key]
        if isinstance(answer, Problem):
            raise InvalidInput.of(answer)
        return answer

    def learn(self, asked: NotAnswered, answer: JsonValue | Problem) -> None:
        """Know an answer from now on."""
        self._known[asked.key] = answer
