"""What to do about a damaged log, in words that fit the command which says it."""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence

from partsong.contracts.wire.damage import AT_REST

__all__ = ["carried", "verified"]

_COMMAND = re.compile(r"`partsong log (?:verify|restore|adopt)(?: --new)?")
_VERIFY = re.compile(r"run `partsong log verify[^`]*`(?:, then |; )(`?)")


def carried(fix: str, given: Sequence[str]) -> str:
    """The same advice with the options that the reader has given: without them its commands are about another log.

    What is said about `--offline` is left out for who has given it.
    """
    if "--offline" in given:
        fix = fix.replace(f". {AT_REST}", "")
    words = "".join(f" {shlex.quote(word)}" for word in given)
    return _COMMAND.sub(lambda found: f"{found[0]}{words}", fix)


def verified(says: str) -> str:
    """The same advice without its first step, for who has just done it."""
    return _VERIFY.sub(lambda found: "run `" if found[1] else "", says)
