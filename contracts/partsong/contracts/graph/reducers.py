"""Reducers: what the writes of a run's executions make of its state.

A run's state is a JSON object. Each execution adds one update; an update is a *write* per key. Writes on a key are
reduced in the order (depth, position of the node in the graph, item index, execution id): an order that respects
causality and does not depend on who finished first.

An execution sees what its ancestors wrote, and nothing of what runs beside it. So what a node reads never depends on
timing; parallel branches meet where their edges meet.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pydantic import JsonValue

from partsong.contracts.errors import InvalidInput
from partsong.contracts.graph import ReducerName

__all__ = [
    "OVERWRITE",
    "Write",
    "as_data",
    "contribute",
    "meant",
    "overwritten",
    "reduce",
    "reduced",
]

OVERWRITE = "__overwrite__"
"""`{"__overwrite__": value}` as a written value takes the place of what was there, whatever the reducer."""
_DATA = "__data__"
"""Marks a value that only looks like an instruction."""
_REMOVE_ALL = "__all__"


@dataclass(frozen=True, slots=True, order=True)
class Write:
    """One execution's value for one key; sorts in reduction order."""

    depth: int
    position: int
    item: int
    exec: str
    value: JsonValue = None

    @property
    def key(self) -> tuple[int, int, int, str]:
        """What it sorts by."""
        return (self.depth, self.position, self.item, self.exec)


def reduce(  # noqa: C901  # one case per reducer
    name: ReducerName,
    key: str,
    present: bool,  # noqa: FBT001
    old: JsonValue,
    new: JsonValue,
    *,
    beside: bool = False,
) -> JsonValue:
    """The value of a key after one more write; `present` is whether there was one before.

    append   a list grows by a list's elements, or by one value
    merge    an object's keys are laid over the old ones
    add      numbers are added
    min, max the smaller, the larger
    union    a list grows by what it does not hold yet
    messages a list grows by messages; one with an id that is there takes its place, `{"id": …, "remove": true}` removes
             it, and the id `__all__` removes all

    An `Overwrite` must leave a value that the reducer can go on with: whoever writes beside it cannot know of it. With
    `beside`, somebody who ran beside the writer may have removed the message that it removes.

    Raises:
        InvalidInput: `state.reducer` if the values do not fit the reducer.
    """
    if (fresh := overwritten(new)) is not None:
        if not _fits(name, fresh[0]):
            raise _unfit(name, key, f"{_WANTS[name]} in an Overwrite", fresh[0])
        return fresh[0]
    new = meant(new)
    match name:
        case "replace":
            return new
        case "append":
            return [*_before(name, key, present, old), *_listed(new)]
        case "union":
            grown = list(_before(name, key, present, old))
            there = set(map(_frozen, grown))
            for value in _listed(new):
                if (frozen := _frozen(value)) not in there:
                    there.add(frozen)
                    grown.append(value)
            return grown
        case "merge":
            base = old if present else {}
            if not isinstance(base, dict) or not isinstance(new, dict):
                raise _unfit(name, key, "two objects", new if isinstance(base, dict) else base)
            return {**base, **new}
        case "messages":
            return _messages(key, _before(name, key, present, old), _listed(new), beside=beside)
        case "add" | "min" | "max":
            if not _number(new) or (present and not _number(old)):
                raise _unfit(name, key, "two numbers", old if _number(new) else new)
            if not present:
                return new
            assert isinstance(old, int | float) and isinstance(new, int | float)  # noqa: S101, PT018
            return old + new if name == "add" else min(old, new) if name == "min" else max(old, new)


def _before(name: str, key: str, present: bool, old: JsonValue) -> list[JsonValue]:  # noqa: FBT001
    if not present:
        return []
    if not isinstance(old, list):
        raise _unfit(name, key, "a list before it", old)
    return old


def as_data(value: JsonValue) -> JsonValue:
    """A value of somebody else's as a write that says nothing but that value, whatever it looks like."""
    if isinstance(value, dict) and len(value) == 1 and (OVERWRITE in value or _DATA in value):
        return {_DATA: value}
    return value


def meant(value: JsonValue) -> JsonValue:
    """The value that a write speaks of, whether it overwrites with it, or only says that it is data."""
    if isinstance(value, dict) and len(value) == 1 and (OVERWRITE in value or _DATA in value):
        return next(iter(value.values()))
    return value


def overwritten(value: JsonValue) -> tuple[JsonValue] | None:
    """The value inside an `Overwrite`, as a tuple of one; None if it is none."""
    if isinstance(value, dict) and len(value) == 1 and OVERWRITE in value:
        return (value[OVERWRITE],)
    return None


