"""`partsong log verify`: the whole log read once, and every promise in it checked.

Each run's chain, each partition's seals, the holes between sequences, and bodies that lie beside the log.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

from nats.aio.client import Client

from partsong.contracts.counts import number_of
from partsong.contracts.errors import InvalidInput, Problem, Unavailable
from partsong.contracts.ranges import Range, clipped, outside, ranges, size_of, united, within
from partsong.contracts.wire.chains import Chain
from partsong.contracts.wire.damage import Damaged
from partsong.contracts.wire.marks import Identity
from partsong.contracts.wire.placement import placed, stray
from partsong.contracts.wire.seals import Scrub
from partsong.contracts.wire.subjects import Subjects, partition_of
from partsong.log.attribution import missing
from partsong.log.blobs import BAD_BODY, Blobs
from partsong.log.link import Link
from partsong.log.subject_counts import counted
from partsong.log.walk import Progress, Raw, walk

__all__ = ["Reading", "Verified", "verify"]

_LACKS = ("log.commit_missing", "log.record_missing")
"""Findings in a chain that no changed record explains."""


_NAMED = 100
"""So many records that nobody can read are named."""


@dataclass(frozen=True, slots=True)
class Verified:
    """What a whole reading of the log found. What a restore has accepted is said beside, and is no damage of the log."""

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
    lost: tuple[Range, ...]
    """Within these a seal disagrees, and no hole explains it."""
    hit: tuple[str, ...]
    """Runs that lack records or whose chains are broken, by all of that."""
    accepted: tuple[Range, ...] = ()
    """Sequences that do not come, or whose place says that nothing came back, and that a restore has accepted."""
    accepted_runs: tuple[str, ...] = ()
    """Runs that restores have left damaged."""
    foreign: int = 0
    """Records under subjects that are not ours: whoever may write there has done so, and nobody reads them."""

    unreadable: tuple[Problem, ...] = ()
    """Records that have come as they were written, and that nobody can read: their runs are set aside, and nothing of the
    log is lost. The first hundred of them."""

    @property
    def ok(self) -> bool:
        """Whether the log is what it says it is."""
        return not self.holes and not self.findings and not self.hit

    @property
    def damage(self) -> Damaged | None:
        """All of it as one damage; None if there is none."""
        if self.ok:
            return None
        count = size_of(self.holes)
        contained = sum(self.lost_of.values()) >= count and not self.lost
        said = [f"{number_of(count, 'record')} cannot be read"] if count else []
        if self.findings:
            said.append(f"{number_of(len(self.findings), 'finding')} in runs and partitions")
        why = ", ".join(said)
        return Damaged(why, self.lost, self.holes, self.hit, contained=contained, missing=count)


class _Chains:
    """The chains of all runs, checked as their records pass in the log's order."""

    def __init__(self, subjects: Subjects) -> None:
        self._subjects = subjects
        self._runs: dict[str, Chain] = {}
        self.foreign = 0
        """Records under subjects that no run of ours has."""
        self.unreadable: list[Problem] = []
        """Reports of runs that say nothing, the first of them."""

    def __len__(self) -> int:
        return len(self._runs)

    def take(self, raw: Raw, body: bytes | None) -> None:
        """Read the log's next record; `body` is None if it lies beside the log and is not there."""
        try:
            where = self._subjects.parse_log(raw.subject)
        except InvalidInput as error:
            self._stray(raw, error.problem)
            return
        if where.own:
            return
        if partition_of(where.run_id) != where.partition:  # no owner reads it there
            self.foreign += 1
            return
        chain = self._runs.setdefault(where.run_id, Chain(where.run_id))
        if body is None:
            chain.lose(raw.seq, f"the body of record {raw.seq} is missing beside the log")
        elif where.entity != "engine":  # nothing vouches for a report before a commit has seen it
            try:
                placed(self._subjects, raw.subject, body)
            except InvalidInput as error:
                self._unread(raw.seq, where.run_id, error.problem)
        chain.take(raw.seq, raw.body if body is None else body, commit=where.entity == "engine")

    def _stray(self, raw: Raw, problem: Problem) -> None:
        """A record under a subject that nobody of ours has: whoever reads its run comes upon it."""
        self.foreign += 1
        where = stray(self._subjects, raw.subject)
        chain = self._runs.get(where.run_id) if where is not None else None
        if (
            where is not None
            and chain is not None
            and partition_of(where.run_id) == where.partition
        ):
            self._unread(raw.seq, where.run_id, problem)

    def _unread(self, seq: int, run_id: str, why: Problem) -> None:
        message = f"record {seq} cannot be read, so its run is set aside: {why.message}"
        at = {"code": "log.unreadable", "message": message, "where": f"{run_id} at {seq}"}
        if len(self.unreadable) < _NAMED:
            self.unreadable.append(why.model_copy(update=at))

    def broken(self, *, but: Collection[str] = ()) -> list[Chain]:
        """Those that do not hold, but for some runs."""
        return [c for run, c in self._runs.items() if c.broken is not None and run not in but]


