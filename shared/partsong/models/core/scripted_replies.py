"""Personas: what the scripted provider says. Made from the prompt by plain rules, so it is the same every time.

It is no model and does not pretend to be one: it extracts, lists and repeats, so that graphs can be built, shown and
tested with no key, no network and no surprise.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

from pydantic import JsonValue

from partsong.contracts.errors import InvalidInput
from partsong.contracts.graph.nodes import ANSWER
from partsong.contracts.talk.messages import ToolCallPart, ToolMessage, ToolSpec, UserMessage
from partsong.models.core.schema import sample
from partsong.models.port import TurnRequest

__all__ = ["PERSONAS", "ScriptedTurn", "perform"]


@dataclass(frozen=True, slots=True)
class ScriptedTurn:
    """One turn to play: some text, then some calls."""

    text: str = ""
    calls: tuple[ToolCallPart, ...] = ()
    reasoning: str = ""


_COMMON_WORDS = (
    "a about after all also an and are as at be been but by can for from had has have if in into is it its more no "
    "not of on or our out so such than that the their them then there these they this to up was we were what when "
    "which who will with would you your"
)
_LINE = 80
"""Characters of what is said that go into each text of a structured answer."""
_COMMON = frozenset(_COMMON_WORDS.split())
_RISK = re.compile(
    r"\b(risk\w*|may|might|could|fail\w*|delay\w*|late|los[est]\w*|cost\w*|depend\w*|unknown|unclear|unless|without|"
    r"only|limit\w*|deadline\w*|break\w*|outage\w*|breach\w*|complian\w*|cannot|not)\b",
    re.IGNORECASE,
)
_ACTION = re.compile(
    r"\b(must|should|shall|will|needs?|have to|has to|plan\w*|todo|next|decide\w*|agree\w*|by (?:mon|tues|wednes|"
    r"thurs|fri)day|deadline\w*)\b",
    re.IGNORECASE,
)
_QUOTED = re.compile(r"`([^`]+)`|\"([^\"]+)\"")
_SUM = re.compile(r"[\d(][\d\s+\-*/().%]*[\d)]")


def _sentences(text: str) -> list[str]:
    """Sentences and list items. A heading that announces what follows (`Summarise this:`) is not part of it."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    if len(lines) > 1 and lines[0].endswith(":"):
        del lines[0]
    plain = (re.sub(r"^(?:[-*•]|\d+[.)])\s+", "", line) for line in lines)
    return [
        part for line in plain for part in re.split(r"(?<=[.!?])\s+(?=[\"'(A-Z0-9])", line) if part
    ]


def _tokens(text: str) -> list[str]:
    return [word for word in re.findall(r"[^\W\d_]{3,}", text.lower()) if word not in _COMMON]


def _salient(sentences: list[str], count: int) -> list[str]:
    """The sentences that say most about what the text is about, in the order of the text."""
    weight = Counter(word for sentence in sentences for word in _tokens(sentence))

    def score(index: int) -> float:
        words = _tokens(sentences[index])
        return sum(weight[word] for word in words) / (len(words) + 3) + (0.5 if index == 0 else 0.0)

    best = sorted(range(len(sentences)), key=lambda index: (-score(index), index))[:count]
    return [sentences[index] for index in sorted(best)]


def _listed(sentences: list[str], otherwise: str) -> str:
    return "\n".join(f"- {sentence}" for sentence in sentences) or otherwise


def _summary(prompt: str, rest: str) -> str:
    return " ".join(_salient(_sentences(prompt), _number(rest, 3)))


def _risks(prompt: str, rest: str) -> str:
    found = [sentence for sentence in _sentences(prompt) if _RISK.search(sentence)]
    return _listed(_salient(found, _number(rest, 5)), "- The text names no risk.")


def _actions(prompt: str, rest: str) -> str:
    found = [sentence for sentence in _sentences(prompt) if _ACTION.search(sentence)]
    return _listed(found[: _number(rest, 5)], "- The text asks for nothing to be done.")


