"""How well tiers are told apart: `python -m tests.unit.models.routing.complexity.measure` prints the figures that the documents name."""

from __future__ import annotations

import sys
import time

from partsong.contracts.talk.model_routing import TIERS
from partsong.models.routing.complexity import ComplexityAnalyzer
from partsong.models.routing.features import Reading
from tests.unit.models.routing.complexity.fit import length_limits
from tests.unit.models.routing.complexity.tasks import Labelled, held_out, labelled, train

__all__ = ["accuracy", "by_length", "far_off", "ranked"]

_ANALYZER = ComplexityAnalyzer()


def ranked(items: list[Labelled]) -> list[tuple[int, int]]:
    """The tier that each task gets, and its own."""
    return [(TIERS.index(_ANALYZER.score(i.task, i.context).tier), i.rank) for i in items]


def by_length(items: list[Labelled]) -> list[tuple[int, int]]:
    """The same by the best three limits on the length alone."""
    limits = length_limits(train())
    lengths = [Reading.of(item.task, item.context).values["length"] for item in items]
    return [
        (sum(x >= limit for limit in limits), i.rank) for x, i in zip(lengths, items, strict=True)
    ]


def accuracy(pairs: list[tuple[int, int]]) -> float:
    """The share that gets its own tier."""
    return sum(got == rank for got, rank in pairs) / len(pairs)


def far_off(pairs: list[tuple[int, int]]) -> int:
    """How many are more than one tier off."""
    return sum(abs(got - rank) > 1 for got, rank in pairs)


def _milliseconds() -> list[float]:
    """What each of all tasks takes to score, sorted."""
    took: list[float] = []
    for item in labelled():
        began = time.perf_counter()
        _ANALYZER.score(item.task, item.context)
        took.append((time.perf_counter() - began) * 1000)
    return sorted(took)


if __name__ == "__main__":
    ours, length = ranked(held_out()), by_length(held_out())
    took = _milliseconds()
    sys.stdout.write(
        f"held out: {len(ours)} tasks, {accuracy(ours):.1%} get their own tier, by length alone {accuracy(length):.1%}\n"
        f"one score: {took[len(took) // 2]:.2f} ms, the slowest of {len(took)} {took[-1]:.2f} ms\n"
    )
