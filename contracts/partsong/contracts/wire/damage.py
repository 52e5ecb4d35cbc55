"""Whether a log still is what it was: a pure judgement of what its leader said against what is known from outside.

There are three answers, and only one of them is an alarm. `Sound`: all agrees. `Damaged`: the leader answered and
disagrees with what is known; what that means in words and sequences is in it. `Unknown`: nobody answered, which says
nothing about the log.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import assert_never

from partsong.contracts.counts import number_of, verb_of
from partsong.contracts.errors import Problem, Unavailable
from partsong.contracts.ranges import (
    Range,
    clipped,
    outside,
    ranges,
    records,
    size_of,
    spans,
    united,
    within,
)
from partsong.contracts.wire.differences import Difference, set_back
from partsong.contracts.wire.marks import Identity, Mark, Restored

__all__ = [
    "AT_REST",
    "BEGIN_ANEW",
    "DAMAGED",
    "Answer",
    "Damaged",
    "Gone",
    "Hit",
    "Silent",
    "Sound",
    "Unknown",
    "View",
    "accepted_note",
    "assess",
    "damage_error",
    "lost_note",
    "merged",
    "wanted",
]

DAMAGED = frozenset({"log.damaged", "log.another", "log.restored", "log.config_changed"})
"""Codes of the errors with which a log is not written to: the same request gets the same answer until a person acts."""

AT_REST = "No service may run then: where `partsong up` runs the server, stop it, and add --offline"
"""What is to be done before a log is put in another one's place; a sentence of its own, behind others."""

BEGIN_ANEW = f"begin a new log with `partsong log adopt --new`, which first copies what is left to a folder. {AT_REST}"
"""What can be done about a log that neither a backup nor a mirror brings back, and of which too little is left."""

_BACK = "`partsong log restore --from FOLDER --replace` with a backup, or with `--from-mirror STREAM --replace`"
_AS_IS = "`partsong log restore --as-is`"
_RESTORE = (
    f"run `partsong log verify`, then {_BACK}; without either, {_AS_IS} goes on with what is left; "
    "nothing is written until then"
)
_GONE = f"run {_BACK}; without either, {BEGIN_ANEW}"
_MEND = (
    f"these runs are not written to, all others go on; run `partsong log verify`, then {_BACK}, which loses what came "
    f"after a backup; {_AS_IS} accepts that these runs stay damaged"
)
_MEND_NONE = (
    f"no run is hit, and all go on; run `partsong log verify`, then {_AS_IS}, which accepts that"
)
_UNSURE = "what it says of itself may be wrong: begin it again under another id, or restore the log from a whole backup"
_READABLE = "run `partsong log verify`; restore the log from a mirror or a backup"
_SHOWN = 20
"""So many runs are named in a message."""
_AND = "; "
"""Between the reasons of several damages."""
_ADOPT = "if this is the log you mean, run `partsong log adopt` on the machine of each service, else correct the NATS URL"


@dataclass(frozen=True, slots=True)
class View:
    """What the stream's leader said."""

    identity: Identity | None
    """None: the stream holds no record at all."""
    first_seq: int
    last_seq: int
    messages: int
    deleted: tuple[int, ...] = ()
    """Sequences that the leader itself says it lacks."""
    digests: Mapping[int, str | None] | None = None
    """Digests of the records at the marks; None for one that the leader does not have."""
    differences: tuple[Difference, ...] = ()
    """Fields of the stream's configuration that are not as the table of streams says."""
    replicas: int = 1


@dataclass(frozen=True, slots=True)
class Gone:
    """The leader answered that there is no such stream."""


@dataclass(frozen=True, slots=True)
class Silent:
    """Nobody answered, or nobody who leads the stream."""

    why: str


@dataclass(frozen=True, slots=True)
class Sound:
    """The log agrees with all that is known of it."""


@dataclass(frozen=True, slots=True)
class Damaged:
    """The log disagrees with what is known of it."""

    why: str
    lost: tuple[Range, ...] = ()
    """Within these something is no longer as it was acknowledged, and nobody can say which of the records."""
    holes: tuple[Range, ...] = ()
    """The very sequences within the log that cannot be read."""
    runs: tuple[str, ...] = ()
    """Runs that are known to be hit."""
    code: str = "log.damaged"
    fix: str = ""
    """What to do, if it is something else than to restore the log."""
    contained: bool = False
    """Whether every lost record is known to belong to one of `runs`: the others may go on."""
    missing: int = 0
    """How many records are known to be gone; 0 if they are there and differ, or nobody has counted."""

    @property
    def passes(self) -> bool:
        """Whether it is over when the configuration is as it should be again, because nothing is lost."""
        return self.code == "log.config_changed"

    def covers(self, other: Damaged) -> bool:
        """Whether it says all that another one says of records and runs; in which words does not matter."""
        if self.code != other.code or (self.contained and not other.contained):
            return False
        if not (other.holes or other.lost or other.runs):
            return {*other.why.split(_AND)} <= {*self.why.split(_AND)}
        known = (*self.lost, *self.holes)
        return {*other.runs} <= {*self.runs} and within((*other.lost, *other.holes), known)

    def narrowed(self, holes: Sequence[Range]) -> Damaged:
        """The same with the very records that a reading in order has not found, as far as they explain what is lost."""
        found = tuple(hole for span in self.lost for hole in clipped(holes, span))
        if not found:
            return self
        explained = 0 < self.missing <= size_of(found)
        return replace(
            self, lost=() if explained else self.lost, holes=united((*self.holes, *found))
        )

    def __str__(self) -> str:
        return self.problem.message

    @property
    def problem(self) -> Problem:
        """The damage as an error that travels."""
        said = [self.why]
        if self.lost:
            said.append(f"lost: {records(self.lost)}")
        if self.holes:
            said.append(f"not readable: {spans(self.holes)}")
        if self.runs:
            said.append(f"runs: {', '.join(self.runs[:_SHOWN])}{_more(self.runs)}")
        mend = _MEND if self.runs else _MEND_NONE
        fix = self.fix or (mend if self.contained else _RESTORE)
        return Problem(
            code=self.code, message="; ".join(said), where="log", fix=fix, fault="platform"
        )