def _title(prompt: str, rest: str) -> str:
    weight = Counter(_tokens(prompt))
    order = {word: position for position, word in reversed(list(enumerate(_tokens(prompt))))}
    best = sorted(weight, key=lambda word: (-weight[word], order[word]))[: _number(rest, 4)]
    return " ".join(sorted(best, key=order.__getitem__)).capitalize()


def _text(prompt: str, rest: str) -> str:
    words = prompt.split() or ["…"]
    count = _number(rest, 40)
    return " ".join((words * (count // len(words) + 1))[:count])


PERSONAS: dict[str, Callable[[str, str], str]] = {
    "actions": _actions,
    "echo": lambda prompt, _rest: prompt,
    "risks": _risks,
    "summary": _summary,
    "text": _text,
    "title": _title,
    "tool": lambda prompt, _rest: prompt,
}
"""What may stand after `scripted:`; a number after another colon says how much (`summary:5`)."""


def perform(request: TurnRequest) -> ScriptedTurn:
    """The turn that the model's name asks for.

    `tool` calls the first tool offered, with arguments that fit its schema; with the results it quotes them.

    Raises:
        InvalidInput: `model.unknown_persona`.
    """
    name, _, rest = request.model.partition(":")
    if name not in PERSONAS:
        raise InvalidInput(
            "model.unknown_persona",
            f"scripted:{name} is none of {', '.join(f'scripted:{known}' for known in sorted(PERSONAS))}",
            where="model",
        )
    prompt, results = _asked(request)
    tools = [tool for tool in request.tools if tool.name != ANSWER]
    if name == "tool" and tools and not results:
        return _calling(request, tools[0], prompt)
    if results:
        said = f"The result is {'; '.join(message.text for message in results)}."
    else:
        said = PERSONAS[name](prompt, rest)
    # One line of it: documents made of documents would grow with every agent that reads one.
    line = said.strip().partition("\n")[0][:_LINE]
    if request.output_schema is not None:
        return ScriptedTurn(
            json.dumps(sample(dict(request.output_schema), line), ensure_ascii=False)
        )
    final = next((tool for tool in request.tools if tool.name == ANSWER), None)
    return (
        ScriptedTurn(said) if final is None else ScriptedTurn(calls=(_call(request, final, line),))
    )


def _asked(request: TurnRequest) -> tuple[str, list[ToolMessage]]:
    """What the user said last, and the tool results since."""
    results: list[ToolMessage] = []
    for message in reversed(request.messages):
        match message:
            case UserMessage():
                return message.text, results[::-1]
            case ToolMessage():
                results.append(message)
            case _:
                pass
    return "", results[::-1]


def _calling(request: TurnRequest, tool: ToolSpec, prompt: str) -> ScriptedTurn:
    quoted = _QUOTED.search(prompt)
    arithmetic = max((found.strip() for found in _SUM.findall(prompt)), key=len, default="")
    named = (quoted[1] or quoted[2]) if quoted else arithmetic
    schema = _without_examples(tool.parameters) if named else tool.parameters
    call = _call(request, tool.model_copy(update={"parameters": schema}), named or prompt)
    return ScriptedTurn(f"I will use {tool.name}.", (call,))


def _call(request: TurnRequest, tool: ToolSpec, said: str) -> ToolCallPart:
    args = sample({"type": "object", **tool.parameters}, said)
    fitting = args if isinstance(args, dict) else {}
    return ToolCallPart(id=f"call_{len(request.messages)}_1", name=tool.name, args=fitting)


def _without_examples(schema: dict[str, JsonValue]) -> dict[str, JsonValue]:
    """The schema without examples of its parameters: what the prompt names goes before them."""
    properties = schema.get("properties")
    named: dict[str, JsonValue] = {
        name: {key: value for key, value in inner.items() if key != "examples"}
        if isinstance(inner, dict)
        else inner
        for name, inner in (properties.items() if isinstance(properties, dict) else ())
    }
    return {**schema, "properties": named}


def _number(text: str, default: int) -> int:
    return int(text) if text.isdigit() and int(text) > 0 else default
