"""Templates: braces that are meant as such, and values that hold some."""

from __future__ import annotations

import pytest

from partsong.contracts.graph.templates import render, render_value


@pytest.mark.parametrize(
    ("template", "text"),
    [
        ("{{ '{{' }}", "{{"),
        ("{{'{{name}}'}} is {{name}}", "{{name}} is Ada"),
        ('{{ "it\'s {{" }}', "it's {{"),
        ("{{ '' }}", ""),
        ("{{{{name}}}}", "{{Ada}}"),
        ("{{ 2 + 2 }} {{ 'open", "{{ 2 + 2 }} {{ 'open"),
    ],
)
def test_text_in_quotes_stands_for_itself(template: str, text: str) -> None:
    assert render(template, {"name": "Ada"}) == text
    assert render_value([template], {"name": "Ada"}) == [text]


def test_what_is_put_in_is_never_looked_through_again() -> None:
    state = {"name": "{{secret}}", "secret": "s"}
    assert render("{{name}} {{ '{{secret}}' }}", state) == "{{secret}} {{secret}}"
    assert render_value("{{name}}", state) == "{{secret}}"