@dataclass(frozen=True, slots=True)
class Unknown:
    """Nothing can be said of the log now."""

    why: str


Answer = Sound | Damaged | Unknown


def damage_error(damage: Damaged) -> Unavailable:
    """The error with which a damaged log refuses to be written to."""
    return Unavailable(**damage.problem.model_dump(include={"code", "message", "where", "fix"}))


def wanted(marks: Sequence[Mark], identity: Identity | None) -> list[int]:
    """Sequences of the records whose digests `assess` compares: those of this log's marks that still bind it."""
    if identity is None:
        return []
    return sorted({mark.seq for mark in marks if _binds(mark, identity, identity.missing)})


def assess(
    marks: Sequence[Mark], said: View | Gone | Silent, known: Sequence[Range] = ()
) -> Answer:
    """Judge what the leader said against the marks; without marks a log is taken as it is.

    Records in `known` are missing, and it was said whose they are; so are those that a restore could not bring back.
    """
    match said:
        case Silent(why=why):
            return Unknown(why)
        case Gone():
            return _missing(marks, "there is no stream") if marks else Sound()
        case View(identity=identity):
            if identity is not None:
                gone = united((*known, *identity.missing))
                content = _content(marks, identity, said, gone)
                return _known(marks, identity) or content or _shape(said, gone)
            empty = not said.messages and said.first_seq <= 1
            return _missing(marks, "the stream is empty") if marks and empty else _shape(said, ())
        case _:
            assert_never(said)


def merged(found: Sequence[Damaged]) -> Damaged:
    """Several damages as one: each record, each run and each reason once."""
    told: list[Damaged] = []
    for damage in found:
        if not any(one.covers(damage) for one in told):
            told = [*(one for one in told if not damage.covers(one)), damage]
    if len(told) == 1:
        return told[0]
    holes = united([hole for damage in told for hole in damage.holes])
    uncounted = sum(max(0, damage.missing - size_of(damage.holes)) for damage in told)
    return Damaged(
        _AND.join(dict.fromkeys(damage.why for damage in told)),
        united([span for damage in told for span in damage.lost]),
        holes,
        tuple(sorted({run for damage in told for run in damage.runs})),
        contained=all(damage.contained for damage in told),
        missing=size_of(holes) + uncounted,
    )


def accepted_note(identity: Identity | None) -> str | None:
    """What the restores of a log have left damaged, in words; None if nothing is."""
    if identity is None or not (identity.missing or identity.damaged_runs):
        return None
    gone, runs = identity.missing, sorted(identity.damaged_runs)
    said = [f"{records(gone)} could not be brought back"] if gone else []
    named = ", ".join(runs[:_SHOWN]) + _more(runs)
    said.append(f"damaged runs: {named}" if runs else "no run is known to be hit")
    return f"since the restore to epoch {identity.epoch} {'; '.join(said)}"


def lost_note(restores: Sequence[Restored]) -> str | None:
    """Which records the restores of a log, in order, have not brought back, in words; None if there are none."""
    said, known = list[str](), tuple[Range, ...]()
    for restored in restores:
        tail = () if restored.lost is None else (restored.lost,)
        gone = united((*tail, *outside(restored.missing, known)))
        known = (*known, *restored.missing)  # each restore names what those before it have missed
        if gone:
            was = verb_of(size_of(gone), "was", "were")
            said.append(f"{records(gone)} {was} lost before the restore of {restored.at}")
    return "; ".join(said) or None


@dataclass(frozen=True, slots=True)
class Hit:
    """Runs that are known to lack records: since a restore of the log, or by a damage that was found."""

    restores: Sequence[Restored] = ()
    damage: Damaged | None = None

    @property
    def runs(self) -> frozenset[str]:
        """All of them."""
        since = frozenset(run for restored in self.restores for run in restored.runs)
        return since.union(self.damage.runs) if self.damage is not None else since

    def why(self, run_id: str) -> Problem | None:
        """Why a run is one of them; None if it is not."""
        if lost := [restored for restored in self.restores if run_id in restored.runs]:
            first = min(lost, key=lambda restored: restored.epoch)
            what = f"did not come back when {first.by} restored the log from {first.source} at {first.at}"
            fix = _UNSURE
        elif self.damage is not None and run_id in self.damage.runs:
            what, fix = f"cannot be read: {self.damage.why}", _READABLE
        else:
            return None
        return Problem(
            code="log.unreadable",
            message=f"records of run {run_id} {what}",
            where=run_id,
            fix=fix,
            fault="platform",
        )


