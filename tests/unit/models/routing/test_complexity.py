"""The complexity analyzer: better than counting words, never cheaper for more work, and awake to trouble."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import JsonValue

from partsong.contracts.errors import InvalidInput
from partsong.contracts.talk.model_routing import TIERS
from partsong.models.routing.complexity import WEIGHTS, ComplexityAnalyzer, Weights, approach
from partsong.models.routing.features import READ, Context, RunSignals, Task
from partsong.models.routing.keywords import CUES
from partsong.models.routing.weights import BASE, LIMITS, POINTS
from tests.unit.models.routing.complexity.fit import fit
from tests.unit.models.routing.complexity.measure import accuracy, by_length, far_off, ranked
from tests.unit.models.routing.complexity.tasks import Labelled, held_out, labelled, train

ANALYZER = ComplexityAnalyzer()
MARGIN = 0.20
"""How much more of the held-out tasks get their own tier than by the best limits on the length alone."""

CUE = st.sampled_from(sorted({c.strip() for cues in CUES.values() for c in cues.split(",")}))
TEXT = st.lists(
    CUE
    | st.sampled_from(["\n1. ", "\n- ", "```", " 3 + 4", "x^2", "()", ". ", ", ", "。", " 12% "])
    | st.text(max_size=12),
    max_size=25,
).map(" ".join)


def test_held_out_tasks_are_told_apart_better_than_by_their_length() -> None:
    ours, length = ranked(held_out()), by_length(held_out())
    assert accuracy(ours) >= accuracy(length) + MARGIN
    assert far_off(ours) <= far_off(length) / 2


def test_held_out_tasks_in_other_languages_are_told_apart_too() -> None:
    foreign = [item for item in held_out() if item.lang != "en"]
    assert accuracy(ranked(foreign)) >= accuracy(by_length(foreign)) + MARGIN


def test_the_task_set_is_balanced_and_has_no_duplicates() -> None:
    items = labelled()
    assert 200 <= len(items) <= 300
    assert len({item.task.text for item in items}) == len(items)
    assert len({item.lang for item in items}) >= 6
    for tier in TIERS:
        assert sum(item.label == tier for item in items) >= 0.2 * len(items)
        assert any(item.label == tier for item in held_out())


def test_the_weights_are_what_the_fit_makes_of_the_training_tasks() -> None:
    base, points, limits = fit(train())
    assert points == pytest.approx(dict(POINTS), abs=0.2)
    assert (base, *limits) == pytest.approx((BASE, *LIMITS), abs=0.2)


@settings(max_examples=150, deadline=None)
@given(TEXT, TEXT)
def test_more_text_never_lowers_the_score(first: str, more: str) -> None:
    alone = ANALYZER.score(Task(first)).value
    added = ANALYZER.score(Task(f"{more}\n{first}")).value
    assert ANALYZER.score(Task(f"{first}\n{more}")).value >= alone
    assert ANALYZER.score(Task(f"{first} also {more}, then {more}")).value >= alone
    assert added >= alone


@settings(max_examples=50, deadline=None)
@given(TEXT, st.integers(READ - 40, READ + 40))
def test_that_holds_where_reading_ends(more: str, size: int) -> None:
    long = ("plan the next step. " * (READ // 20 + 4))[:size]
    assert ANALYZER.score(Task(f"{long} {more}")).value >= ANALYZER.score(Task(long)).value


@pytest.mark.parametrize("item", labelled()[::8], ids=lambda item: item.task.text[:30])
def test_also_do_x_then_y_never_lowers_a_real_task(item: Labelled) -> None:
    longer = Task(f"{item.task.text} Also do X, then Y.", item.task.attachments, item.task.tools)
    shorter = Task(item.task.text, item.task.attachments, item.task.tools)
    assert ANALYZER.score(longer).value >= ANALYZER.score(shorter).value


SMALL = st.integers(0, 9)


@given(
    st.builds(
        RunSignals, SMALL, st.integers(9, 20), SMALL, SMALL, SMALL, SMALL, SMALL, SMALL, SMALL
    ),
    st.sampled_from(
        ["retries", "tool_errors", "repeats", "rejections", "handoffs", "depth", "tokens_used"]
    ),
)
def test_more_trouble_never_lowers_the_score(run: RunSignals, name: str) -> None:
    worse = RunSignals(
        **{f: getattr(run, f) + (f == name) for f in RunSignals.__dataclass_fields__}
    )
    task = Task("Sort these names.")
    assert (
        ANALYZER.score(task, Context(run=worse)).value
        >= ANALYZER.score(task, Context(run=run)).value
    )


@pytest.mark.parametrize("item", labelled()[::8], ids=lambda item: item.task.text[:30])
def test_a_stall_escalates_within_two_steps_and_falls_back_when_it_is_over(item: Labelled) -> None:
    def rank(repeats: int) -> int:
        run = RunSignals(tool_calls=repeats + 1, repeats=repeats)
        return TIERS.index(ANALYZER.score(item.task, Context(run=run)).tier)

    assert rank(2) > rank(0) or rank(0) == 3
    assert rank(6) == 3
    assert rank(0) == TIERS.index(ANALYZER.score(item.task).tier)


def test_answers_turned_down_twice_escalate() -> None:
    task = Task("What is the capital of Australia?")
    score = ANALYZER.score(task, Context(run=RunSignals(rejections=2)))
    assert score.tier != "simple"
    assert approach(score).reviewer
    assert "answer turned down 2 times: from simple to medium" in score.reasons


def test_what_comes_along_counts() -> None:
    bare = ANALYZER.score(Task("Summarise this."))
    schema: dict[str, JsonValue] = {
        "type": "object",
        "properties": {"a": {"type": "array", "items": {"type": "object"}}},
    }
    full = ANALYZER.score(
        Task("Summarise this.", ("a.pdf", "b.pdf"), ("search", "fetch"), schema), Context(50_000)
    )
    assert full.value > bare.value
    assert {"attachments", "tools", "schema", "context"} <= full.features.keys()


@pytest.mark.parametrize("text", ["Prove that P is not NP.", "证明根号二是无理数。", ""])
def test_the_same_task_gets_the_same_score(text: str) -> None:
    assert ANALYZER.score(Task(text)) == ComplexityAnalyzer().score(Task(text))
    assert 0 <= ANALYZER.score(Task(text)).value <= 100


def test_reasons_name_the_cues() -> None:
    score = ANALYZER.score(Task("Prove that there is a counterexample."))
    assert any(r.startswith("reasoning +") and "prove" in r for r in score.reasons)
    assert score.kind == "reasoning"
    assert score.version == WEIGHTS.version


def test_work_with_parts_is_shared_out_and_an_inference_is_not() -> None:
    parts = approach(
        ANALYZER.score(
            Task(
                "Design and build a REST API with tests, a migration and a docker image. First write"
                " a specification, then implement it, then deploy it, and finally document each step."
            )
        )
    )
    proof = approach(ANALYZER.score(Task("Prove that the square root of 2 is irrational.")))
    simple = approach(ANALYZER.score(Task("Good morning!")))
    assert parts.decompose
    assert parts.max_workers > 1
    assert not proof.decompose
    assert (simple.tier, simple.effort, simple.max_workers) == ("simple", "minimal", 1)
    assert not simple.reviewer


@pytest.mark.parametrize(
    ("points", "limits"),
    [
        ({**WEIGHTS.points, "length": -1.0}, (25.0, 50.0, 75.0)),
        ({"length": 1.0}, (25.0, 50.0, 75.0)),
        (WEIGHTS.points, (25.0, 20.0, 75.0)),
    ],
)
def test_weights_that_could_lower_a_score_are_refused(
    points: dict[str, float], limits: tuple[float, float, float]
) -> None:
    with pytest.raises(InvalidInput, match=r"weights 'x'"):
        Weights("x", 0.0, points, limits)
