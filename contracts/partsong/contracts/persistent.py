"""Maps that never change: setting or removing a key gives another map, at little cost however many keys there are.

A fold changes one key of a state's maps at a time, and whoever holds the state before goes on seeing it as it was. A
map of a few keys is a plain dict, and copied: nothing is faster. A bigger one lays what has changed over a base that it
shares with the maps it came from. After about 2√n changes a new base is made, so each of them copies some √n keys.

The order is a dict's: a key that is set again keeps its place, one that was removed comes back at the end.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, ItemsView, Iterator, Mapping, Sequence, ValuesView
from enum import Enum
from heapq import merge
from math import isqrt
from typing import Final, Generic, TypeVar, cast, overload

__all__ = ["PersistentMap", "below", "chosen", "plain", "pruned", "put", "without"]

K = TypeVar("K", bound=str | int)
V = TypeVar("V")
T = TypeVar("T")

_SMALL = 128


class _Mark(Enum):
    GONE = "gone"


_GONE: Final = _Mark.GONE


def put(mapping: Mapping[K, V], key: K, value: V) -> Mapping[K, V]:
    """Set a key, as `{**mapping, key: value}` does."""
    if len(mapping) < _SMALL:
        return {**mapping, key: value}
    return _layered(mapping).put(key, value)


def without(mapping: Mapping[K, V], key: K) -> Mapping[K, V]:
    """Remove a key, if it is there."""
    if key not in mapping:
        return mapping
    return _removed(mapping, (key,))


def pruned(mapping: Mapping[str, V], owner: str) -> Mapping[str, V]:
    """Remove the key `owner`, and all paths that lead on from it."""
    if not mapping:
        return mapping
    gone = below(mapping, owner)
    return _removed(mapping, gone) if gone else mapping


def below(mapping: Mapping[str, object], owner: str) -> Sequence[str]:
    """Find the key `owner`, and all paths that lead on from it."""
    if isinstance(mapping, PersistentMap):
        return mapping.below(owner)
    inner = f"{owner}/"
    return [key for key in mapping if key == owner or key.startswith(inner)]


def plain(mapping: Mapping[K, V]) -> dict[K, V]:
    """Give the dict that a map stands for, to whoever takes no other mapping."""
    return mapping if isinstance(mapping, dict) else dict(mapping)


def _removed(mapping: Mapping[K, V], keys: Sequence[K]) -> Mapping[K, V]:
    if len(mapping) >= _SMALL:
        return _layered(mapping).without(keys)
    left = dict(mapping)  # copying and deleting is five times as fast as choosing
    for key in keys:
        del left[key]
    return left


def chosen(mapping: Mapping[K, V], wanted: Callable[[V], bool]) -> Iterator[tuple[K, V]]:
    """Pick the entries whose value is wanted, in order; a big map remembers which of its base's are.

    `wanted` says the same of a value whenever it is asked, and is a function that lives as long as the program.
    """
    if isinstance(mapping, PersistentMap):
        return mapping.chosen(wanted)
    return ((key, value) for key, value in mapping.items() if wanted(value))


class _Base(Generic[K, V]):
    """The entries that many maps share, and what is found out about them once for all these maps."""

    __slots__ = ("_chosen", "_places", "_sorted", "entries", "most")

    def __init__(self, entries: dict[K, V]) -> None:
        self.entries = entries
        self.most = 2 * isqrt(len(entries))
        """So many changes are laid over it before there is a new one."""
        self._sorted: list[K] | None = None
        self._places: dict[K, int] | None = None
        self._chosen: dict[Callable[[V], bool], list[K]] = {}

    def sorted(self) -> list[K]:
        """Sort the keys when they are first asked for."""
        if self._sorted is None:
            self._sorted = sorted(self.entries)
        return self._sorted

    def places(self) -> dict[K, int]:
        """Number the keys in their order when they are first asked for."""
        if self._places is None:
            self._places = {key: place for place, key in enumerate(self.entries)}
        return self._places

    def chosen(self, wanted: Callable[[V], bool]) -> list[K]:
        """Look for the keys of wanted values when they are first asked for."""
        if wanted not in self._chosen:
            self._chosen[wanted] = [key for key, value in self.entries.items() if wanted(value)]
        return self._chosen[wanted]

    def renewed(self, changed: dict[K, V | _Mark], late: dict[K, V]) -> _Base[K, V]:
        """Make the base that has the changes in it, and what is known of this one is known of it too."""
        entries = dict(self.entries)
        for key, value in changed.items():
            if value is _GONE:
                del entries[key]
            else:
                entries[key] = value
        entries.update(late)
        base = _Base(entries)
        if self._sorted is not None:
            in_order = [key for key in self._sorted if key in entries]
            in_order += [key for key in late if key not in self.entries]
            base._sorted = sorted(in_order)  # nearly in order, so it takes little
        for wanted in self._chosen:
            base._chosen[wanted] = list(self.chosen_after(wanted, changed, late))
        return base

    def chosen_after(
        self, wanted: Callable[[V], bool], changed: dict[K, V | _Mark], late: dict[K, V]
    ) -> Iterator[K]:
        """Pick the keys of wanted values from the entries with some changes, in order."""
        same = (key for key in self.chosen(wanted) if key not in changed)
        again = [key for key, value in changed.items() if value is not _GONE and wanted(value)]
        if again:
            place = self.places().__getitem__
            same = merge(same, sorted(again, key=place), key=place)
        yield from same
        yield from (key for key, value in late.items() if wanted(value))


class PersistentMap(Mapping[K, V]):
    """A map of many keys, made by `put` and `without`: a base, and what has changed since."""

    __slots__ = ("_base", "_changed", "_late", "_len")

    def __init__(
        self, base: _Base[K, V], changed: dict[K, V | _Mark], late: dict[K, V], length: int
    ) -> None:
        """`changed` are keys of the base with another value or gone from there, `late` those that come after it."""
        self._base, self._changed, self._late, self._len = base, changed, late, length

    def __getitem__(self, key: K) -> V:
        found = self._find(key)
        if found is _GONE:
            raise KeyError(key)
        return found

    @overload
    def get(self, key: K, /) -> V | None: ...
    @overload
    def get(self, key: K, /, default: V | T) -> V | T: ...
    def get(self, key: K, /, default: object = None) -> object:
        """The value of a key, or `default`."""
        found = self._find(key)
        return default if found is _GONE else found

    def _find(self, key: K) -> V | _Mark:
        if key in self._late:
            return self._late[key]
        return self._changed.get(key, self._base.entries.get(key, _GONE))

    def __contains__(self, key: object) -> bool:
        return self._find(cast("K", key)) is not _GONE

    def __len__(self) -> int:
        return self._len

    def __iter__(self) -> Iterator[K]:
        return (key for key, _ in self.pairs())

    def items(self) -> ItemsView[K, V]:
        """Its keys with their values."""
        return _Items(self)

    def values(self) -> ValuesView[V]:
        """Its values."""
        return _Values(self)

    def __repr__(self) -> str:
        return repr(dict(self.pairs()))

    def put(self, key: K, value: V) -> PersistentMap[K, V]:
        """Set a key."""
        if key in self._late:
            return self._after(self._changed, {**self._late, key: value}, self._len)
        if key in self:
            return self._after({**self._changed, key: value}, self._late, self._len)
        return self._after(self._changed, {**self._late, key: value}, self._len + 1)

    def without(self, keys: Sequence[K]) -> PersistentMap[K, V]:
        """Remove some keys, each of which is there and given once."""
        changed, late = dict(self._changed), dict(self._late)
        for key in keys:
            if key in late:
                del late[key]
            else:
                changed[key] = _GONE
        return self._after(changed, late, self._len - len(keys))

    def _after(
        self, changed: dict[K, V | _Mark], late: dict[K, V], length: int
    ) -> PersistentMap[K, V]:
        if len(changed) + len(late) <= self._base.most:
            return PersistentMap(self._base, changed, late, length)
        return PersistentMap(self._base.renewed(changed, late), {}, {}, length)

    def below(self: PersistentMap[str, V], owner: str) -> list[str]:
        """Find the key `owner`, and all paths that lead on from it."""
        inner, keys = f"{owner}/", self._base.sorted()
        place = bisect_left(keys, inner)
        found = [owner, *(key for key in self._late if key.startswith(inner))]
        while place < len(keys) and keys[place].startswith(inner):
            found.append(keys[place])
            place += 1
        return [key for key in dict.fromkeys(found) if key in self]

    def chosen(self, wanted: Callable[[V], bool]) -> Iterator[tuple[K, V]]:
        """Pick the entries whose value is wanted, in order."""
        for key in self._base.chosen_after(wanted, self._changed, self._late):
            yield key, self[key]

    def pairs(self) -> Iterator[tuple[K, V]]:
        """Go through it without looking up each key."""
        entries = self._base.entries
        for key, value in zip(entries, self._placed(), strict=True):
            if value is not _GONE:
                yield key, value
        yield from self._late.items()

    def each(self) -> Iterator[V]:
        """Go through its values."""
        for value in self._placed():
            if value is not _GONE:
                yield value
        yield from self._late.values()

    def _placed(self) -> Iterator[V | _Mark]:
        """What stands in each place of the base."""
        return map(self._changed.get, self._base.entries, self._base.entries.values())


class _Items(ItemsView[K, V]):
    _mapping: PersistentMap[K, V]

    def __iter__(self) -> Iterator[tuple[K, V]]:
        return self._mapping.pairs()


class _Values(ValuesView[V]):
    _mapping: PersistentMap[str | int, V]

    def __iter__(self) -> Iterator[V]:
        return self._mapping.each()


def _layered(mapping: Mapping[K, V]) -> PersistentMap[K, V]:
    if isinstance(mapping, PersistentMap):
        return mapping
    return PersistentMap(_Base(plain(mapping)), {}, {}, len(mapping))
