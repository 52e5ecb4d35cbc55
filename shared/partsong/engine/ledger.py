"""A run's log as its decider holds it: folded state, running hash, and the guard for the next commit.

There are two states. `sure` is folded strictly in log order up to `seen`, from what was read and then from what the
partition's feed delivers, in one order. `state` lays the engine's own later commits on top, as their appends are
confirmed before the feed delivers them. When it does, they become sure without being read again; a fact that turns up
before one of them is folded where it belongs, and `state` is laid anew. Commits that are wrong in the light of it cannot
exist: their guard is the engine's own subject, and what closes a guarded call is guarded by the call's own.

What another engine has committed is folded only if it is the next commit and vouches for the very history held here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from partsong.contracts.errors import Conflict
from partsong.contracts.events import Event
from partsong.contracts.events.envelope import (
    START_HASH,
    Commit,
    Report,
    chain,
    content_hash,
    encode_commit,
)
from partsong.contracts.frozen import replace
from partsong.contracts.state.fold import fold_message
from partsong.contracts.state.state import RunState
from partsong.contracts.wire.subjects import Subjects
from partsong.log.port import Log, Record
from partsong.log.reading import read_message
from partsong.log.snapshots.folded import Folded, due, nearest, pack
from partsong.log.snapshots.port import Snapshot, Snapshots

__all__ = ["HistoryChanged", "Ledger"]


class HistoryChanged(Conflict):
    """A commit does not continue the history held here."""

    def __init__(self, run_id: str, seq: int, why: str) -> None:
        super().__init__(
            "log.history_changed",
            f"the log of {run_id} does not continue what was folded of it: {why}",
            where=f"seq {seq}",
            fix="`partsong run replay` names the range; restore it from a mirror or a backup",
            fault="platform",
        )


@dataclass(slots=True)
class _Own:
    """A commit of this engine that the feed has not delivered yet."""

    commit: Commit
    body: bytes
    before: RunState
    after: RunState
    seq: int = 0
    """0 as long as its append is not confirmed."""


class Ledger:
    """One run, read from and committed to a log. Not for two tasks at once."""

    def __init__(
        self, log: Log, subjects: Subjects, run_id: str, snapshots: Snapshots | None = None
    ) -> None:
        """With `snapshots`, the first reading begins at the newest one."""
        self.run_id = run_id
        self._state: RunState | None = RunState(run_id)
        self.seen = 0
        self.first_seq = 0
        """Sequence of the run's first record."""
        self.commit_seq = 0
        """Sequence of the run's newest commit: what the next one expects."""
        self._fresh, self._fresh_bytes, self._kept = 0, 0, 0
        self._log, self._snapshots = log, snapshots
        self._subjects = subjects
        self._subject = subjects.engine(run_id)
        self._filter = subjects.run(run_id)
        self._sure = self.state
        self._sure_commit = 0
        self._hash = START_HASH
        self._hashes: dict[int, bytes] = {0: START_HASH}
        """The running hash after the records that the next commit may name as the last one it has seen."""
        self._own: list[_Own] = []

    async def refresh(self, upto: int | None = None) -> None:
        """Read on from `seen`, to the log's head or to `upto`; what was committed here is read like everything else.

        Raises:
            HistoryChanged: the log does not continue what was folded.
            InvalidInput, Unavailable: it holds what cannot be read.
        """
        if self.seen == 0 and self._snapshots is not None:
            self._begin(await nearest(self._snapshots, self.run_id, upto))
        records = [
            record async for record in self._log.read(self._filter, after=self.seen, upto=upto)
        ]
        self._own.clear()
        self.commit_seq = self._sure_commit
        for record in records:
            self._take(record)
        self._state = self._sure

    def _begin(self, folded: Folded) -> None:
        self._sure, self._hash, self.seen = folded.state, folded.hash, folded.seq
        self._hashes = {folded.seq: folded.hash}
        self.first_seq = folded.first_seq
        self.commit_seq = self._sure_commit = folded.commit_seq

    @property
    def state(self) -> RunState:
        """The run as far as it is known: the own commits whose appends are confirmed are laid on what is sure.

        Only when somebody asks: a thousand reports may be delivered before an own commit is, and laying that on each
        of them would fold it a thousand times.
        """
        if self._state is None:
            state = self._sure
            for own in self._own:
                if own.seq:
                    state = own.after if state is own.before else _laid(state, own)
            self._state = state
        return self._state

    @property
    def known(self) -> int:
        """Sequence of the newest record that `state` has in it: an own commit may not have been delivered yet."""
        return max(self.seen, self.commit_seq)

    @property
    def folded(self) -> Folded:
        """The run as far as it is sure."""
        return Folded(self._sure, self.seen, self._hash, self.first_seq, self._sure_commit)

    def snapshot(self) -> Snapshot | None:
        """What is worth keeping now: the run as far as it is sure, if enough has happened since the last time."""
        if self._sure.newer is not None or not due(self._fresh, self._fresh_bytes, self._kept):
            return None
        packed, size = pack(self.folded)
        self._fresh, self._fresh_bytes, self._kept = 0, 0, size
        return packed

    def fold(self, record: Record) -> bool:
        """Fold the run's next record in the order of the log; whether it was news, not a commit of this ledger.

        Raises:
            HistoryChanged: it does not continue what was folded; begin anew from the log.
            InvalidInput, Unavailable: it cannot be read.
        """
        if record.seq <= self.seen:
            return False
        own = self._own[0] if self._own else None
        if own is not None and record.id == own.commit.id:
            self._confirm(own, record)
            self._state = None
            return False
        commits = self._sure.commits
        self._take(record)
        if self._sure.commits != commits:
            self._own.clear()  # another engine was first: ours was refused, or will be
            self.commit_seq = self._sure_commit
        self._state = None
        return True

    async def commit(
        self, events: tuple[Event, ...], after: RunState, headers: Mapping[str, str] | None = None
    ) -> int:
        """Append one decision; `after` is the state it leads to. Returns its sequence.

        Raises:
            WrongSequence: another engine was first; fold what it committed, then decide again.
        """
        commit, body = encode_commit(
            self.run_id, self.state.commits + 1, self.seen, self._hash, events
        )
        own = _Own(commit, body, self.state, replace(after, commits=commit.n))
        self._own.append(own)
        try:
            done = await self._log.append(
                self._subject, body, id=commit.id, expect=self.commit_seq, headers=headers
            )
        except BaseException:
            if own in self._own and not own.seq:
                self._own.remove(own)
            raise
        self.first_seq = self.first_seq or done.seq
        if own in self._own:  # the feed has not delivered it yet
            own.seq = self.commit_seq = done.seq
            self._state = None
        return done.seq

    def settle(self) -> None:
        """Take the own commits as sure: for a decider that knows itself to be the only writer."""
        for own in self._own:
            self._hash = chain(self._hash, own.body)
            self.seen = self._sure_commit = own.seq
        if self._own:
            self._sure = self.state
            self._hashes = {self.seen: self._hash}
            self._own.clear()

    def _confirm(self, own: _Own, record: Record) -> None:
        """The feed delivers an own commit: it is sure now, and need not be read."""
        self._own.pop(0)
        unmoved = self._sure is own.before
        self._sure = own.after if unmoved else fold_message(self._sure, own.commit, record.seq)
        self._advance(record, own.commit)

    def _take(self, record: Record) -> None:
        message = read_message(self._subjects, record)
        if isinstance(message, Commit):
            self._check(record, message)
        self._sure = fold_message(self._sure, message, record.seq)
        self._advance(record, message)

    def _advance(self, record: Record, message: Commit | Report) -> None:
        self.seen = record.seq
        self.first_seq = self.first_seq or record.seq
        self._hash = chain(self._hash, record.body)
        if isinstance(message, Commit):
            self._sure_commit = record.seq
            self.commit_seq = max(self.commit_seq, record.seq)
            self._hashes = {at: h for at, h in self._hashes.items() if at >= message.seen}
        self._hashes[record.seq] = self._hash
        self._fresh += 1
        self._fresh_bytes += len(record.body)

    def _check(self, record: Record, commit: Commit) -> None:
        """Refuse a commit that is not the next one, or that was decided on another history."""
        if commit.n != self._sure.commits + 1:
            why = f"after commit {self._sure.commits} comes commit {commit.n}"
            raise HistoryChanged(self.run_id, record.seq, why)
        if content_hash(record.body) != commit.hash:
            why = f"commit {commit.n} is not what its own hash says"
            raise HistoryChanged(self.run_id, record.seq, why)
        known = self._hashes.get(commit.seen)
        if known is None and commit.seen < min(self._hashes):
            return  # decided before what the snapshot or the commit before it has seen
        if known is None or known.hex()[:32] != commit.prev_hash:
            why = f"commit {commit.n} was decided on records up to {commit.seen} that are not these"
            raise HistoryChanged(self.run_id, record.seq, why)


def _laid(state: RunState, own: _Own) -> RunState:
    own.before, own.after = state, fold_message(state, own.commit, own.seq)
    return own.after
