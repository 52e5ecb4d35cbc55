"""How the log stands, for whoever asks from outside the services: `doctor`, `bus status`, `log`."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from nats.aio.client import Client

from partsong.contracts.errors import Unavailable
from partsong.contracts.ranges import Range
from partsong.contracts.wire.damage import Damaged, Sound, Unknown, View, accepted_note, merged
from partsong.contracts.wire.marks import Identity, Mark
from partsong.contracts.wire.subjects import Subjects
from partsong.log.full import log_mute
from partsong.log.link import NO_ANSWER
from partsong.log.marks import BucketMarks, FileMarks, Finding
from partsong.runtime import clock
from partsong.runtime.log_monitor import LogMonitor
from partsong.runtime.streams import Names, log_differences

__all__ = ["Standing", "log_standing", "onlooker", "standing_error", "tell"]


@dataclass(frozen=True, slots=True)
class Standing:
    """How the log stands, in a form that can be printed."""

    log: str
    """`sound`, `damaged` or `unknown`."""
    says: str
    log_id: str | None = None
    """None, as is all of the log that is not known, where its first record cannot be read."""
    epoch: int | None = None
    records: int = 0
    marked: int | None = None
    """The newest record that a mark vouches for; 0 if none does."""
    lost: tuple[Range, ...] = ()
    """Within these something is lost; `holes` are the very records."""
    holes: tuple[Range, ...] = ()
    runs: tuple[str, ...] = ()
    """Runs that are damaged: by that, or since a restore."""
    identity: Identity | None = None


@asynccontextmanager
async def onlooker(nc: Client, subjects: Subjects, data: Path) -> AsyncIterator[LogMonitor]:
    """A monitor that looks when it is asked, knows the marks of the data directory and the bucket, and keeps none."""
    names = Names.of(subjects)
    bucket = BucketMarks(nc, names.marks, "onlooker")
    monitor = LogMonitor(
        nc,
        subjects,
        names.log,
        file=FileMarks(data / "marks.json", subjects.prefix),
        bucket=bucket,
        differences=partial(log_differences, subjects),
    )
    try:
        yield monitor
    finally:
        await monitor.stop()


async def log_standing(
    nc: Client, subjects: Subjects, data: Path, *, room: bool = False
) -> Standing:
    """How the log stands now; with `room`, a write is tried as well.

    Raises:
        Unavailable: `log.full`, or `log.mute`: nobody answered the write.
    """
    async with onlooker(nc, subjects, data) as monitor:
        answer, view = await monitor.look()
        marks = monitor.marks
    if room and isinstance(answer, Sound):
        bucket = BucketMarks(nc, Names.of(subjects).marks, "onlooker")
        try:
            await bucket.probe()
        except Unavailable as error:
            if error.problem.code != NO_ANSWER:
                raise
            raise Unavailable.of(log_mute()) from error
        finally:
            await bucket.close()
    return _standing(answer, view if isinstance(view, View) else None, marks)


async def tell(nc: Client, subjects: Subjects, found: Standing, damage: Damaged) -> None:
    """Let all services know of a damage that reading the log has found, beside what is known."""
    if found.identity is None:
        return
    bucket = BucketMarks(nc, Names.of(subjects).marks, "onlooker")
    try:
        known = await bucket.finding()
        if known is not None and known.of(found.identity):
            damage = merged([known.damage, damage])
        mine = found.identity
        await bucket.tell(Finding(mine.log_id, mine.epoch, damage, "verify", clock.now_text()))
    finally:
        await bucket.close()


def _standing(
    answer: Sound | Damaged | Unknown, view: View | None, marks: tuple[Mark, ...]
) -> Standing:
    identity = view.identity if view else None
    head = view.last_seq if view else 0
    known: tuple[str | None, int | None, int, int | None] = (None, None, head, None)
    if identity is not None:
        marked = max((m.seq for m in marks if m.log_id == identity.log_id), default=0)
        known = (identity.log_id, identity.epoch, head, marked)
    match answer:
        case Sound():
            said = f"the log's head is at {head}, marked up to {known[3] or 0}"
            if note := accepted_note(identity):
                said = f"{said}; {note}"
            runs = tuple(sorted(identity.damaged_runs)) if identity else ()
            return Standing("sound", said, *known, runs=runs, identity=identity)
        case Damaged() as found:
            fix = found.problem.fix
            return Standing(
                "damaged",
                f"{found}; {fix}" if fix else str(found),
                *known,
                found.lost,
                found.holes,
                found.runs,
                identity,
            )
        case Unknown(why=why):
            return Standing("unknown", why, *known, identity=identity)


def standing_error(found: Standing) -> Unavailable | None:
    """What to raise where a log must be sound."""
    if found.log == "sound":
        return None
    return Unavailable(f"log.{found.log}", found.says, where="log", fault="platform")
