"""Whether a log still is what it was: a pure judgement of what its leader said against what is known from outside.

There are three answers, and only one of them is an alarm. `Sound`: all agrees. `Damaged`: the leader answered and
disagrees with what is known; what that means in words and sequences is in it. `Unknown`: nobody answered, which says
nothing about the log.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import assert_never

from partsong.contracts.errors import Problem, Unavailable
from partsong.contracts.marks import Identity, Mark

__all__ = [
    "DAMAGED",
    "Answer",
    "Damaged",
    "Gone",
    "Range",
    "Silent",
    "Sound",
    "Unknown",
    "View",
    "assess",
    "damage_error",
    "merged",
    "ranges",
    "wanted",
]

Range = tuple[int, int]
"""First and last sequence."""

DAMAGED = frozenset({"log.damaged", "log.another", "log.restored", "log.config_changed"})
"""Codes of the errors with which a log is not written to: the same request gets the same answer until a person acts."""

_RESTORE = "run `partsong log verify`, then `partsong log restore` from a backup or a mirror; nothing is written until then"
_MEND = "these runs are not written to, all others go on; run `partsong log verify`, then restore from a backup or a mirror"
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
    differences: tuple[str, ...] = ()
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
    lost: Range | None = None
    """What is no longer as it was acknowledged; None if nothing is known to be lost."""
    holes: tuple[Range, ...] = ()
    """Sequences within the log that cannot be read."""
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

    def __str__(self) -> str:
        return self.problem.message

    @property
    def problem(self) -> Problem:
        """The damage as an error that travels."""
        said = [self.why]
        if self.lost is not None:
            said.append(f"lost: records {_span(self.lost)}")
        if self.holes:
            said.append(
                f"not readable: {', '.join(map(_span, self.holes[:20]))}{_more(self.holes)}"
            )
        if self.runs:
            said.append(f"runs: {', '.join(self.runs[:20])}{_more(self.runs)}")
        fix = self.fix or (_MEND if self.contained else _RESTORE)
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
    return sorted({mark.seq for mark in marks if _binds(mark, identity)})


def assess(marks: Sequence[Mark], said: View | Gone | Silent) -> Answer:
    """Judge what the leader said against the marks; without marks a log is taken as it is."""
    match said:
        case Silent(why=why):
            return Unknown(why)
        case Gone():
            return _missing(marks, "there is no stream") if marks else Sound()
        case View(identity=identity):
            if identity is not None:
                return _known(marks, identity) or _content(marks, identity, said) or _shape(said)
            empty = not said.messages and said.first_seq <= 1
            return _missing(marks, "the stream is empty") if marks and empty else _shape(said)
        case _:
            assert_never(said)


def merged(found: Sequence[Damaged]) -> Damaged:
    """Several damages as one."""
    if len(found) == 1:
        return found[0]
    spans = [damage.lost for damage in found if damage.lost is not None]
    return Damaged(
        "; ".join(damage.why for damage in found),
        (min(a for a, _ in spans), max(b for _, b in spans)) if spans else None,
        tuple(hole for damage in found for hole in damage.holes),
        tuple(sorted({run for damage in found for run in damage.runs})),
        contained=all(damage.contained for damage in found),
        missing=sum(damage.missing for damage in found),
    )


def ranges(seqs: Sequence[int]) -> tuple[Range, ...]:
    """Sequences, ascending, as ranges without gaps."""
    runs = groupby(enumerate(seqs), key=lambda pair: pair[1] - pair[0])
    found = ([seq for _, seq in members] for _, members in runs)
    return tuple((run[0], run[-1]) for run in found)


def _missing(marks: Sequence[Mark], what: str) -> Damaged:
    newest = max(marks, key=_age)
    why = f"{what}, but record {newest.seq} of log {newest.log_id[:12]} was acknowledged"
    fix = f"{_RESTORE}; for a server that is to begin a new log: `partsong log adopt --new`"
    return Damaged(why, (1, newest.seq), fix=fix)


def _known(marks: Sequence[Mark], identity: Identity) -> Damaged | None:
    """Another log than the one the marks are of, or the same one as it was before a restore."""
    if not marks:
        return None
    ours = [mark for mark in marks if mark.log_id == identity.log_id]
    newest = max(ours or marks, key=_age)
    if not ours:
        why = f"the stream holds log {identity.log_id[:12]}, known here is log {newest.log_id[:12]} up to {newest.seq}"
        return Damaged(why, (1, newest.seq), code="log.another", fix=_ADOPT)
    if newest.epoch > identity.epoch:
        why = f"the log is of epoch {identity.epoch}, record {newest.seq} was acknowledged in epoch {newest.epoch}"
        return Damaged(why, (_agreed(identity, ours) + 1, newest.seq))
    return None


def _content(marks: Sequence[Mark], identity: Identity, view: View) -> Damaged | None:
    """Whether the log reaches the marks, and holds there what was acknowledged."""
    binding = [mark for mark in marks if _binds(mark, identity)]
    digests = view.digests or {}
    bad = sorted({mark.seq for mark in binding if digests.get(mark.seq) != mark.digest})
    if not bad:
        return None
    good = max((mark.seq for mark in binding if mark.seq < bad[0]), default=0)
    newest, deleted = bad[-1], ranges(sorted(view.deleted))
    if view.last_seq < newest:
        why = f"the log ends at {view.last_seq}, record {newest} was acknowledged"
        begin = view.last_seq + 1 if bad[0] > view.last_seq else good + 1
        return Damaged(why, (begin, newest), deleted)
    if all(digests.get(seq) is None for seq in bad):
        why = f"record {newest} was acknowledged and cannot be read"
        return Damaged(why, holes=ranges(sorted({*bad, *view.deleted})))
    why = f"record {newest} is not the one that was acknowledged"
    return Damaged(why, (good + 1, newest), deleted)


def _shape(view: View) -> Answer:
    """What shows without any mark: a beginning cut off, records taken out, a limit that will take some."""
    if view.first_seq > 1:
        why = f"the log begins at {view.first_seq}: a limit or somebody has removed its beginning"
        return Damaged(_also(why, view), (1, view.first_seq - 1))
    if view.identity is None and view.messages:
        why = "record 1, which says what log this is, cannot be read"
        return Damaged(_also(why, view), holes=((1, 1),))
    gaps = view.last_seq - view.first_seq + 1 - view.messages if view.messages else 0
    if view.deleted or gaps:
        why = f"{max(gaps, len(view.deleted))} records are missing within the log"
        return Damaged(_also(why, view), holes=ranges(sorted(view.deleted)))
    if view.differences:
        why = "the log's stream is not configured as it must be: " + "; ".join(view.differences)
        fix = "set these fields back; writing goes on by itself if nothing was lost meanwhile"
        return Damaged(why, code="log.config_changed", fix=fix)
    return Sound()


def _also(why: str, view: View) -> str:
    return "; ".join((why, *view.differences))


def _binds(mark: Mark, identity: Identity) -> bool:
    """Whether a mark says something of the log as it is: of what a restore could not bring back it does not."""
    if mark.log_id != identity.log_id or mark.epoch > identity.epoch:
        return False
    kept = identity.kept_of(mark.epoch)
    return kept is None or mark.seq <= kept


def _agreed(identity: Identity, marks: Sequence[Mark]) -> int:
    return max((mark.seq for mark in marks if mark.epoch <= identity.epoch), default=0)


def _age(mark: Mark) -> tuple[int, int]:
    return mark.epoch, mark.seq


def _span(found: Range) -> str:
    first, last = found
    return str(first) if first == last else f"{first} to {last}"


def _more(found: Sequence[object]) -> str:
    return f" and {len(found) - 20} more" if len(found) > 20 else ""
