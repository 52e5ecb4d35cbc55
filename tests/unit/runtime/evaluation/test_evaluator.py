"""The process that answers what is not cheap: it answers, it is stopped, and it comes back."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import JsonValue

from partsong.contracts.errors import InvalidInput, Problem
from partsong.contracts.foreign.cel import named
from partsong.contracts.foreign.question import Evaluate, Expression, Fit, NotAnswered, Question
from partsong.runtime.evaluation import evaluator as evaluation
from partsong.runtime.evaluation.evaluator import Evaluator, evaluate, settle


@pytest.fixture
def evaluator() -> Iterator[Evaluator]:
    evaluator = Evaluator()
    yield evaluator
    evaluator.close()


def asked(question: Question) -> NotAnswered:
    return NotAnswered(question, b"", question.wire())


def expression(text: str, **values: JsonValue) -> Expression:
    return Expression(text, named(text, values, "state"))


TENS: list[JsonValue] = ["a" * 10] * 10
PATTERNS: list[JsonValue] = ["(a|b)*c"] * 5000
MACRO = expression("state.l.map(x, x * 2)", l=[1, 2])
BOMBS: dict[str, Question] = {
    "memory": expression("state.l" + ".map(x, x + x)" * 25, l=TENS),
    "time": expression("state.l.map(x, state.s.matches(x))", l=PATTERNS, s="a" * 500_000),
    "copies": expression("state.s" + " + state.s" * 30, s="a" * 4_000_000),
    "backtracking": Fit({"pattern": "^(?=a)([a-z]+-?)+$"}, "a" * 41 + "!"),
}


@pytest.mark.parametrize("bomb", BOMBS)
def test_a_question_that_takes_too_much_is_told_so_and_the_next_is_answered(
    evaluator: Evaluator, bomb: str
) -> None:
    question = BOMBS[bomb]
    assert question.cost() is None
    said = evaluator.ask(asked(question))
    assert isinstance(said, Problem)
    assert said.code == ("schema.budget" if bomb == "backtracking" else "cel.budget")
    assert not said.retryable
    assert evaluator.ask(asked(MACRO)) == [2, 4]


def test_more_iterations_than_cel_allows_are_over_the_budget_too(evaluator: Evaluator) -> None:
    inner = "a + b + c + d > 0"
    for name in "dcba":
        inner = f"state.l.all({name}, {inner})"
    said = evaluator.ask(asked(expression(inner, l=list(range(1, 300)))))
    assert isinstance(said, Problem)
    assert said.code == "cel.budget"


def test_what_has_no_answer_says_why(evaluator: Evaluator) -> None:
    said = evaluator.ask(asked(expression("state.l.map(x, x.no)", l=[{}])))
    assert isinstance(said, Problem)
    assert (said.code, "no key 'no'" in said.message) == ("cel.failed", True)


def test_one_that_was_killed_is_replaced(evaluator: Evaluator) -> None:
    assert evaluator.ask(asked(MACRO)) == [2, 4]
    assert evaluator.pid is not None
    os.kill(evaluator.pid, signal.SIGKILL)
    assert evaluator.ask(asked(MACRO)) == [2, 4]


def test_one_that_died_while_nobody_asked_leaves_nothing_open(evaluator: Evaluator) -> None:
    assert evaluator.ask(asked(MACRO)) == [2, 4]
    assert evaluator.pid is not None
    os.kill(evaluator.pid, signal.SIGKILL)
    os.waitid(os.P_PID, evaluator.pid, os.WEXITED | os.WNOWAIT)
    assert evaluator.ask(asked(MACRO)) == [2, 4]
    gc.collect()  # a pipe that is left open warns, and a warning fails a test


def test_one_that_does_nothing_is_over_its_budget_and_the_next_question_is_answered(
    evaluator: Evaluator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(evaluation, "_LONGEST", 2.0)
    assert evaluator.ask(asked(MACRO)) == [2, 4]
    assert evaluator.pid is not None
    os.kill(evaluator.pid, signal.SIGSTOP)
    said = evaluator.ask(asked(MACRO))
    assert isinstance(said, Problem)
    assert "no work on one for 2 s" in said.message
    assert evaluator.ask(asked(MACRO)) == [2, 4]


def test_one_that_starts_slowly_because_the_machine_is_busy_is_waited_for(
    evaluator: Evaluator, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """What a machine is busy with must not become an answer, for what is decided on it is decided for good."""
    monkeypatch.setattr(evaluation, "_LONGEST", 2.0)
    busy = "import time\nend = time.process_time() + 4\nwhile time.process_time() < end: pass\n"
    (tmp_path / "sitecustomize.py").write_text(busy)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    assert evaluator.ask(asked(MACRO)) == [2, 4]


def test_it_knows_no_keys_of_anybody(evaluator: Evaluator, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ANTHROPIC_API_KEY", "sk-secret")
    evaluator.ask(asked(MACRO))
    with open(f"/proc/{evaluator.pid}/environ", "rb") as environment:  # noqa: PTH123  # not a file
        assert b"sk-secret" not in environment.read()


def test_threads_take_turns(evaluator: Evaluator) -> None:
    answers: list[JsonValue | Problem] = []
    threads = [
        threading.Thread(
            target=lambda n=n: answers.append(
                evaluator.ask(asked(expression("state.l.map(x, x)", l=[n])))
            )
        )
        for n in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(map(str, answers)) == sorted(str([n]) for n in range(8))


async def test_the_loop_goes_on_while_an_answer_is_waited_for() -> None:
    ticks = 0

    async def tick() -> None:
        nonlocal ticks
        while True:
            await asyncio.sleep(0)
            ticks += 1

    ticking = asyncio.create_task(tick())
    with pytest.raises(InvalidInput) as refused:
        await settle(lambda evaluate: evaluate(BOMBS["time"]))
    ticking.cancel()
    assert refused.value.problem.code == "cel.budget"
    assert ticks > 100


async def test_a_decision_is_made_anew_with_each_answer() -> None:
    tried: list[int] = []

    def decide(evaluate: Evaluate) -> list[JsonValue]:
        tried.append(len(tried))
        return [evaluate(expression("state.l.map(x, x)", l=[n])) for n in (1, 2, 1)]

    assert await settle(decide) == [[1], [2], [1]]
    assert tried == [0, 1, 2]


def test_what_is_not_cheap_can_be_waited_for() -> None:
    assert evaluate(MACRO) == [2, 4]
    with pytest.raises(InvalidInput):
        evaluate(expression("state.l.map(x, x.no)", l=[{}]))
