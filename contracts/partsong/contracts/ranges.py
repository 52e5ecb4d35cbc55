"""Ranges of sequences: the first and the last one of each. What is lost of a log is said in them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import groupby

__all__ = [
    "Range",
    "clipped",
    "gaps",
    "outside",
    "ranges",
    "records",
    "size_of",
    "spans",
    "united",
    "within",
]

Range = tuple[int, int]
"""First and last sequence."""

_SHOWN = 20


def ranges(seqs: Sequence[int]) -> tuple[Range, ...]:
    """Sequences, ascending, as ranges without gaps."""
    runs = groupby(enumerate(seqs), key=lambda pair: pair[1] - pair[0])
    found = ([seq for _, seq in members] for _, members in runs)
    return tuple((run[0], run[-1]) for run in found)


def gaps(seqs: Iterable[int], upto: int = 0) -> tuple[Range, ...]:
    """What ascending sequences leave out: from 1 to the last of them, or to `upto` if that is further."""
    found, last = list[Range](), 0
    for seq in seqs:
        if seq > last + 1:
            found.append((last + 1, seq - 1))
        last = seq
    if upto > last:
        found.append((last + 1, upto))
    return tuple(found)


def united(found: Iterable[Range]) -> tuple[Range, ...]:
    """Ranges, as few as can be, ascending."""
    whole: list[Range] = []
    for first, last in sorted(found):
        if whole and first <= whole[-1][1] + 1:
            whole[-1] = (whole[-1][0], max(last, whole[-1][1]))
        else:
            whole.append((first, last))
    return tuple(whole)


def clipped(found: Iterable[Range], span: Range) -> tuple[Range, ...]:
    """What of some ranges lies within another one."""
    first, last = span
    return tuple((max(a, first), min(b, last)) for a, b in found if b >= first and a <= last)


def within(found: Iterable[Range], known: Iterable[Range]) -> bool:
    """Whether some ranges lie wholly within others."""
    whole = united(known)
    return all(any(a <= first and last <= b for a, b in whole) for first, last in found)


def outside(found: Iterable[Range], known: Iterable[Range]) -> tuple[Range, ...]:
    """What of some ranges lies in none of others."""
    left = list(united(found))
    for first, last in united(known):
        left = [
            part
            for a, b in left
            for part in ((a, min(b, first - 1)), (max(a, last + 1), b))
            if part[0] <= part[1]
        ]
    return united(left)


def size_of(found: Iterable[Range]) -> int:
    """How many sequences lie in ranges."""
    return sum(last - first + 1 for first, last in found)


def spans(found: Sequence[Range]) -> str:
    """Ranges in words; of many only the first."""
    more = f" and {len(found) - _SHOWN} more" if len(found) > _SHOWN else ""
    return ", ".join(map(_span, found[:_SHOWN])) + more


def records(found: Sequence[Range]) -> str:
    """Ranges in words, as records: `record 7`, `records 4 to 9, 12`."""
    return f"record{'' if size_of(found) == 1 else 's'} {spans(found)}"


def _span(found: Range) -> str:
    first, last = found
    return str(first) if first == last else f"{first} to {last}"
