"""`ReplayModel`: a model that answers as it did in a recorded run, as long as it is asked the same.

    with ReplayModel("recorded.log"):
        result = await graph.execute({"ticket": "…"})     # no key, no network; a changed prompt fails

Asked the same means: instructions, messages, names of tools, schema of the answer. Tools run again, so what they give
back is part of the comparison. The model's name, its temperature and its limit of tokens are not.
"""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator
from dataclasses import dataclass, field
from itertools import takewhile
from typing import TypeAlias, cast

from pydantic import JsonValue

from partsong.contracts.errors import InvalidInput
from partsong.contracts.events import AgentTurnCompleted
from partsong.contracts.state.timeline import Change, diff
from partsong.contracts.talk.chunks import Chunk, StopReason
from partsong.contracts.talk.messages import Message
from partsong.contracts.wire.work import TurnWork
from partsong.models.core.final_answer import asked as wanted_of
from partsong.models.port import TurnRequest
from partsong.testing.recorded import RunLog, recorded, turns
from partsong.testing.speech import speech
from partsong.testing.stand_in import StandIn

__all__ = ["ReplayModel"]

_Conversation: TypeAlias = "dict[str, JsonValue]"
_SHOWN = 60
"""How many characters of a difference are shown."""


@dataclass(slots=True)
class _Known:
    """A conversation of the recording, and its answers in the order in which they came."""

    conversation: _Conversation
    answers: list[AgentTurnCompleted] = field(default_factory=list)
    played: int = 0


class ReplayModel(StandIn):
    """Stands in for every model of the recorded run. Asked anything else, it fails and names the first difference.

    Attempts that failed on the day are not played, only answers. If the same was asked several times, it is answered in
    the same order; the last answer stays.
    """

    def __init__(self, log: RunLog, run_id: str | None = None) -> None:
        """Read the turns of one run, or of all that the log holds.

        Raises:
            NotFound: `run.unknown`.
            InvalidInput: `replay.no_turns`, no model was asked in it.
        """
        self._known: dict[str, _Known] = {}
        models: dict[str, None] = {}
        for id_, records in recorded(log, run_id).items():
            for turn in turns(id_, records):
                conversation = _recorded(turn.work)
                known = self._known.setdefault(_key(conversation), _Known(conversation))
                known.answers.append(turn.answer)
                models[turn.work.agent.model] = None
        if not models:
            raise InvalidInput(
                "replay.no_turns",
                "no model answered in the recording",
                where="log",
                fix="record a run in which an agent is asked",
            )
        super().__init__(*models)

    async def stream(self, request: TurnRequest) -> AsyncGenerator[Chunk, None]:
        """The recorded answer; see `Provider.stream`."""
        self.asked.append(request)
        conversation = _asked(request)
        known = self._known.get(_key(conversation))
        if known is None:
            yield self._fail(self._difference(conversation))
            return
        answer = known.answers[min(known.played, len(known.answers) - 1)]
        known.played += 1
        stop = cast("StopReason", answer.stop)  # the event takes words of later versions too
        for chunk in speech(answer.provider, answer.model, answer.message, stop, answer.usage):
            yield chunk

    def _difference(self, asked: _Conversation) -> str:
        """Where the question leaves the recorded one that it is most like."""
        conversations = (known.conversation for known in self._known.values())
        nearest = max(conversations, key=lambda known: _likeness(asked, known))
        first = next(diff(nearest, asked))
        return f"not what was asked in the recording: {_told(first)}"


def _recorded(work: TurnWork) -> _Conversation:
    agent = work.agent
    wanted = wanted_of(agent, with_tools=bool(agent.tools or work.inner))
    own = (tool.name for tool in (*work.inner, *wanted.tools))
    names: list[JsonValue] = [*agent.tools, *own]
    schema = dict(wanted.schema) if wanted.schema is not None else None
    return _conversation(wanted.instructions, work.messages, names, schema)


def _asked(request: TurnRequest) -> _Conversation:
    schema = dict(request.output_schema) if request.output_schema is not None else None
    names: list[JsonValue] = [tool.name for tool in request.tools]
    return _conversation(request.instructions, request.messages, names, schema)


def _conversation(
    instructions: str,
    messages: tuple[Message, ...],
    tools: list[JsonValue],
    schema: dict[str, JsonValue] | None,
) -> _Conversation:
    told: list[JsonValue] = [message.model_dump(mode="json") for message in messages]
    return {
        "instructions": instructions,
        "messages": told,
        "tools": tools,
        "output_schema": schema,
    }


def _key(conversation: _Conversation) -> str:
    return json.dumps(conversation, sort_keys=True)


def _likeness(asked: _Conversation, known: _Conversation) -> tuple[int, int, int]:
    """How much two conversations have in common: how they begin, how long they are, and what else is equal."""
    ours, theirs = _messages(asked), _messages(known)
    pairs = zip(ours, theirs, strict=False)
    common = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))
    equal = sum(asked[key] == known[key] for key in asked)
    return common, -abs(len(ours) - len(theirs)), equal


def _messages(conversation: _Conversation) -> list[JsonValue]:
    return cast("list[JsonValue]", conversation["messages"])


def _told(change: Change) -> str:
    """A difference in a line; of long texts only the place where they part."""
    before, after = _text(change.before), _text(change.after)
    if change.kind == "added":
        return f"{change.path} is new: {_window(after, 0)}"
    if change.kind == "removed":
        return f"{change.path} is missing: {_window(before, 0)}"
    pairs = enumerate(zip(before, after, strict=False))
    at = next((i for i, (a, b) in pairs if a != b), min(len(before), len(after)))
    return f"{change.path} was {_window(before, at)}, is now {_window(after, at)}"


def _text(value: JsonValue) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _window(text: str, at: int) -> str:
    """The text around a place."""
    start = max(0, at - _SHOWN // 2)
    end = start + _SHOWN
    return f"{'…' if start else ''}{text[start:end]!r}{'…' if end < len(text) else ''}"
