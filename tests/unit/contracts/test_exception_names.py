"""Names of exceptions: which errors they mean, and which can mean none."""

from __future__ import annotations

import asyncio

import pytest

from partsong.contracts.errors import Problem
from partsong.contracts.exception_names import class_name, means, misspelt

RAISED = Problem(
    code="function.raised",
    message="",
    raised=("requests.exceptions.Timeout", "ConnectionError", "OSError", "Exception"),
)


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("ConnectionError", True),
        ("OSError", True),
        ("builtins.OSError", True),
        ("Timeout", True),
        ("requests.exceptions.Timeout", True),
        ("requests.Timeout", True),
        ("httpx.Timeout", False),
        ("ValueError", False),
        ("Connection", False),
        ("function.raised", True),
        ("function.", True),
        ("function.timeout", False),
        ("function.raised.ConnectionError", True),
        ("tool.raised.ConnectionError", False),
    ],
)
def test_a_name_means_a_class_a_base_or_a_code(name: str, *, meant: bool) -> None:
    assert misspelt(name) is None
    assert means(name, RAISED) is meant


def test_an_error_without_classes_is_known_by_its_code() -> None:
    assert means("order", Problem(code="order.busy", message=""))
    assert not means("OSError", Problem(code="order.busy", message=""))


@pytest.mark.parametrize("name", ["", " ", "a b", ".x", "a..b", "x" * 500, "Connection Error"])
def test_what_names_no_error_is_found(name: str) -> None:
    assert misspelt(name) is not None


def test_an_exception_in_wrong_letters_is_named_rightly() -> None:
    assert misspelt("connectionerror") == "the exception is called ConnectionError"


def test_a_local_class_has_a_name_that_can_be_written() -> None:
    class Mine(Exception):
        pass

    assert misspelt(class_name(Mine)) is None
    assert class_name(asyncio.QueueFull) == "asyncio.queues.QueueFull"
    assert class_name(OSError) == "OSError"
