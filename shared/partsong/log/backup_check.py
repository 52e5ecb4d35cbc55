"""Whether a backup is fit to be restored: all of it is read before anything is deleted to make room for it.

What its own note says that it lacks is known to whoever made it. All else that is wrong is news: records that are
missing without a note, seals and chains that do not fit, marks of records that it holds otherwise.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from partsong.contracts.counts import verb_of
from partsong.contracts.errors import Conflict, NotFound
from partsong.contracts.ranges import Range, outside, ranges, records, size_of, united
from partsong.contracts.wire.damage import Damaged, View, assess, wanted
from partsong.contracts.wire.marks import Identity, Mark, digest_of, identity_of
from partsong.contracts.wire.subjects import Subjects
from partsong.log.backup import Backup, Lacking
from partsong.log.verify import Reading, Verified
from partsong.log.walk import Progress, Raw

__all__ = ["Checked", "body_of", "check"]

_STRIDE = 2000
_SHOWN = 10
_FIX = (
    "nothing was deleted: use another backup or, with --from-mirror, a mirror; without either, --accept-damage restores "
    "what this one holds, and what is named here stays lost"
)


@dataclass(frozen=True, slots=True)
class Checked:
    """What a backup holds and lacks."""

    identity: Identity
    upto: int
    """The head of its log when it was made, as far as that is known."""
    kept: int
    """Up to here no mark says otherwise."""
    since: str
    """When the last record up to there was stored."""
    missing: tuple[Range, ...]
    runs: tuple[str, ...]
    """Runs that are known to lack records."""
    unclear: tuple[Range, ...]
    """Within these something is lost or changed, and it is not known of which runs."""
    news: tuple[str, ...]
    """What is wrong and was not noted when it was made."""

    def insist(self, copy: Backup) -> None:
        """Refuse it if anything is wrong that nobody knew.

        Raises:
            Conflict: `backup.damaged`.
        """
        if not self.news:
            return
        more = f"; and {len(self.news) - _SHOWN} more" if len(self.news) > _SHOWN else ""
        whose = [f"runs: {', '.join(self.runs)}"] if self.runs else []
        if self.unclear:
            whose.append(f"not known which runs are hit within {records(self.unclear)}")
        raise Conflict(
            "backup.damaged",
            f"{copy.folder}: {'; '.join(self.news[:_SHOWN])}{more}; {'; '.join(whose)}",
            where=str(copy.folder),
            fix=_FIX,
            fault="platform",
        )


def check(copy: Backup, subjects: Subjects, marks: Sequence[Mark], progress: Progress) -> Checked:
    """Read a backup.

    Raises:
        NotFound: `backup.none`: there is none, or one from which nothing can be restored.
        InvalidInput: `backup.malformed`: a line is not what was written, or not in its place.
    """
    noted = copy.lacking()
    identity, newest = _outline(copy, subjects)
    upto = max(newest.seq, noted.upto)
    # One that is given up, or that the backup is too old for, says nothing of it.
    binding = [m for m in marks if m.log_id == identity.log_id and identity.knows(m.epoch)]
    marked, reading, passed = {*wanted(binding, identity)}, Reading(subjects, identity.accepted), {}
    for count, raw in enumerate(copy.records(), start=1):
        reading.take(raw, body_of(copy, raw))
        if raw.seq in marked:
            passed[raw.seq] = raw
        if count % _STRIDE == 0:
            progress(raw.seq, upto)
    reading.end(upto)
    named = frozenset(filter(None, noted.runs)) | reading.broken_by(noted.missing)
    known = united((*identity.missing, *noted.missing))
    found = reading.judged({}, known, named | identity.damaged_runs)
    changed = _changed(binding, identity, newest, passed)
    kept = changed.lost[0][0] - 1 if changed is not None else upto
    last = newest if changed is None else passed.get(kept)
    return Checked(
        identity=identity,
        upto=upto,
        kept=kept,
        since=last.at if last is not None else "",
        missing=ranges(reading.gone),
        runs=tuple(sorted(named.union(found.hit))),
        unclear=outside(_unclear(noted, found, changed), reading.owned(ranges(reading.gone))),
        news=tuple(_news(found, changed)),
    )


def _outline(copy: Backup, subjects: Subjects) -> tuple[Identity, Raw]:
    """Which log it is of, and its newest record: without them nothing else can be judged."""
    first: Raw | None = None
    newest: Raw | None = None
    restores = list[bytes]()
    for number, raw in copy.lines():
        if not _stands(raw.subject, subjects):
            why = f"expected is a subject under {subjects.log()}, found is {raw.subject!r:.200}: of another prefix?"
            raise copy.unfit(number, why)
        if raw.subject == subjects.restored():
            restores.append(raw.body)
        first, newest = first or raw, raw
    if first is None or newest is None or first.seq != 1:
        raise NotFound(
            "backup.none",
            f"{copy.folder} does not begin with record 1, which says what log it is: nothing can be restored from it",
            where=str(copy.folder),
            fix="give the folder of another backup, or with --from-mirror a mirror",
        )
    identity, written = identity_of(first.body, restores), str(copy.head().get("log_id"))
    if written != identity.log_id:
        why = f"expected is record 1 of log {written[:12]}, found is that of log {identity.log_id[:12]}"
        raise copy.unfit(2, why)
    return identity, newest


_NO_TOKEN = frozenset(" \t\r\n\x00*>")
"""What the server takes for the end of a token, or for a wildcard: all else stands in one, a form feed too."""


def _stands(subject: str, subjects: Subjects) -> bool:
    """Whether the log's stream can hold a subject; one that it cannot would be refused when there is no way back."""
    tokens = subject.removeprefix(f"{subjects.prefix}.log.").split(".")
    literal = all(token and not {*token} & _NO_TOKEN for token in tokens)
    return literal and subject.startswith(f"{subjects.prefix}.log.")


def body_of(copy: Backup, raw: Raw) -> bytes | None:
    """What a record says, wherever in the backup it lies; None if it could not be copied, or is not what its name says."""
    if raw.blob is None:
        return raw.body
    try:
        return copy.blob(raw.blob)
    except NotFound:
        return None


def _changed(
    marks: Sequence[Mark], identity: Identity, newest: Raw, passed: Mapping[int, Raw]
) -> Damaged | None:
    """Whether records are not those that were acknowledged; of one that is not there, the others say so."""
    there = [mark for mark in marks if mark.seq in passed]
    digests = {seq: digest_of(raw.body, raw.id) for seq, raw in passed.items()}
    said = assess(there, View(identity, 1, newest.seq, newest.seq, digests=digests))
    return said if isinstance(said, Damaged) else None


def _unclear(noted: Lacking, found: Verified, changed: Damaged | None) -> tuple[Range, ...]:
    counted = sum(noted.runs.values()) >= size_of(noted.missing)
    others = changed.lost if changed is not None else ()
    return united((*found.holes, *found.lost, *others, *(() if counted else noted.missing)))


def _news(found: Verified, changed: Damaged | None) -> Iterator[str]:
    if found.holes:
        yield f"{records(found.holes)} {verb_of(size_of(found.holes), 'is', 'are')} missing, and its note does not say so"
    for problem in found.findings:
        yield f"{problem.where}: {problem.message}"
    if changed is not None:
        yield changed.why
