"""A run folded up to some place of its log, by way of the nearest snapshot."""

from __future__ import annotations

import logging
from contextlib import aclosing
from dataclasses import dataclass

from partsong.contracts.errors import InvalidInput, Unavailable
from partsong.contracts.events.envelope import START_HASH, Commit, chain
from partsong.contracts.state.fold import fold_message
from partsong.contracts.state.serialization import dump_state, load_state, version
from partsong.contracts.state.state import RunState
from partsong.contracts.wire.subjects import Subjects
from partsong.log.packed import packed_text, text_of, unpacked
from partsong.log.port import Log, Record
from partsong.log.reading import Unreadable, message_of, read_message
from partsong.log.snapshots.port import Snapshot, Snapshots

__all__ = ["Folded", "due", "fold_readable", "fold_to", "nearest", "pack"]

_FEWEST = 32

_log = logging.getLogger("partsong.log")


@dataclass(frozen=True, slots=True)
class Folded:
    """A run after some record of its log, and what its next writer has to know."""

    state: RunState
    seq: int = 0
    """The last record folded."""
    hash: bytes = START_HASH
    """The running hash up to there."""
    first_seq: int = 0
    commit_seq: int = 0
    """The newest commit of the run's engine."""

    def after(self, record: Record, subjects: Subjects) -> Folded:
        """One record further.

        Raises:
            InvalidInput, Unavailable: the record cannot be read, or has no business there.
        """
        message = read_message(subjects, record)
        return Folded(
            fold_message(self.state, message, record.seq),
            record.seq,
            chain(self.hash, record.body),
            self.first_seq or record.seq,
            record.seq if isinstance(message, Commit) else self.commit_seq,
        )


def due(records: int, size: int, last: int) -> bool:
    """Whether a snapshot is worth its writing: after so many records of so many bytes, the last one was `last` bytes.

    Small states are kept every 32 records, which fold in about ten milliseconds. Of big ones all snapshots together, as
    they are before they are compressed, stay within eight times the log: to make them is then linear in it.
    """
    return records >= _FEWEST and 8 * size >= last


def pack(folded: Folded) -> tuple[Snapshot, int]:
    """The snapshot of a run, and its bytes before they were compressed."""
    body = {
        "first_seq": folded.first_seq,
        "commit_seq": folded.commit_seq,
        "state": dump_state(folded.state, shared=True),
    }
    text = text_of(body)
    kept = packed_text(text)
    state = folded.state
    return Snapshot(state.run_id, folded.seq, version(), kept, folded.hash.hex()), len(text)


def _unpack(snapshot: Snapshot) -> Folded:
    body = unpacked(snapshot.body)
    return Folded(
        load_state(snapshot.run_id, body["state"]),
        snapshot.seq,
        bytes.fromhex(snapshot.hash),
        body["first_seq"],
        body["commit_seq"],
    )


async def nearest(snapshots: Snapshots, run_id: str, up_to: int | None = None) -> Folded:
    """The run as its newest snapshot up to a sequence has it; from its beginning, if none can be read."""
    try:
        found = await snapshots.newest(run_id, up_to=up_to, version=version())
        if found is not None:
            return _unpack(found)
    except (Unavailable, InvalidInput, ValueError, KeyError, TypeError) as error:
        _log.info("no snapshot", extra={"run": run_id, "problem": repr(error)})
    return Folded(RunState(run_id))


async def fold_readable(log: Log, subjects: Subjects, run_id: str, snapshots: Snapshots) -> Folded:
    """The run after the last of its records before the first that cannot be read, or after all of them.

    Raises:
        Unavailable: the log does not answer, or lacks records.
    """
    folded = await nearest(snapshots, run_id)
    async with aclosing(log.read(subjects.run(run_id), after=folded.seq)) as records:
        async for record in records:
            if isinstance(message_of(subjects, record), Unreadable):
                break
            folded = folded.after(record, subjects)
    return folded


async def fold_to(
    log: Log, subjects: Subjects, run_id: str, snapshots: Snapshots, at: int | None = None
) -> Folded:
    """The run after the last of its records up to `at`, or after all of them.

    Raises:
        InvalidInput: the log holds what cannot be read.
        Unavailable: the log does not answer.
    """
    folded = await nearest(snapshots, run_id, at)
    async for record in log.read(subjects.run(run_id), after=folded.seq, upto=at):
        folded = folded.after(record, subjects)
    return folded
