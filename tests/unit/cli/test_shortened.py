"""A large value is shortened so that a person sees all of its shape, and is told what was left out."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st

from partsong.cli.shortened import shortened

MOST = 400
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=900),
    lambda inner: st.lists(inner, max_size=40) | st.dictionaries(st.text(), inner, max_size=40),
    max_leaves=60,
)


def text(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)


@given(VALUES)
def test_what_fits_stays_as_it_is_and_what_does_not_gets_short(value: object) -> None:
    short = shortened(value, MOST)
    if len(text(value)) <= MOST:
        assert short == value
    else:
        assert len(text(short)) <= 4 * MOST  # a character may be six in JSON


def test_small_parts_are_seen_beside_a_large_one() -> None:
    short = shortened({"kind": "refund", "text": "x" * 200_000}, MOST)
    assert short == {"kind": "refund", "text": f"{'x' * 200}… (200,000 characters)"}


def test_of_many_parts_the_first_are_shown_and_the_others_counted() -> None:
    short = shortened({"items": [{"n": n} for n in range(10_000)]}, MOST)
    assert short == {"items": [*({"n": n} for n in range(6)), "… 9,994 more"]}
    keys = shortened({f"key{n}": n for n in range(1_000)}, MOST)
    assert keys == {**{f"key{n}": n for n in range(6)}, "…": "994 more"}


def test_what_is_nested_without_end_becomes_a_text() -> None:
    deep: object = "x" * 1_000
    for _ in range(300):
        deep = [deep]
    short = text(shortened(deep, MOST))
    assert "[[[[" in short
    assert "characters)" in short
    assert len(short) < 2 * MOST
