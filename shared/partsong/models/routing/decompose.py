"""Decomposition: a planner's list of sub-tasks, checked before anybody works on it, and laid out in waves.

A model wrote the list, so it is refused with the values that are wrong, in words that can go back to the model.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pydantic import BaseModel, ConfigDict

from partsong.contracts.errors import InvalidInput
from partsong.contracts.talk.model_routing import Score
from partsong.models.routing.complexity import ComplexityAnalyzer
from partsong.models.routing.features import Task

__all__ = ["Decomposition", "DecompositionLimits", "Subtask", "decomposed"]


class Subtask(BaseModel):
    """One part of a task, as a planner says it."""

    model_config = ConfigDict(frozen=True, extra="allow")

    id: str
    text: str
    needs: tuple[str, ...] = ()
    """Ids of the parts whose results it builds on."""


@dataclass(frozen=True, slots=True)
class DecompositionLimits:
    """How large a plan may become."""

    parts: int = 20
    width: int = 8
    """Parts at once."""
    depth: int = 6
    """Parts after one another."""
    growth: float = 4.0
    """The parts' scores together, in scores of the whole."""


@dataclass(frozen=True, slots=True)
class Decomposition:
    """A plan that can be worked on."""

    waves: tuple[tuple[Subtask, ...], ...]
    """Each wave needs only results of earlier ones; within a wave in the planner's order."""
    scores: Mapping[str, Score]
    """By the id of the part."""


def decomposed(
    parts: Sequence[Subtask],
    whole: Score,
    analyzer: ComplexityAnalyzer,
    limits: DecompositionLimits | None = None,
) -> Decomposition:
    """Check a plan and lay it out.

    Raises:
        InvalidInput: `plan.empty`, `plan.duplicate_id`, `plan.unknown_id`, `plan.cycle`, `plan.too_many`,
            `plan.too_wide`, `plan.too_deep`; `plan.not_simpler` if a part is as hard as the whole, or all parts
            together are much harder.
    """
    limits = limits or DecompositionLimits()
    _check_names(parts, limits)
    waves = _waves(parts)
    widest = max(waves, key=len)
    if len(widest) > limits.width:
        names = ", ".join(part.id for part in widest)
        raise _refusal("too_wide", f"{len(widest)} parts at once ({names}), at most {limits.width}")
    if len(waves) > limits.depth:
        raise _refusal("too_deep", f"{len(waves)} parts after one another, at most {limits.depth}")
    scores = {part.id: analyzer.score(Task(part.text)) for part in parts}
    _check_scores(scores, whole, limits)
    return Decomposition(waves, scores)


def _check_names(parts: Sequence[Subtask], limits: DecompositionLimits) -> None:
    ids = [part.id for part in parts]
    if not ids:
        raise _refusal("empty", "there are no parts")
    if len(ids) > limits.parts:
        raise _refusal("too_many", f"{len(ids)} parts, at most {limits.parts}")
    if twice := sorted({name for name in ids if ids.count(name) > 1}):
        raise _refusal("duplicate_id", f"ids used more than once: {', '.join(twice)}")
    unknown = sorted(
        f"{part.id} needs {need}" for part in parts for need in part.needs if need not in ids
    )
    if unknown:
        raise _refusal("unknown_id", f"{'; '.join(unknown)}; the ids are {', '.join(ids)}")


def _waves(parts: Sequence[Subtask]) -> tuple[tuple[Subtask, ...], ...]:
    waves: list[tuple[Subtask, ...]] = []
    done: set[str] = set()
    left = list(parts)
    while left:
        wave = tuple(part for part in left if done.issuperset(part.needs))
        if not wave:
            names = ", ".join(f"{part.id} needs {' and '.join(part.needs)}" for part in left)
            raise _refusal("cycle", f"parts that wait for each other: {names}")
        waves.append(wave)
        done.update(part.id for part in wave)
        left = [part for part in left if part.id not in done]
    return tuple(waves)


def _check_scores(scores: Mapping[str, Score], whole: Score, limits: DecompositionLimits) -> None:
    hard = [
        f"{name} ({score.value})" for name, score in scores.items() if score.value >= whole.value
    ]
    if hard and len(scores) > 1:
        raise _refusal("not_simpler", f"as hard as the whole ({whole.value}): {', '.join(hard)}")
    total = sum(score.value for score in scores.values())
    if total > limits.growth * max(whole.value, 1.0):
        raise _refusal(
            "not_simpler",
            f"the parts score {total:.0f} together, the whole {whole.value:.0f}, at most"
            f" {limits.growth:g} times as much",
        )


def _refusal(code: str, message: str) -> InvalidInput:
    return InvalidInput(f"plan.{code}", message, where="parts", fix="correct the list of parts")
