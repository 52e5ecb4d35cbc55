"""`partsong log verify`: the whole log read once, and every promise in it checked.

Each run's chain, each partition's seals, the holes between sequences, and bodies that lie beside the log.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from nats.aio.client import Client

from partsong.contracts.chains import Chain
from partsong.contracts.damage import Damaged, Range, ranges
from partsong.contracts.errors import InvalidInput, Problem, Unavailable
from partsong.contracts.seals import Scrub
from partsong.contracts.subjects import Subjects
from partsong.log.attribution import missing
from partsong.log.blobs import BAD_BODY, Blobs
from partsong.log.link import Link
from partsong.log.subject_counts import counted
from partsong.log.walk import Progress, Raw, walk

__all__ = ["Verified", "verify"]


@dataclass(frozen=True, slots=True)
class Verified:
    """What a whole reading of the log found."""

    records: int
    runs: int
    seals: int
    sealed: int
    """How many records a seal covers."""
    holes: tuple[Range, ...]
    """Sequences that do not come."""
    lost_of: dict[str, int]
    """How many records of each run do not come, by the server's own count; those of no run under an empty name."""
    findings: tuple[Problem, ...]
    """What is wrong with runs and partitions, in the log's order."""

    @property
    def ok(self) -> bool:
        """Whether the log is what it says it is."""
        return not self.holes and not self.findings and not self.lost_of

    @property
    def damage(self) -> Damaged | None:
        """All of it as one damage; None if there is none."""
        if self.ok:
            return None
        broken = {str(f.where).partition(" at ")[0] for f in self.findings}
        runs = tuple(sorted({*(run for run in self.lost_of if run), *broken}))
        count = sum(last - first + 1 for first, last in self.holes)
        contained = sum(self.lost_of.values()) >= count and not any(
            f.code == "log.seal_broken" for f in self.findings
        )
        why = (
            f"{count} records cannot be read, {len(self.findings)} findings in runs and partitions"
        )
        return Damaged(why, holes=self.holes, runs=runs, contained=contained)


@dataclass(slots=True)
class _Reading:
    chains: dict[str, Chain] = field(default_factory=dict)
    scrubs: dict[int, Scrub] = field(default_factory=dict)
    counts: Counter[str] = field(default_factory=Counter)
    seals: int = 0
    gone: list[int] = field(default_factory=list)
    last: int = 0
    findings: list[Problem] = field(default_factory=list)


async def verify(
    nc: Client,
    subjects: Subjects,
    *,
    stream: str,
    blobs: str,
    head: int,
    progress: Progress = lambda _done, _of: None,
) -> Verified:
    """Read the log up to its `head`.

    Raises:
        Unavailable: the server did not answer in time.
    """
    reading, link = _Reading(), Link(nc, attempt=5.0, deadline=30.0)
    store = Blobs(link, blobs)
    try:
        async for raw in walk(nc, stream, subjects.log(), upto=head, progress=progress):
            reading.gone += range(reading.last + 1, raw.seq)
            reading.last = raw.seq
            reading.counts[raw.subject] += 1
            await _take(reading, raw, subjects, store)
    finally:
        await link.close()
    reading.gone += range(reading.last + 1, head + 1)
    lost = {}
    if reading.gone:
        lost = missing(subjects, await counted(nc, stream, subjects.log()), reading.counts)
    broken = [chain.broken for chain in reading.chains.values() if chain.broken is not None]
    return Verified(
        records=sum(reading.counts.values()),
        runs=len(reading.chains),
        seals=reading.seals,
        sealed=sum(scrub.last.count for scrub in reading.scrubs.values() if scrub.last),
        holes=ranges(reading.gone),
        lost_of=lost,
        findings=(*reading.findings, *broken),
    )


async def _take(reading: _Reading, raw: Raw, subjects: Subjects, store: Blobs) -> None:
    partition = subjects.partition_in(raw.subject)
    if partition is not None:  # a seal covers also what nobody knows the subject of
        _scrub(reading, raw, partition, seal=raw.subject == subjects.seal(partition))
    try:
        where = subjects.parse_log(raw.subject)
    except InvalidInput as error:
        reading.findings.append(error.problem.model_copy(update={"where": f"seq {raw.seq}"}))
        return
    if where.own:
        return
    chain = reading.chains.setdefault(where.run_id, Chain(where.run_id))
    body = raw.body
    if raw.blob is not None:
        try:
            body = await store.get(raw.blob)
        except Unavailable as error:
            if error.problem.code not in BAD_BODY:
                raise
            chain.lose(raw.seq, error.problem.message)
    chain.take(raw.seq, body, commit=where.entity == "engine")


def _scrub(reading: _Reading, raw: Raw, partition: int, *, seal: bool) -> None:
    scrub = reading.scrubs.setdefault(partition, Scrub())
    reading.seals += seal
    found = scrub.take(raw.seq, raw.body, seal=seal)
    if found is not None:
        reading.findings.append(
            Problem(
                code="log.seal_broken",
                message=found.problem.message,
                where=f"partition {partition}",
                fix=found.problem.fix,
                fault="platform",
            )
        )