def contribute(
    name: ReducerName, key: str, so_far: tuple[JsonValue] | None, new: JsonValue
) -> JsonValue:
    """What several writes add, taken together: reducing it gives what reducing them one by one gives.

    Its shape does not depend on how many they are: one appended value is a list of one. Messages stay as they were
    written, since a message that one of them removes may be none of theirs.
    """
    if overwritten(new) is not None:
        return new
    before = overwritten(so_far[0]) if so_far is not None else None
    if before is not None:
        return {OVERWRITE: reduce(name, key, True, before[0], new, beside=True)}  # noqa: FBT003
    if name == "messages":
        return [*(_listed(meant(so_far[0])) if so_far is not None else ()), *_listed(meant(new))]
    base = None if so_far is None else meant(so_far[0])
    return as_data(reduce(name, key, so_far is not None, base, new))


_WANTS = {
    "append": "a list", "union": "a list", "messages": "a list", "merge": "an object",
    "add": "a number", "min": "a number", "max": "a number", "replace": "any value",
}  # fmt: skip


def _fits(name: ReducerName, value: JsonValue) -> bool:
    match name:
        case "replace":
            return True
        case "append" | "union" | "messages":
            return isinstance(value, list)
        case "merge":
            return isinstance(value, dict)
        case "add" | "min" | "max":
            return _number(value)


def _listed(value: JsonValue) -> list[JsonValue]:
    return value if isinstance(value, list) else [value]


def _messages(
    key: str, base: list[JsonValue], new: list[JsonValue], *, beside: bool
) -> list[JsonValue]:
    grown: list[JsonValue] = list(base)
    places: dict[object, list[int]] = {}
    """Where the messages of an id stand; those that were removed leave their places empty until the end."""
    gone: set[int] = set()
    for place, message in enumerate(grown):
        if isinstance(message, dict):
            places.setdefault(_frozen(message.get("id")), []).append(place)
    for message in new:
        if not isinstance(message, dict):
            raise _unfit("messages", key, "objects", message)
        id_ = _frozen(message.get("id"))
        if message.get("remove") is True:
            if message.get("id") == _REMOVE_ALL:
                grown, places, gone = [], {}, set()
                continue
            removed = places.pop(id_, [])
            if not removed and not beside:
                raise _unfit("messages", key, "the id of a message that is there", message)
            gone.update(removed)
        elif id_ is not None and id_ in places:
            grown[places[id_][0]] = message
        else:
            places.setdefault(id_, []).append(len(grown))
            grown.append(message)
    return [message for place, message in enumerate(grown) if place not in gone]


def _frozen(value: JsonValue) -> object:
    """Something to be looked up by that equals exactly what the value equals: 1 is 1.0 and true, as in a list."""
    if isinstance(value, dict):
        return frozenset((key, _frozen(inner)) for key, inner in value.items())
    return tuple(map(_frozen, value)) if isinstance(value, list) else value


def _number(value: JsonValue) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _unfit(name: str, key: str, wants: str, got: JsonValue) -> InvalidInput:
    return InvalidInput(
        "state.reducer",
        f"reducer {name} on {key!r} needs {wants}, got {json.dumps(got)[:80]}",
        where=f"state.{key}",
        fix="return a fitting value, or choose another reducer for the key",
    )


def reduced(
    name: ReducerName, key: str, base: Mapping[str, JsonValue], writes: Sequence[Write]
) -> JsonValue:
    """The value of a key after its writes, which come in order. Each fitted the reducer when it was made.

    What reducing them one by one gives, in one pass: while a branch is open, the writes of the others pile up, and who
    sees them all sees thousands.
    """
    present, value = key in base, base.get(key)
    if name == "replace":
        return meant(writes[-1].value) if writes else value
    since = [write.value for write in writes]
    overwrites = [at for at, new in enumerate(since) if overwritten(new) is not None]
    if overwrites:
        value = reduce(name, key, present, value, since[overwrites[-1]], beside=True)
        present, since = True, since[overwrites[-1] + 1 :]
    for new in _together(name, since):
        value, present = reduce(name, key, present, value, new, beside=True), True
    return value


def _together(name: ReducerName, values: list[JsonValue]) -> list[JsonValue]:
    """Values of which none overwrites, as fewer of which each does what several did."""
    match name:
        case "append" | "union" | "messages" if values:
            return [[element for value in values for element in _listed(meant(value))]]
        case "merge" if values:
            laid: dict[str, JsonValue] = {}
            for value in values:
                over = meant(value)
                if not isinstance(over, dict):
                    return values
                laid.update(over)
            return [as_data(laid)]
        case _:
            return values
