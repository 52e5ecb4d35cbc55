"""Effort: how much a model should think, in the words that its vendor has for that model.

The vendors refuse a word that a model does not know, and any word for a model that cannot think: an effort that a
router chose must not fail a turn for that. So it is told only where it is understood, and rounded to the nearest word.

A vendor's own model with a name nobody knows is taken for a current one. A model behind a compatible server is told
only if its name says that it thinks; who knows better passes the server's own field in `extra`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeAlias

from partsong.contracts.graph import Effort

__all__ = ["Budget", "Level", "Thinking", "of_claude", "of_compatible", "of_gemini", "of_openai"]


@dataclass(frozen=True, slots=True)
class Level:
    """A word for it."""

    name: str


@dataclass(frozen=True, slots=True)
class Budget:
    """Tokens that thinking may take of the turn's."""

    tokens: int


Thinking: TypeAlias = Level | Budget | None
"""How a model is told; None leaves it alone."""

_Words = Mapping[Effort, str]

_SHARE: Mapping[Effort, float] = {
    "minimal": 0.1,
    "low": 0.2,
    "medium": 0.5,
    "high": 0.8,
    "max": 0.9,
}
"""Of the turn's tokens: what is left is for the answer, because both come out of one limit."""

_CLAUDE_CANNOT = re.compile(r"claude-(?:instant|v?[12]\b|3-(?!7))")
_CLAUDE_BUDGET = re.compile(r"claude-(?:3-7|(?:opus|sonnet|haiku)-4(?:-[015])?(?![-.]?\d\b))")
_CLAUDE_LEAST = 1024
"""Tokens; a smaller budget is refused."""
_CLAUDE: _Words = {"minimal": "low", "low": "low", "medium": "medium", "high": "high", "max": "max"}

_GEMINI_CANNOT = re.compile(r"gemini-(?:pro(?!-latest)|1|2\.0)|gemma|learnlm|.*-(?:image|tts|live)")
_GEMINI_BUDGET = re.compile(r"gemini-2\.5")
_GEMINI_RANGE = (512, 24_576)
"""Tokens that each 2.5 model takes, Pro, Flash and Lite."""
_GEMINI: tuple[tuple[re.Pattern[str], _Words], ...] = (
    (
        re.compile(r"gemini-3-pro"),
        {"minimal": "LOW", "low": "LOW", "medium": "HIGH", "high": "HIGH", "max": "HIGH"},
    ),
    (
        re.compile(r"gemini-(?:3\.\d+-)?pro"),
        {"minimal": "LOW", "low": "LOW", "medium": "MEDIUM", "high": "HIGH", "max": "HIGH"},
    ),
    (
        re.compile(r"gemini-(?:3|flash)"),
        {"minimal": "MINIMAL", "low": "LOW", "medium": "MEDIUM", "high": "HIGH", "max": "HIGH"},
    ),
    (
        re.compile(r""),
        {"minimal": "MINIMAL", "low": "LOW", "medium": "MEDIUM", "high": "HIGH", "max": "XHIGH"},
    ),
)

_OPENAI_CANNOT = re.compile(
    r"gpt-[34]|chatgpt|davinci|babbage|gpt-audio|gpt-realtime|o1-(?:mini|preview)|.*-(?:chat|audio|search)\b"
)
_LOW_TO_HIGH: _Words = {
    "minimal": "low",
    "low": "low",
    "medium": "medium",
    "high": "high",
    "max": "high",
}
_OPENAI: tuple[tuple[re.Pattern[str], _Words], ...] = (
    (re.compile(r"gpt-5-pro"), dict.fromkeys(_LOW_TO_HIGH, "high")),
    (re.compile(r"o\d|codex|gpt-5-codex|gpt-5\.1|gpt-oss"), _LOW_TO_HIGH),
    (re.compile(r"gpt-5\."), {**_LOW_TO_HIGH, "max": "xhigh"}),
    (re.compile(r"gpt-5"), {**_LOW_TO_HIGH, "minimal": "minimal"}),
    (re.compile(r""), {**_LOW_TO_HIGH, "minimal": "minimal", "max": "max"}),
)

_THINKS = re.compile(
    r"gpt-oss|.*(?:thinking|reason)|qwq|qwen-?3|deepseek-(?:r|v3\.|v[4-9])|magistral|glm-[4-9]|kimi-k|minimax-m"
)
"""Open models that think, under the names that Ollama and Hugging Face give them."""


def of_claude(model: str, effort: Effort | None, max_tokens: int) -> Thinking:
    """Anthropic: an effort for models that think as they see fit, a budget for those before, nothing for older ones."""
    name = _bare(model)
    if effort is None or _CLAUDE_CANNOT.match(name):
        return None
    if not _CLAUDE_BUDGET.match(name):
        return Level(_CLAUDE[effort])
    tokens = max(_CLAUDE_LEAST, int(max_tokens * _SHARE[effort]))
    return Budget(tokens) if tokens < max_tokens else None


def of_gemini(model: str, effort: Effort | None, max_tokens: int) -> Thinking:
    """Google: a level since Gemini 3, a budget before."""
    name = _bare(model)
    if effort is None or _GEMINI_CANNOT.match(name):
        return None
    if _GEMINI_BUDGET.match(name):
        least, most = _GEMINI_RANGE
        return Budget(min(most, max(least, int(max_tokens * _SHARE[effort]))))
    return Level(_words(_GEMINI, name)[effort])


def of_openai(model: str, effort: Effort | None) -> Level | None:
    """OpenAI's own models, in both of its APIs."""
    name = _bare(model)
    if effort is None or _OPENAI_CANNOT.match(name):
        return None
    return Level(_words(_OPENAI, name)[effort])


def of_compatible(model: str, effort: Effort | None) -> Level | None:
    """Any model behind a server that speaks Chat Completions."""
    name = _bare(model)
    if effort is None:
        return None
    if re.match(r"gpt-|o\d|chatgpt", name) and not name.startswith("gpt-oss"):
        return of_openai(model, effort)
    return Level(_LOW_TO_HIGH[effort]) if _THINKS.match(name) else None


def _bare(model: str) -> str:
    """The name without what routers and fine-tuning put before it."""
    return model.lower().removeprefix("ft:").rpartition("/")[2]


def _words(table: tuple[tuple[re.Pattern[str], _Words], ...], name: str) -> _Words:
    return next(words for pattern, words in table if pattern.match(name))
