"""Errors travel: whatever text of somebody's they quote, they can be written and read."""

from __future__ import annotations

from partsong.contracts.errors import InvalidInput, Problem


def test_an_error_that_quotes_half_a_character_can_be_sent() -> None:
    problem = InvalidInput("a.b", "got '\ud800'", where="x.\udfff", fix="take \ud800 out").problem
    again = Problem.model_validate_json(problem.model_dump_json())
    assert again == problem
    assert (again.message, again.where, again.fix) == ("got '?'", "x.?", "take ? out")


def test_an_error_in_any_language_is_left_as_it_is() -> None:
    assert Problem(code="a.b", message="zu groß: 🧨").message == "zu groß: 🧨"
