"""Whose a record was that cannot be read: the server's count of each subject still has it, a walk does not.

So after damage the subjects are counted twice, and those that come short name their runs. It reads everything, and is
asked for only when something is known to be missing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from typing import NamedTuple

from nats.aio.client import Client

from partsong.contracts.errors import InvalidInput
from partsong.contracts.ranges import Range
from partsong.contracts.wire.subjects import Subjects
from partsong.log.leader import Leader
from partsong.log.subject_counts import counted
from partsong.log.walk import walk

__all__ = ["Missing", "missing", "missing_of"]


class Missing(NamedTuple):
    """What the server counts and does not deliver."""

    by_run: dict[int, dict[str, int]]
    """Of each partition, how many records of each run; those of no run under an empty name."""
    holes: tuple[Range, ...]
    """Which sequences of the whole log."""


async def missing_of(
    nc: Client, subjects: Subjects, stream: str, partitions: Collection[int]
) -> Missing:
    """Count what the log holds of some partitions, and read all of it: only in its sequences a record's absence shows.

    Raises:
        Unavailable: the server did not answer in time.
    """
    filters = {p: subjects.partition(p) for p in partitions}
    expected = {p: await counted(nc, stream, filter) for p, filter in filters.items()}
    found = {p: Counter[str]() for p in partitions}
    leader = Leader(nc, subjects, stream, attempt=5.0, deadline=60.0)
    try:
        head = await leader.head()
    finally:
        await leader.close()
    holes, before = list[Range](), 0
    async for raw in walk(nc, stream, subjects.log(), upto=head):
        if raw.seq > before + 1:
            holes.append((before + 1, raw.seq - 1))
        before = raw.seq
        partition = subjects.partition_in(raw.subject)
        if partition is not None and partition in found:
            found[partition][raw.subject] += 1
    if before < head:
        holes.append((before + 1, head))
    by_run = {p: missing(subjects, expected[p], found[p]) for p in partitions}
    return Missing(by_run, tuple(holes))


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
