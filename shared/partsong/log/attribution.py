"""Whose a record was that cannot be read: the server's count of each subject still has it, a walk does not.

So after damage the subjects are counted twice, and those that come short name their runs. It reads everything that
matches, and is asked for only when something is known to be missing.
"""

from __future__ import annotations

from collections import Counter

from nats.aio.client import Client

from partsong.contracts.errors import InvalidInput
from partsong.contracts.subjects import Subjects
from partsong.log.subject_counts import counted
from partsong.log.walk import walk

__all__ = ["missing", "missing_by_run"]


async def missing_by_run(
    nc: Client, subjects: Subjects, stream: str, filter: str, *, upto: int
) -> dict[str, int]:
    """How many records of each run the server counts and does not deliver; those of no run under an empty name.

    Raises:
        Unavailable: the server did not answer in time.
    """
    expected = await counted(nc, stream, filter)
    found: Counter[str] = Counter()
    async for raw in walk(nc, stream, filter, upto=upto):
        found[raw.subject] += 1
    return missing(subjects, expected, found)


def missing(subjects: Subjects, expected: dict[str, int], found: Counter[str]) -> dict[str, int]:
    """The same of counts that are known."""
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
