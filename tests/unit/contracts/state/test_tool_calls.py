"""What a person agrees to that puts other arguments in the place of a tool call's own."""

from __future__ import annotations

import pytest
from pydantic import JsonValue

from partsong.contracts import events as e
from partsong.contracts.state.tool_calls import (
    agrees,
    digest_of,
    edit_key,
    edit_of,
    edited,
    with_edit,
)

ARGS: dict[str, JsonValue] = {"amount": 500, "pin": "1234"}
ABOUT = e.Unapproved(
    args={"amount": 500, "pin": "[redacted]"},
    digest=digest_of(ARGS),
    edit_schema={"type": "object"},
    hidden={"pin": digest_of("1234")},
)


def test_what_stands_as_it_was_shown_is_what_it_was() -> None:
    edit = edit_of(ABOUT, {"amount": 5, "pin": "[redacted]"})
    assert edit == e.ArgumentsEdit(args={"amount": 5, "pin": "[redacted]"}, kept=("pin",))
    assert edited(ARGS, edit) == {"amount": 5, "pin": "1234"}


def test_without_an_edit_nothing_changes() -> None:
    assert edit_of(ABOUT, None) is None
    assert edited(ARGS, None) == ARGS
    assert with_edit(None, "paid") == "paid"


@pytest.mark.parametrize(
    ("answer", "args", "good"),
    [
        (None, ARGS, True),
        (None, {**ARGS, "amount": 501}, False),
        ({"amount": 5, "pin": "[redacted]"}, {"amount": 5, "pin": "1234"}, True),
        ({"amount": 5, "pin": "[redacted]"}, {"amount": 5, "pin": "9999"}, False),
        ({"amount": 5, "pin": "[redacted]"}, {"amount": 500, "pin": "1234"}, False),
        ({"amount": 5, "pin": "9999"}, {"amount": 5, "pin": "9999"}, True),
        ({"amount": 5}, {"amount": 5, "pin": "1234"}, False),
        ({"amount": 5}, {"amount": 5}, True),
        ("all", {"arguments": "all"}, True),
        ({"amount": 5}, "all", False),
    ],
)
def test_a_person_agrees_to_these_arguments_and_to_no_others(
    answer: JsonValue, args: JsonValue, good: bool
) -> None:
    assert agrees(ABOUT, answer, args) is good


def test_other_arguments_are_given_under_a_name_that_no_argument_has() -> None:
    assert edit_key(ABOUT) == "arguments"
    taken = ABOUT.model_copy(update={"args": {"arguments": 1, "arguments_": 2}})
    assert edit_key(taken) == "arguments__"


def test_in_doubt_and_in_older_logs_nobody_may_give_others() -> None:
    assert edit_key(ABOUT.model_copy(update={"doubt": "it was lost"})) is None
    assert edit_key(e.Unapproved(args={}, digest="")) is None
