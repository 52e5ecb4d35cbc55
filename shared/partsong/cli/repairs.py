"""What to do about a damaged log, in words that fit the command which says it."""

from __future__ import annotations

import re

__all__ = ["offline", "verified"]

_COMMAND = re.compile(r"`partsong log (?:verify|restore|adopt)(?: --new)?")
_VERIFY = re.compile(r"run `partsong log verify`(?:, then |; )(`?)")


def offline(fix: str) -> str:
    """The same advice where the server is the embedded one of a platform that is not up: each command runs it itself."""
    return _COMMAND.sub(r"\g<0> --offline", fix)


def verified(says: str) -> str:
    """The same advice without its first step, for who has just done it."""
    return _VERIFY.sub(lambda found: "run `" if found[1] else "", says)