@dataclass(slots=True)
class Reading:
    """A log read in order, wherever it is read from, and checked on the way."""

    subjects: Subjects
    accepted: int = 0
    """See `Identity.accepted`."""
    counts: Counter[str] = field(default_factory=Counter)
    """Records of each subject."""
    gone: list[int] = field(default_factory=list)
    """Sequences that have not come."""
    _chains: _Chains = field(init=False)
    _scrubs: dict[int, Scrub] = field(default_factory=dict)
    _seals: int = 0
    _last: int = 0
    _broken: list[tuple[int, Damaged]] = field(default_factory=list)
    """Partitions that do not agree with a seal."""

    def __post_init__(self) -> None:
        self._chains = _Chains(self.subjects)

    def take(self, raw: Raw, body: bytes | None) -> None:
        """Read the log's next record; `body` is None if it lies beside the log and is not there."""
        self.gone += range(self._last + 1, raw.seq)
        self._last = raw.seq
        self.counts[raw.subject] += 1
        partition = self.subjects.partition_in(raw.subject)
        if partition is not None:  # a seal covers also what nobody knows the subject of
            self._scrub(raw, partition, seal=raw.subject == self.subjects.seal(partition))
        self._chains.take(raw, body)

    def end(self, head: int) -> None:
        """All was read up to the log's head."""
        self.gone += range(self._last + 1, head + 1)

    def broken_by(self, holes: Sequence[Range]) -> frozenset[str]:
        """Runs whose chains break where records are known not to be there."""
        broken = self._chains.broken()
        return frozenset(c.run_id for c in broken if clipped(holes, (c.verified + 1, c.at)))

    def owned(self, holes: Sequence[Range]) -> tuple[Range, ...]:
        """Those of some holes whose runs are surely named: by a seal, or by a chain that lacks a record where only one is missing."""
        found = [hole for _, damage in self._broken for hole in damage.holes]
        for chain in self._chains.broken():
            gone = clipped(holes, (chain.verified + 1, chain.at))
            if chain.broken is not None and chain.broken.code in _LACKS and size_of(gone) == 1:
                found += gone
        return united(found)

    def judged(
        self, lost_of: Mapping[str, int], known: Sequence[Range], damaged: Collection[str]
    ) -> Verified:
        """What is wrong, without what is `known` to be missing and the runs that are known to be `damaged`."""
        gone = ranges(self.gone)
        holes = outside(gone, known)
        broken = self._chains.broken(but=damaged)
        seals = [
            (partition, found.narrowed(gone))
            for partition, found in self._broken
            if not _explained(found.narrowed(known), known)
        ]
        of = {run: n for run, n in lost_of.items() if holes and run not in damaged}
        ends = {run for _, found in seals for run in found.runs if run not in damaged}
        return Verified(
            records=sum(self.counts.values()),
            runs=len(self._chains),
            seals=self._seals,
            sealed=sum(scrub.last.count for scrub in self._scrubs.values() if scrub.last),
            holes=holes,
            lost_of=of,
            findings=(
                *(_seal_broken(partition, found) for partition, found in seals),
                *(chain.broken for chain in broken if chain.broken is not None),
            ),
            lost=united(span for _, found in seals for span in found.lost),
            hit=tuple(sorted({*filter(None, of), *ends, *(chain.run_id for chain in broken)})),
            accepted=tuple(known),
            accepted_runs=tuple(sorted(damaged)),
            foreign=self._chains.foreign,
            unreadable=tuple(self._chains.unreadable),
        )

    def _scrub(self, raw: Raw, partition: int, *, seal: bool) -> None:
        scrub = self._scrubs.setdefault(partition, Scrub(accepted=self.accepted))
        self._seals += seal
        found = scrub.take(raw.seq, raw.body, seal=seal)
        if found is not None:
            self._broken.append((partition, found))


async def verify(
    nc: Client,
    subjects: Subjects,
    *,
    stream: str,
    blobs: str,
    head: int,
    identity: Identity | None = None,
    progress: Progress = lambda _done, _of: None,
) -> Verified:
    """Read the log up to its `head`; the restores in its `identity` say what of it was accepted.

    Raises:
        Unavailable: the server did not answer in time.
    """
    reading = Reading(subjects, identity.accepted if identity is not None else 0)
    link = Link(nc, attempt=5.0, deadline=30.0)
    store = Blobs(link, blobs)
    try:
        async for raw in walk(nc, stream, subjects.log(), upto=head, progress=progress):
            reading.take(raw, await _body_of(raw, store))
    finally:
        await link.close()
    reading.end(head)
    lost = {}
    if reading.gone:
        lost = missing(subjects, await counted(nc, stream, subjects.log()), reading.counts)
    if identity is None:
        return reading.judged(lost, (), ())
    return reading.judged(lost, identity.missing, identity.damaged_runs)


async def _body_of(raw: Raw, store: Blobs) -> bytes | None:
    """What a record says, wherever it lies; None if it cannot be had."""
    if raw.blob is None:
        return raw.body
    try:
        return await store.get(raw.blob)
    except Unavailable as error:
        if error.problem.code not in BAD_BODY:
            raise
        return None


def _explained(found: Damaged, known: Sequence[Range]) -> bool:
    """Whether a seal disagrees by nothing but records that are known not to be there."""
    return not found.lost and within(found.holes, known)


def _seal_broken(partition: int, found: Damaged) -> Problem:
    return Problem(
        code="log.seal_broken",
        message=found.problem.message,
        where=f"partition {partition}",
        fix=found.problem.fix,
        fault="platform",
    )
