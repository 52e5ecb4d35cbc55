"""Docstrings in the three manners that people write them in."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from partsong.tools import tool
from partsong.tools.docstring import described


def google(city: str, days: int = 1, *rest: str) -> str:
    """Tell the weather.

    For as long as anybody can know it.

    Args:
        city (str): Where, in English
            or in the language of the place.
        days: How many: at most 10.
        *rest: What else.

    Returns:
        city: not a parameter.
    """
    return city


def numpy(city: str, days: int = 1, *rest: str) -> str:
    """Tell the weather.

    For as long as anybody can know it.

    Parameters
    ----------
    city : str
        Where, in English
        or in the language of the place.
    days : int, optional
        How many: at most 10.
    *rest
        What else.

    Returns
    -------
    city : str
        Not a parameter.
    """
    return city


def sphinx(city: str, days: int = 1, *rest: str) -> str:
    """Tell the weather.

    For as long as anybody can know it.

    :param city: Where, in English
        or in the language of the place.
    :type city: str
    :param int days: How many: at most 10.
    :param *rest: What else.
    :returns: city, not a parameter.
    :raises ValueError: if there is none.
    """
    return city


@pytest.mark.parametrize("function", [google, numpy, sphinx])
def test_each_manner_describes_the_function_and_its_parameters(
    function: Callable[..., str],
) -> None:
    assert described(function) == (
        "Tell the weather.\n\nFor as long as anybody can know it.",
        {
            "city": "Where, in English or in the language of the place.",
            "days": "How many: at most 10.",
            "rest": "What else.",
        },
    )


def plain(city: str) -> str:
    """Tell the weather. Parameters: none that matter.

    Note that :ref:`this` is no field, and
    Parameters
    is no section.
    """
    return city


def test_what_only_looks_like_a_section_is_text() -> None:
    summary, found = described(plain)
    assert summary.endswith("is no section.")
    assert found == {}


def shared(x: float, y: float) -> float:
    """Add.

    Parameters
    ----------
    x, y : float
        What is added.
    """
    return x + y


def test_parameters_may_share_a_description_which_models_see() -> None:
    properties = tool(shared).parameters.schema["properties"]
    assert properties == {
        "x": {"type": "number", "description": "What is added."},
        "y": {"type": "number", "description": "What is added."},
    }


def test_without_a_docstring_there_is_nothing() -> None:
    assert described(lambda: None) == ("", {})
