"""Keywords: words and signs in a task's text that say what kind of work it asks for, in eight languages.

A cue is a word (`prove`), a phrase (`root cause`) or, in scripts written without spaces, a piece of text (`证明`).
The table only names what makes work harder: a cue that lowered a score could be added to any task to cheapen it.
"""

from __future__ import annotations

import tomllib
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from types import MappingProxyType
from typing import Literal, cast, get_args

__all__ = ["CUES", "PHRASES", "PIECES", "WORDS", "CueKind", "fold_text"]

CueKind = Literal[
    "code", "math", "reasoning", "design", "actions", "steps", "constraints", "languages", "domain"
]

CUES: Mapping[CueKind, str] = MappingProxyType(
    cast(
        "dict[CueKind, str]",
        tomllib.loads(
            files("partsong.models.routing").joinpath("keywords.toml").read_text("utf-8")
        ),
    )
)
"""The cues as people maintain them, in `keywords.toml`."""


@dataclass(frozen=True, slots=True)
class _Cue:
    text: str
    kinds: tuple[CueKind, ...]


def fold_text(text: str) -> str:
    """How text and cues are compared: composed and without case."""
    return text.casefold() if text.isascii() else unicodedata.normalize("NFC", text).casefold()


def _bare(text: str) -> str:
    """The text without accents, as many people type it."""
    parts = unicodedata.normalize("NFD", text)
    return unicodedata.normalize("NFC", "".join(c for c in parts if not unicodedata.combining(c)))


def _spaced(text: str) -> bool:
    return not any("\u3040" <= c <= "\u30ff" or "\u4e00" <= c <= "\u9fff" for c in text)


def _table() -> dict[str, tuple[CueKind, ...]]:
    found: dict[str, tuple[CueKind, ...]] = {}
    for kind in get_args(CueKind):
        for cue in dict.fromkeys(fold_text(part.strip()) for part in CUES[kind].split(",")):
            for form in {cue, _bare(cue)} if _spaced(cue) else {cue}:
                found[form] = (*(k for k in found.get(form, ()) if k != kind), kind)
    return found


def _phrases(table: Mapping[str, tuple[CueKind, ...]]) -> dict[str, tuple[_Cue, ...]]:
    found: dict[str, tuple[_Cue, ...]] = {}
    for cue, kinds in table.items():
        if " " in cue:
            head = cue.split(" ", 1)[0]
            found[head] = (*found.get(head, ()), _Cue(f" {cue} ", kinds))
    return found


_TABLE = _table()

WORDS: Mapping[str, tuple[CueKind, ...]] = MappingProxyType(
    {cue: kinds for cue, kinds in _TABLE.items() if " " not in cue and _spaced(cue)}
)
"""Single words."""
PHRASES: Mapping[str, tuple[_Cue, ...]] = MappingProxyType(_phrases(_TABLE))
"""Phrases by their first word, each between two spaces."""
PIECES: tuple[_Cue, ...] = tuple(
    _Cue(cue, kinds) for cue, kinds in _TABLE.items() if not _spaced(cue)
)
"""Cues of scripts without spaces, looked for anywhere."""
