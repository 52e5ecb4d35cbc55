"""Features: what can be counted in a task, in what comes with it and in how its run has gone so far.

Every feature is a number from 0 to 1 that grows with a count and never falls when text is added: cues are looked for
in the set of the text's words, lines and signs are counted. So with weights that are not negative a score cannot fall
either, whatever "also do X, then Y" says.

Only the first `READ` characters are read, the rest counts by its length. So the promise holds for what is added behind
a text, after a space or a new line, and for what is put before it as long as both are read.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from pydantic import JsonValue

from partsong.models.routing.keywords import PHRASES, PIECES, WORDS, CueKind, fold_text

__all__ = ["READ", "RUN_FEATURES", "TASK_FEATURES", "Context", "Reading", "RunSignals", "Task"]

READ = 4_000
"""Characters of the text that are searched for cues, which bounds the time that a score takes."""

_WORD = re.compile(r"\w+")
_UNSPACED = re.compile(r"[\u3040-\u30ff\u4e00-\u9fff]+")
_ITEM = re.compile(r"^[ \t]*(?:\d{1,2}[.)]|[-*•])[ \t]", re.MULTILINE)
_STOPS = ",;:.?!\uff0c\uff1b\uff1a\u3002\uff1f\uff01\u3001"
_DIGIT = re.compile(r"\d")
_FENCE = "```"
_CODE_SIGNS = ("()", "=>", "->", "==", "!=", "};", "</", "::", "&&", "||", "select *", "self.")
_MATH_SIGNS = "∑∫√≤≥≠∀∃∈→∞πθλ^±\u00d7÷"

_HALF: Mapping[CueKind, float] = {
    "code": 3.0,
    "math": 2.0,
    "reasoning": 1.5,
    "design": 2.0,
    "actions": 3.0,
    "steps": 4.0,
    "constraints": 3.0,
    "languages": 2.0,
    "domain": 2.0,
}
"""How many cues of a kind make its feature 0.5."""

TASK_FEATURES = (
    "length",
    "code",
    "math",
    "reasoning",
    "design",
    "actions",
    "steps",
    "constraints",
    "languages",
    "domain",
    "clauses",
    "numbers",
    "attachments",
    "tools",
    "schema",
    "context",
)
"""What is known before a run begins; their weights are fitted."""

RUN_FEATURES = (
    "retries",
    "tool_errors",
    "stall",
    "rejections",
    "handoffs",
    "depth",
    "overrun",
)
"""What a run has shown so far; their weights are set."""


@dataclass(frozen=True, slots=True)
class Task:
    """What is asked for."""

    text: str
    attachments: tuple[str, ...] = ()
    """Media types or names of what comes along."""
    tools: tuple[str, ...] = ()
    """Names of the tools that are needed or offered."""
    output_schema: Mapping[str, JsonValue] | None = None
    """JSON Schema of the answer."""


@dataclass(frozen=True, slots=True)
class RunSignals:
    """How a run has gone up to the turn that is scored; all zero before the first turn."""

    retries: int = 0
    """Attempts that failed and were made again."""
    tool_calls: int = 0
    tool_errors: int = 0
    """Tool calls among them that failed."""
    repeats: int = 0
    """How often the last call has been made before, with the same arguments, in an unbroken row: a stall."""
    rejections: int = 0
    """Answers that a schema, a validator or a reviewer turned down."""
    handoffs: int = 0
    depth: int = 0
    """Agents above this one."""
    tokens_used: int = 0
    tokens_estimated: int = 0
    """What the task was expected to take; 0 if nobody said."""


@dataclass(frozen=True, slots=True)
class Context:
    """What surrounds a task."""

    tokens: int = 0
    """Size of the conversation and of what was retrieved."""
    run: RunSignals = field(default_factory=RunSignals)


@dataclass(frozen=True, slots=True)
class Reading:
    """The features of a task, and what they were read from."""

    values: Mapping[str, float]
    """By name: `TASK_FEATURES`, then `RUN_FEATURES`."""
    evidence: Mapping[str, tuple[str, ...]]
    """Cues that were found, by feature, in the order of the alphabet."""

    @classmethod
    def of(cls, task: Task, context: Context) -> Reading:
        """Read a task where it stands."""
        cues = _cues(task.text[:READ])
        return cls(
            {
                **_from_text(task.text, cues),
                **_from_extras(task, context),
                **_from_run(context.run),
            },
            {kind: tuple(sorted(found)) for kind, found in cues.items() if found},
        )


def _cues(text: str) -> dict[CueKind, set[str]]:
    folded = fold_text(text)
    words = _WORD.findall(folded)
    distinct = set(words)
    found: dict[CueKind, set[str]] = {kind: set() for kind in _HALF}
    for word in distinct & WORDS.keys():
        for kind in WORDS[word]:
            found[kind].add(word)
    joined = f" {' '.join(words)} "
    for head in distinct & PHRASES.keys():
        for phrase in PHRASES[head]:
            if phrase.text in joined:
                for kind in phrase.kinds:
                    found[kind].add(phrase.text.strip())
    if not folded.isascii():
        for piece in PIECES:
            if piece.text in folded:
                for kind in piece.kinds:
                    found[kind].add(piece.text)
    found["code"].update(sign for sign in _CODE_SIGNS if sign in folded)
    found["math"].update(sign for sign in _MATH_SIGNS if sign in folded)
    return found


def _from_text(text: str, cues: Mapping[CueKind, set[str]]) -> dict[str, float]:
    head = text[:READ]
    items = len(_ITEM.findall(head))
    values: dict[str, float] = {
        "length": _logarithm(_words(head) + (len(text) - len(head)) / 6, 1_000)
    }
    for kind, found in cues.items():
        more = {"steps": items, "code": 2 * (head.count(_FENCE) // 2)}.get(kind, 0)
        values[kind] = _share(len(found) + more, _HALF[kind])
    # Almost every text ends with one.
    values["clauses"] = _share(max(0, sum(map(head.count, _STOPS)) - 1), 12.0)
    values["numbers"] = _share(sum(1 for w in set(head.split()) if _DIGIT.search(w)), 5.0)
    return values


def _words(text: str) -> float:
    """Words; two signs of a script without spaces count as one."""
    if text.isascii():
        return len(text.split())
    return len(text.split()) + sum(map(len, _UNSPACED.findall(text))) / 2


def _from_extras(task: Task, context: Context) -> dict[str, float]:
    return {
        "attachments": _share(len(task.attachments), 2.0),
        "tools": _share(len(set(task.tools)), 3.0),
        "schema": _share(_schema_depth(task.output_schema or {}), 3.0),
        "context": _logarithm(max(0, context.tokens), 200_000),
    }


def _from_run(run: RunSignals) -> dict[str, float]:
    over = run.tokens_used / run.tokens_estimated - 1 if run.tokens_estimated > 0 else 0.0
    return {
        "retries": _share(run.retries, 2.0),
        "tool_errors": min(1.0, run.tool_errors / max(run.tool_calls, 3)),
        "stall": _share(run.repeats, 1.0),
        "rejections": _share(run.rejections, 1.0),
        "handoffs": _share(run.handoffs, 4.0),
        "depth": _share(run.depth, 4.0),
        "overrun": _share(max(0.0, over), 1.0),
    }


def _schema_depth(schema: object, limit: int = 8) -> int:
    """How deep a schema nests; references count as one level."""
    if limit == 0:
        return 0
    if isinstance(schema, list):
        return max((_schema_depth(item, limit) for item in schema), default=0)
    if not isinstance(schema, Mapping):
        return 0
    nested = [
        _schema_depth(list(properties.values()), limit - 1)
        for key in ("properties", "$defs")
        if isinstance(properties := schema.get(key), Mapping)
    ]
    nested += [
        _schema_depth(schema[key], limit - 1)
        for key in ("items", "anyOf", "oneOf", "allOf")
        if key in schema
    ]
    return (1 if schema else 0) + max(nested, default=0)


def _share(count: float, half: float) -> float:
    """0 for none, 0.5 for `half`, towards 1 for ever more."""
    count = max(0.0, count)
    return count / (count + half)


def _logarithm(count: float, full: float) -> float:
    return min(1.0, math.log1p(count) / math.log1p(full))