def _missing(marks: Sequence[Mark], what: str) -> Damaged:
    newest = max(marks, key=_age)
    why = f"{what}, but record {newest.seq} of log {newest.log_id[:12]} was acknowledged"
    return Damaged(why, ((1, newest.seq),), fix=_GONE)


def _known(marks: Sequence[Mark], identity: Identity) -> Damaged | None:
    """Another log than one that a mark is of, or the same one as it was before a restore.

    Marks that agree do not outweigh one that does not: those in the bucket come and go with the server.
    """
    if others := [mark for mark in marks if mark.log_id != identity.log_id]:
        newest = max(others, key=_age)
        why = f"the stream holds log {identity.log_id[:12]}, known here is log {newest.log_id[:12]} up to {newest.seq}"
        return Damaged(why, ((1, newest.seq),), code="log.another", fix=_ADOPT)
    if not marks:
        return None
    newest = max(marks, key=_age)
    if newest.epoch > identity.epoch:
        why = f"the log is of epoch {identity.epoch}, record {newest.seq} was acknowledged in epoch {newest.epoch}"
        return Damaged(why, ((_agreed(identity, marks) + 1, newest.seq),))
    return None


def _content(
    marks: Sequence[Mark], identity: Identity, view: View, gone: Sequence[Range]
) -> Damaged | None:
    """Whether the log reaches the marks, and holds there what was acknowledged."""
    binding = [mark for mark in marks if _binds(mark, identity, gone)]
    digests = view.digests or {}
    bad = sorted({mark.seq for mark in binding if digests.get(mark.seq) != mark.digest})
    if not bad:
        return None
    good = max((mark.seq for mark in binding if mark.seq < bad[0]), default=0)
    newest, deleted = bad[-1], ranges(sorted(view.deleted))
    if view.last_seq < newest:
        why = f"the log ends at {view.last_seq}, record {newest} was acknowledged"
        begin = view.last_seq + 1 if bad[0] > view.last_seq else good + 1
        return Damaged(why, ((begin, newest),), outside(deleted, gone))
    if all(digests.get(seq) is None for seq in bad):
        why = f"record {newest} was acknowledged and cannot be read"
        return Damaged(why, holes=outside(ranges(sorted({*bad, *view.deleted})), gone))
    why = f"record {newest} is not the one that was acknowledged"
    return Damaged(why, ((good + 1, newest),), outside(deleted, gone))


def _shape(view: View, gone: Sequence[Range]) -> Answer:
    """What shows without any mark: a beginning cut off, records taken out, a limit that will take some.

    Of what is known to be `gone` the leader counts some as there, until it makes its index anew.
    """
    if view.first_seq > 1:
        why = f"the log begins at {view.first_seq}: a limit or somebody has removed its beginning"
        return Damaged(_also(why, view), ((1, view.first_seq - 1),), fix=_GONE)
    if view.identity is None and view.messages:
        why = "record 1, which says what log this is, cannot be read"
        return Damaged(_also(why, view), holes=((1, 1),), fix=_GONE)
    deleted = ranges(sorted(view.deleted))
    told = outside(deleted, gone)
    gaps = view.last_seq - view.first_seq + 1 - view.messages if view.messages else 0
    untold = gaps - size_of(deleted) - size_of(outside(gone, deleted))
    if told or untold > 0:
        count = size_of(told) + max(untold, 0)
        why = f"{number_of(count, 'record')} {verb_of(count, 'is', 'are')} missing within the log"
        return Damaged(_also(why, view), holes=told, missing=count)
    if view.differences:
        why = "the log's stream is not configured as it must be: " + "; ".join(
            map(str, view.differences)
        )
        fix = f"set back what was set by hand: {set_back(view.differences)}; then writing goes on by itself"
        return Damaged(why, code="log.config_changed", fix=fix)
    return Sound()


def _also(why: str, view: View) -> str:
    return "; ".join((why, *map(str, view.differences)))


def _binds(mark: Mark, identity: Identity, gone: Sequence[Range]) -> bool:
    """Whether a mark says something of the log as it is: of what a restore could not bring back it does not."""
    if mark.log_id != identity.log_id or mark.epoch > identity.epoch:
        return False
    if any(first <= mark.seq <= last for first, last in gone):
        return False
    return identity.stands(mark)


def _agreed(identity: Identity, marks: Sequence[Mark]) -> int:
    return max((mark.seq for mark in marks if mark.epoch <= identity.epoch), default=0)


def _age(mark: Mark) -> tuple[int, int]:
    return mark.epoch, mark.seq


def _more(found: Sequence[object]) -> str:
    return f" and {len(found) - _SHOWN} more" if len(found) > _SHOWN else ""
