"""Templates: text and values with `{{path.to.key}}` for what stands in a run's state."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping

from pydantic import JsonValue

from partsong.contracts.errors import InvalidInput, Problem

__all__ = ["LONGEST_TEXT", "look_up", "render", "render_value", "stray_hole"]

_PLACE = re.compile("[0-9]{1,9}")
_QUOTED = r"""'[^'\n]*'|"[^"\n]*\""""
_FILLED = re.compile(
    rf"\{{\{{\s*(?:(?P<path>[A-Za-z_][\w\-]*(?:\.[\w\-]+)*)|(?P<quoted>{_QUOTED}))\s*\}}\}}"
)
"""A place for a value, or text in quotes that stands for itself: `{{ '{{' }}`."""
_HOLE = re.compile(r"\{\{\s*([A-Za-z_][\w\-]*(?:\.[\w\-]+)*)\s*\}\}")


LONGEST_TEXT = 4 * 1024 * 1024
"""Characters that a template may grow to."""


def render(template: str, state: Mapping[str, JsonValue]) -> str:
    """The template with each `{{path.to.key}}` taken from the state; text as it is, other values as JSON.

    Text in quotes stands for itself, so that braces can be written: `{{ '{{' }}` is `{{`. What is put in is not looked
    through again.

    Raises:
        InvalidInput: `template.unknown_key` if the state has no such key; `template.too_large`.
    """
    left = LONGEST_TEXT

    def fill(hole: re.Match[str]) -> str:
        nonlocal left
        if hole["quoted"] is not None:
            return hole["quoted"][1:-1]
        text = _text(look_up(hole[1], state))
        left -= len(text)
        if left < 0:
            raise InvalidInput(
                "template.too_large",
                f"with {hole[0]} the text has more than {LONGEST_TEXT:,} characters",
                where=hole[1],
                fix="name the parts that are needed, or hand over where the rest lies",
            )
        return text

    return _FILLED.sub(fill, template)


def render_value(value: JsonValue, state: Mapping[str, JsonValue]) -> JsonValue:
    """`render` for all text in a JSON value; text that is only one `{{path}}` becomes the value itself."""
    if isinstance(value, str):
        whole = _HOLE.fullmatch(value.strip())
        return look_up(whole[1], state) if whole else render(value, state)
    if isinstance(value, list):
        return [render_value(element, state) for element in value]
    if isinstance(value, dict):
        return {key: render_value(element, state) for key, element in value.items()}
    return value


def stray_hole(text: str, where: str, code: str) -> Problem | None:
    """Why a text may not stand where nothing is filled in; None if it has no `{{path}}`."""
    found = _HOLE.search(text)
    if found is None:
        return None
    return Problem(
        code=code,
        message=f"{where} names the variable {found[0]}, and there are none here: nothing is filled into it",
        where=where,
        fix="name it in the node's prompt, which is filled from the state (there are: the keys of the state), "
        "or take the braces out",
    )


def look_up(path: str, state: Mapping[str, JsonValue]) -> JsonValue:
    """The value at `path.to.key`.

    Raises:
        InvalidInput: `template.unknown_key`.
    """
    value: object = state
    for part in path.split("."):
        if isinstance(value, Mapping) and part in value:
            value = value[part]
        elif isinstance(value, list) and _PLACE.fullmatch(part) and int(part) < len(value):
            value = value[int(part)]
        else:
            raise InvalidInput(
                "template.unknown_key",
                f"{{{{{path}}}}}: the state has no {part!r} (keys: {', '.join(map(str, state)) or 'none'})",
                where=path,
                fix="write the key in a node that comes before, or give it as input",
            )
    return value  # type: ignore[return-value]  # a JSON object holds JSON values


def _text(value: JsonValue) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
