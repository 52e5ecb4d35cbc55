"""Fits the weights of the complexity analyzer: `python -m tests.unit.models.routing.complexity.fit` prints the table.

Ordinal logistic regression (proportional odds) on the training tasks, by projected gradient descent: weights may not
be negative, and are pulled towards zero. Then the scale is moved so that medium begins at 25 and reasoning at 75.
With `--write` the table replaces `models/routing/weights.py`.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from pathlib import Path

from partsong.models.routing import weights
from partsong.models.routing.features import TASK_FEATURES, Reading
from tests.unit.models.routing.complexity.tasks import Labelled, train

__all__ = ["fit", "length_limits"]

_ROUNDS = 1_000
_STEP = 1.5
_PULL = 0.003


def _vector(item: Labelled) -> list[float]:
    values = Reading.of(item.task, item.context).values
    return [values[name] for name in TASK_FEATURES]


def _sigmoid(z: float) -> float:
    return 1 / (1 + math.exp(-z))


def _slopes(z: float, cuts: Sequence[float], rank: int) -> tuple[float, list[float]]:
    """Of the loss -log P(rank), by z and by each cut. P(rank > k) = sigmoid(z - cut k)."""
    above = [1.0, *(_sigmoid(z - cut) for cut in cuts), 0.0]
    chance = max(above[rank] - above[rank + 1], 1e-9)
    bend = [p * (1 - p) for p in above]
    by_cut = [0.0] * len(cuts)
    if rank > 0:
        by_cut[rank - 1] = bend[rank] / chance
    if rank < len(cuts):
        by_cut[rank] = -bend[rank + 1] / chance
    return -(bend[rank] - bend[rank + 1]) / chance, by_cut


def _descend(
    rows: Sequence[Sequence[float]], ranks: Sequence[int]
) -> tuple[list[float], list[float]]:
    points, cuts = [1.0] * len(rows[0]), [1.0, 2.0, 3.0]
    for _ in range(_ROUNDS):
        by_point, by_cuts = [_PULL * len(rows) * p for p in points], [0.0] * 3
        for row, rank in zip(rows, ranks, strict=True):
            slope, by_cut = _slopes(sum(map(_times, points, row)), cuts, rank)
            by_point = [total + slope * x for total, x in zip(by_point, row, strict=True)]
            by_cuts = [total + s for total, s in zip(by_cuts, by_cut, strict=True)]
        rate = _STEP / len(rows)
        points = [max(0.0, p - rate * s) for p, s in zip(points, by_point, strict=True)]
        cuts = sorted(c - rate * s for c, s in zip(cuts, by_cuts, strict=True))
    return points, cuts


def _times(a: float, b: float) -> float:
    return a * b


def fit(items: Sequence[Labelled]) -> tuple[float, dict[str, float], tuple[float, float, float]]:
    """Base, points and limits, rounded as they are written."""
    points, cuts = _descend([_vector(item) for item in items], [item.rank for item in items])
    scale = 50 / (cuts[2] - cuts[0])
    base = 25 - scale * cuts[0]
    table = {n: round(scale * p, 1) for n, p in zip(TASK_FEATURES, points, strict=True)}
    return round(base, 1), table, (25.0, round(base + scale * cuts[1], 1), 75.0)


def length_limits(items: Sequence[Labelled]) -> tuple[float, ...]:
    """The baseline: the three limits on the length alone that get most of the tasks right, found by trying them all."""
    lengths = sorted({round(Reading.of(i.task, i.context).values["length"], 2) for i in items})
    pairs = [(Reading.of(i.task, i.context).values["length"], i.rank) for i in items]
    right = {
        (c, r): sum(x < c and rank == r for x, rank in pairs) for c in lengths for r in range(4)
    }
    total = sum(rank == 3 for _, rank in pairs)
    return max(
        ((a, b, c) for a in lengths for b in lengths if b >= a for c in lengths if c >= b),
        key=lambda t: (
            right[t[0], 0]
            + (right[t[1], 1] - right[t[0], 1])
            + (right[t[2], 2] - right[t[1], 2])
            + (total - right[t[2], 3])
        ),
    )


def _module(version: str) -> str:
    base, points, limits = fit(train())
    rows = "\n".join(f'    "{name}": {value},' for name, value in points.items())
    return (
        '"""The fitted weights, written by `python -m tests.unit.models.routing.complexity.fit --write`; not edited by hand."""\n\n'
        "from __future__ import annotations\n\nfrom collections.abc import Mapping\n\n"
        '__all__ = ["BASE", "LIMITS", "POINTS", "VERSION"]\n\n'
        f'VERSION = "{version}"\n"""Goes up whenever a number changes: scores in old logs name theirs."""\n'
        f"BASE = {base}\nPOINTS: Mapping[str, float] = {{\n{rows}\n}}\nLIMITS = {limits}\n"
    )


if __name__ == "__main__":
    text = _module(weights.VERSION)
    sys.stdout.write(text)
    if "--write" in sys.argv:
        Path(weights.__file__).write_text(text, "utf-8")
