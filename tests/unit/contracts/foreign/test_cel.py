"""Expressions that others wrote: what they are worth, what is refused, and which are cheap."""

from __future__ import annotations

import json

import pytest
from pydantic import JsonValue

from partsong.contracts.errors import InvalidInput
from partsong.contracts.foreign import cel
from partsong.contracts.foreign.question import Answers, Expression, NotAnswered, question_of
from partsong.contracts.graph.expressions import check_expression, compute, holds

STATE: dict[str, JsonValue] = {
    "n": 1,
    "f": 1.5,
    "s": "abc",
    "items": [1, 2, 3],
    "d": {"a": 1},
    "no": None,
    "large": 2**70,
    "cut": "admin\0x",
    "half": "\ud800",
}


def worth(expression: str) -> JsonValue:
    return compute(expression, STATE)


def refusal(expression: str) -> InvalidInput:
    with pytest.raises(InvalidInput) as refused:
        worth(expression)
    return refused.value


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("state.n + 1", 2),
        ("double(state.n) * state.f", 1.5),
        ("state.n > 0 ? 'many' : 0", "many"),  # of two types, which CEL's checker does not take
        ("has(state.x)", False),
        ("'a' in state.d", True),
        ("state.items.map(x, x * 2)", [2, 4, 6]),
        ("{'z': 1, 'a': [state.no]}", {"a": [None], "z": 1}),
        ("timestamp('2026-01-01T00:00:00Z')", "2026-01-01T00:00:00Z"),
        ("duration('90s')", 90.0),
        ("state['s'].startsWith('a')", True),
    ],
)
def test_an_expression_is_worth_a_json_value(expression: str, value: JsonValue) -> None:
    state = {key: value for key, value in STATE.items() if key not in {"large", "cut", "half"}}
    assert compute(expression, state) == value


def test_keys_come_in_one_order() -> None:
    assert json.dumps(worth("{'z': 1, 'a': 2, 'm': state.n}")) == '{"a": 2, "m": 1, "z": 1}'


@pytest.mark.parametrize(
    ("expression", "code", "said"),
    [
        ("state.", "cel.syntax", "1:7"),
        ("other.n", "cel.syntax", "undeclared reference to 'other.n'"),
        ("1 + 'a'", "cel.syntax", "no matching overload"),
        ("(" * 40 + "1" + ")" * 40, "cel.syntax", "recursion limit"),
        ("'\ud800'", "cel.syntax", "no text of Unicode"),
        ("1" + " + 1" * 2000, "cel.too_long", "4,096"),
        ("state.x", "cel.failed", "no key 'x' (keys of the state: cut, d,"),
        ("state.n + 1.5", "cel.failed", "int64, double"),
        ("state.n / 0", "cel.failed", "divide by zero"),
        ("state.items[9]", "cel.failed", "index=9"),
        ("double('NaN')", "cel.failed", "JSON has no word for that"),
        ("b'abc'", "cel.failed", "no JSON value"),
        ("state.large > 1", "cel.failed", "out of range"),
        ("state.cut == 'admin'", "cel.failed", "NUL"),
        ("state.half == 'a'", "cel.failed", "half a character"),
    ],
)
def test_what_has_no_value_says_why(expression: str, code: str, said: str) -> None:
    problem = refusal(expression).problem
    assert problem.code == code
    assert said in problem.message


def test_what_an_expression_does_not_speak_of_does_it_no_harm() -> None:
    assert worth("state.n + state.items[0]") == 2
    assert "cannot be spoken of" in refusal("size(state)").problem.message


@pytest.mark.parametrize("says", ["state.a", 'state["a"]', "state . a", "state.b.state.a", "state"])
def test_all_that_an_expression_can_speak_of_is_there(says: str) -> None:
    named = cel.named(says, {"a": 1, "b": 2, "c": 3}, "state")
    assert named["a"] == 1
    assert named in ({"a": 1}, {"a": 1, "b": 2}, {"a": 1, "b": 2, "c": 3})


def test_a_condition_is_true_or_false() -> None:
    with pytest.raises(InvalidInput, match="gives 1") as refused:
        holds("state.n", STATE)
    assert refused.value.problem.code == "cel.not_bool"


def test_a_mistake_is_found_where_it_stands() -> None:
    with pytest.raises(InvalidInput) as refused:
        check_expression("state.n >", "edges[3].when")
    assert refused.value.problem.where == "edges[3].when"


@pytest.mark.parametrize(
    "expression",
    [
        "state.items.all(x, x > 0)",
        "state.items . map (x, x)",
        "state.s.matches(state.s)",
        "state.s" + " + state.s" * 9,
    ],
)
def test_what_may_cost_more_is_not_answered_in_passing(expression: str) -> None:
    question = Expression(expression, cel.named(expression, STATE, "state"))
    answers = Answers()
    with pytest.raises(NotAnswered) as asked:
        answers(question)
    answers.learn(asked.value, "learnt")
    assert answers(question) == "learnt"


def test_neither_is_anything_of_large_values() -> None:
    texts: list[JsonValue] = ["x" * 100] * 4000
    large: dict[str, JsonValue] = {"n": 1, "s": texts}
    answers = Answers()
    assert answers(Expression("state.n > 0", cel.named("state.n > 0", large, "state"))) is True
    with pytest.raises(NotAnswered):
        answers(Expression("size(state.s)", cel.named("size(state.s)", large, "state")))


def test_a_question_travels() -> None:
    question = Expression("args.n > 1", {"n": 2}, "args")
    assert question_of(question.wire()) == question
    assert question_of(question.wire()).answer() is True
