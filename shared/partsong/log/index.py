"""Where records are: by subject and by id, for logs that number their records from 1 without a gap."""

from __future__ import annotations

import asyncio
from bisect import bisect_right
from collections.abc import AsyncGenerator, Callable, Iterable, Iterator
from itertools import chain

from partsong.contracts.errors import Unavailable
from partsong.log.port import Record
from partsong.log.subject import compile_filter, is_literal

__all__ = ["Index", "follow", "walk"]

_FEW = 256
"""Up to so many records it is quicker to look at each than to look up their subjects."""


class _Branch:
    """One token of the subject tree; `seqs` are the records of the subject that ends here."""

    __slots__ = ("children", "seqs")

    def __init__(self) -> None:
        self.children: dict[str, _Branch] = {}
        self.seqs: list[int] = []


class Index:
    """Every record's subject and id, but not its body; knows who waits for the next one."""

    def __init__(self) -> None:
        self._subjects: list[str] = []
        self._leaves: dict[str, _Branch] = {}
        self._root = _Branch()
        self._ids: dict[str, int] = {}
        self._grown = asyncio.Event()
        self._closed: Unavailable | None = None

    @property
    def head(self) -> int:
        """Sequence of the newest record; 0 if there is none."""
        return len(self._subjects)

    def add(self, subject: str, id: str) -> int:
        """Note the next record; its sequence."""
        self._subjects.append(subject)
        seq = len(self._subjects)
        leaf = self._leaves.get(subject)
        if leaf is None:
            leaf = self._leaves[subject] = self._grow(subject)
        leaf.seqs.append(seq)
        self._ids[id] = seq
        if not self._grown.is_set():
            self._grown.set()
        return seq

    def last(self, subject: str) -> int:
        """Sequence of a literal subject's newest record; 0 if there is none."""
        leaf = self._leaves.get(subject)
        return leaf.seqs[-1] if leaf else 0

    def of_id(self, id: str) -> int | None:
        """Sequence of the record appended under this id."""
        return self._ids.get(id)

    def select(self, filter: str, after: int, upto: int) -> Iterable[int]:
        """Sequences in (after, upto] whose subject matches, in order."""
        if is_literal(filter):
            leaf = self._leaves.get(filter)
            return _between(leaf.seqs, after, upto) if leaf else ()
        if upto - after <= _FEW:
            matches = compile_filter(filter).fullmatch
            return [seq for seq in range(after + 1, upto + 1) if matches(self._subjects[seq - 1])]
        leaves = _matching(self._root, filter.split("."))
        return sorted(chain.from_iterable(_between(leaf.seqs, after, upto) for leaf in leaves))

    async def grows(self, beyond: int) -> None:
        """Wait until there is a record after `beyond`.

        Raises:
            Unavailable: the log was closed.
        """
        while self.head <= beyond:
            if self._closed is not None:
                raise self._closed
            self._grown.clear()
            await self._grown.wait()

    def close(self, error: Unavailable) -> None:
        """Whoever waits for a record gets this error instead."""
        self._closed = error
        self._grown.set()

    def _grow(self, subject: str) -> _Branch:
        branch = self._root
        for token in subject.split("."):
            branch = branch.children.setdefault(token, _Branch())
        return branch


def _matching(branch: _Branch, tokens: list[str]) -> Iterator[_Branch]:
    """The leaves below a branch that the tokens of a filter select."""
    if not tokens:
        yield branch
        return
    first, rest = tokens[0], tokens[1:]
    if first == ">":
        for child in branch.children.values():
            yield child
            yield from _matching(child, tokens)
    elif first == "*":
        for child in branch.children.values():
            yield from _matching(child, rest)
    elif first in branch.children:
        yield from _matching(branch.children[first], rest)


def _between(seqs: list[int], after: int, upto: int) -> list[int]:
    return seqs[bisect_right(seqs, after) : bisect_right(seqs, upto)]


async def walk(
    index: Index, load: Callable[[int], Record], filter: str, after: int, upto: int
) -> AsyncGenerator[Record, None]:
    """The selected records in order, letting others run now and then."""
    for count, seq in enumerate(index.select(filter, after, upto)):
        if count % _FEW == _FEW - 1:
            await asyncio.sleep(0)
        yield load(seq)


async def follow(
    index: Index, load: Callable[[int], Record], filter: str, after: int
) -> AsyncGenerator[Record, None]:
    """The selected records in order, for ever."""
    seen = max(after, 0)
    while True:
        await index.grows(seen)
        upto = index.head
        async for record in walk(index, load, filter, seen, upto):
            yield record
        seen = upto
