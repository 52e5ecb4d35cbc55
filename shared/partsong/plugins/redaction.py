"""`PiiRedaction`: models never see mail addresses, phone and card numbers, IBANs and keys, and tools' results hide them.

It knows forms, not people: a name in a sentence stays, and so do numbers that are not written as text. What it finds is replaced by what it was, so that a model can
still talk about it.
"""

from __future__ import annotations

import re
from typing import ClassVar

from pydantic import JsonValue

from partsong.contracts.talk.hooks import Replace
from partsong.plugins.plugin import Hook, Plugin, PluginKind

__all__ = ["PiiRedaction", "redacted"]

_KEY = re.compile(r"\b(?:sk|pk|rk|ghp|gho|xox[bp]|AKIA)[-_A-Za-z0-9]{16,}\b")
_MAIL = re.compile(r"(?<![\w.+-])[\w.+-]+@[\w-]+(?:\.[\w-]+)+\b")
"""It begins only where such signs begin: otherwise a million dots and letters were gone through from each of them."""
_IBAN = re.compile(r"\b[A-Z]{2}\d{2}(?: ?[A-Z0-9]{4}){2,7}(?: ?[A-Z0-9]{1,3})?\b")
_CARD = re.compile(
    r"(?<![\d.])(?:\d{4}[ -]?\d{4}[ -]?\d{4}[ -]?\d{1,7}|\d{4}[ -]?\d{6}[ -]?\d{5})(?![\d])"
)
_PHONE = re.compile(
    r"(?<![\w.-])(?:(?:\+|00)\d(?:[ ()/.-]?\d){6,14}|\(\d{2,5}\)[ -]?\d(?:[ /-]?\d){4,9}"
    r"|0\d{2,4}[ /-]\d(?:[ -]?\d){4,9}|\d{3}[ .-]\d{3}[ .-]\d{4})(?![\w-])"
)


class PiiRedaction(Plugin):
    """Put it before everything else that reads messages; without it nobody is asked."""

    kind: ClassVar[PluginKind] = "guard"
    order: ClassVar[int] = -100

    def before_agent_call(self, hook: Hook) -> Replace | None:
        """Messages as a model may see them."""
        return _changed(hook.data.get("messages"))

    def after_tool_call(self, hook: Hook) -> Replace | None:
        """A result as the log and the model may keep it."""
        return _changed(hook.data.get("result"))


def _changed(value: JsonValue) -> Replace | None:
    clean = redacted(value)
    return None if clean == value else Replace(value=clean)


def redacted(value: JsonValue) -> JsonValue:
    """A JSON value with what looks private taken out of all its texts."""
    if isinstance(value, str):
        return _text(value)
    if isinstance(value, list):
        return [redacted(one) for one in value]
    if isinstance(value, dict):
        return {key: redacted(one) for key, one in value.items()}
    return value


def _text(text: str) -> str:
    text = _KEY.sub("[key]", text)
    text = _MAIL.sub("[email]", text)
    text = _IBAN.sub(lambda found: "[iban]" if _is_iban(found[0]) else found[0], text)
    text = _CARD.sub(lambda found: "[card]" if _luhn(found[0]) else found[0], text)
    return _PHONE.sub("[phone]", text)


def _is_iban(text: str) -> bool:
    """By the check digits of ISO 13616."""
    plain = text.replace(" ", "")
    moved = plain[4:] + plain[:4]
    return int("".join(str(int(sign, 36)) for sign in moved)) % 97 == 1


def _luhn(text: str) -> bool:
    """The check sum of card numbers, of 13 to 19 digits."""
    digits = re.sub(r"\D", "", text)
    if not 13 <= len(digits) <= 19:
        return False
    doubled = [int(digit) * (1 + place % 2) for place, digit in enumerate(reversed(digits))]
    return sum(number - 9 if number > 9 else number for number in doubled) % 10 == 0
