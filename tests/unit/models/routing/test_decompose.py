"""Plans of a planner: a graph without cycles, not too large, and simpler in its parts."""

from __future__ import annotations

import pytest

from partsong.contracts.errors import InvalidInput
from partsong.models.routing.complexity import ComplexityAnalyzer
from partsong.models.routing.decompose import DecompositionLimits, Subtask, decomposed
from partsong.models.routing.features import Task

ANALYZER = ComplexityAnalyzer()
WHOLE = ANALYZER.score(
    Task("Design, build, test and document a REST API with a database, and then deploy each part.")
)


def part(name: str, *needs: str, text: str = "Write the schema.") -> Subtask:
    return Subtask(id=name, text=text, needs=needs)


def test_parts_are_laid_out_in_waves_with_their_scores() -> None:
    plan = decomposed(
        [part("d", "b", "c"), part("a"), part("b", "a"), part("c", "a")], WHOLE, ANALYZER
    )
    assert [[p.id for p in wave] for wave in plan.waves] == [["a"], ["b", "c"], ["d"]]
    assert plan.scores["a"] == ANALYZER.score(Task("Write the schema."))


@pytest.mark.parametrize(
    ("code", "parts", "said"),
    [
        ("plan.empty", [], "no parts"),
        ("plan.duplicate_id", [part("a"), part("a")], "more than once: a"),
        ("plan.unknown_id", [part("a", "z")], "a needs z; the ids are a"),
        ("plan.cycle", [part("a"), part("b", "c"), part("c", "b")], "b needs c, c needs b"),
        ("plan.cycle", [part("a", "a")], "a needs a"),
        ("plan.too_many", [part(str(i)) for i in range(7)], "7 parts, at most 6"),
        ("plan.too_wide", [part(c) for c in "abcd"], "4 parts at once"),
        ("plan.too_deep", [part("a"), part("b", "a"), part("c", "b")], "at most 2"),
        ("plan.not_simpler", [part("a"), part("b", text="Prove it. " * 99)], "as hard as"),
    ],
)
def test_a_bad_plan_is_refused_in_words_for_its_planner(
    code: str, parts: list[Subtask], said: str
) -> None:
    limits = DecompositionLimits(parts=6, width=3, depth=2)
    with pytest.raises(InvalidInput, match=said) as caught:
        decomposed(parts, WHOLE, ANALYZER, limits)
    assert caught.value.problem.code == code


def test_parts_that_are_much_more_work_than_the_whole_are_refused() -> None:
    parts = [part(c) for c in "abcdef"]
    limits = DecompositionLimits(growth=0.5)
    with pytest.raises(InvalidInput, match=r"at most 0\.5 times as much"):
        decomposed(parts, WHOLE, ANALYZER, limits)
