"""Pieces of tool calls in Chat Completions: which call one belongs to.

Id and name come with the first piece, and the index says whose it is. That is what OpenAI does. Others number every
call 0, give each piece another id, repeat id and name in each, write `null` for a name, or send a name in pieces.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from partsong.models.core.arguments import parse_arguments

__all__ = ["Call", "Calls", "plain_name"]


def plain_name(name: str) -> str:
    """The name, or nothing where a server writes its word for nothing."""
    return "" if name in {"null", "None"} else name


@dataclass(slots=True)
class Call:
    """A call that has begun."""

    id: str
    name: str
    i: int
    texts: list[str] = field(default_factory=list)
    told: bool = False
    """Whether anybody was told that it has begun."""

    @property
    def text(self) -> str:
        """Its arguments so far."""
        return "".join(self.texts)

    @property
    def whole(self) -> bool:
        """Whether the arguments so far are all that it needs."""
        return bool(self.texts) and parse_arguments(self.text) is not None

    def add(self, text: str) -> bool:
        """Add to its arguments; whether they are more than they were."""
        if self.texts and text == self.text and self.whole:
            return False  # the whole of it once more
        if self.text.strip() == "{}" and text.lstrip().startswith("{"):
            self.texts.clear()  # which only held the place
        self.texts.append(text)
        return True


class Calls:
    """The calls of one answer."""

    def __init__(self, tools: Iterable[str]) -> None:
        """`tools` are the names on offer."""
        self._tools = frozenset(tools)
        self._latest: dict[int | None, Call] = {}
        """Of each index."""
        self.all: list[Call] = []

    def begin(self, index: int | None, call: Call) -> Call:
        """A call whose first piece came under this index."""
        self.all.append(call)
        self._latest[index] = call
        return call

    def of(self, index: int | None, id: str, name: str, text: str) -> Call | None:
        """The call that a piece goes on with; None if it begins another one."""
        name = plain_name(name)
        call = self._latest.get(index)
        if not name:
            known = next((c for c in self.all if id and c.id == id), None)
            if call is None or call.whole:
                return known or call or (self.all[-1] if self.all and index is None else None)
            return known if known is not None and known in self._latest.values() else call
        if call is None:
            return None
        if not call.texts and self._grows(call, id, name):
            call.name += name
            return call
        if name == call.name or not call.name:
            call.name = name
            return call if self._repeats(call, id, text) else None
        return None

    def _grows(self, call: Call, id: str, name: str) -> bool:
        """Whether this is more of the call's name, and not another call, nor the same name once more."""
        if id and id != call.id:
            return False
        longer = call.name + name
        return bool(call.name) and any(tool.startswith(longer) for tool in self._tools)

    @staticmethod
    def _repeats(call: Call, id: str, text: str) -> bool:
        """Whether a piece with the name of the call is of it, and not of the next call of the same tool."""
        if id and id != call.id:
            return bool(call.texts) and not call.whole
        if not call.whole:
            return True
        return bool(id) and (not text or text == call.text)
