"""Whose a record was that cannot be read: the server's count of each subject still has it, a walk does not.

So after damage the subjects are counted twice, and those that come short name their runs. It reads everything, and is
asked for only when something is known to be missing.
"""

from __future__ import annotations

import sys
from collections import Counter
from typing import NamedTuple

from nats.aio.client import Client

from partsong.contracts.damage import Range
from partsong.contracts.errors import InvalidInput
from partsong.contracts.subjects import Subjects
from partsong.log.subject_counts import counted
from partsong.log.walk import walk

__all__ = ["Missing", "missing", "missing_of_partition"]


class Missing(NamedTuple):
    """What the server counts and does not deliver."""

    by_run: dict[str, int]
    """How many records of each run; those of no run under an empty name."""
    holes: tuple[Range, ...]
    """Which sequences of the whole log."""


async def missing_of_partition(
    nc: Client, subjects: Subjects, stream: str, partition: int, *, upto: int
) -> Missing:
    """Read the whole log, for only its sequences show which ones do not come, and count a partition's records.

    All of it, also behind `upto`, up to where holes are looked for: what is appended meanwhile is in the server's count.

    Raises:
        Unavailable: the server did not answer in time.
    """
    filter = subjects.partition(partition)
    expected = await counted(nc, stream, filter)
    found: Counter[str] = Counter()
    holes, before = list[Range](), 0
    async for raw in walk(nc, stream, subjects.log(), upto=sys.maxsize):
        if raw.seq > before + 1:
            holes.append((before + 1, raw.seq - 1))
        before = raw.seq
        if raw.subject.startswith(filter[:-1]):
            found[raw.subject] += 1
    if before < upto:
        holes.append((before + 1, upto))
    return Missing(missing(subjects, expected, found), tuple(holes))


def missing(subjects: Subjects, expected: dict[str, int], found: Counter[str]) -> dict[str, int]:
    """How many records of each run were counted and not found; those of no run under an empty name."""
    lost: Counter[str] = Counter()
    for subject, count in expected.items():
        if (short := count - found[subject]) > 0:
            lost[_run_of(subjects, subject)] += short
    return dict(lost)


def _run_of(subjects: Subjects, subject: str) -> str:
    """The run whose records have a subject; empty for those of no run, and for subjects that nobody knows."""
    try:
        where = subjects.parse_log(subject)
    except InvalidInput:
        return ""
    return "" if where.own else where.run_id
