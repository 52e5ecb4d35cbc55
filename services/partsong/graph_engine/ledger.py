"""A run's log as its decider holds it: folded state, running hash, and the guard for the next commit.

Facts reach the engine in log order, but they may lie between what it had seen and its own latest commit. So the
ledger keeps two states: `sure`, folded strictly in log order up to `seen`, and `state`, which lays the engine's own
later commits on top. A fact that turns up in between is folded where it belongs, and `state` is laid anew. Commits
that are wrong in the light of it cannot exist: their guard is the engine's own subject, and what closes a guarded
call is guarded by the call's own.
"""

from __future__ import annotations

from collections.abc import Mapping

from partsong.contracts.envelope import START_HASH, Commit, chain, decode_known, encode_commit
from partsong.contracts.errors import InvalidInput
from partsong.contracts.events import Event
from partsong.contracts.fold import fold_message
from partsong.contracts.frozen import replace
from partsong.contracts.state import RunState
from partsong.contracts.subjects import Subjects
from partsong.log.port import Log, Record
from partsong.log.snapshots.folded import Folded, due, nearest, pack
from partsong.log.snapshots.port import Snapshot, Snapshots

__all__ = ["Ledger"]


class Ledger:
    """One run, read from and committed to a log. Not for two tasks at once."""

    def __init__(
        self, log: Log, subjects: Subjects, run_id: str, snapshots: Snapshots | None = None
    ) -> None:
        """With `snapshots`, the first reading begins at the newest one."""
        self.run_id = run_id
        self.state = RunState(run_id)
        self.seen = 0
        self.first_seq = 0
        """Sequence of the run's first record."""
        self.commit_seq = 0
        """Sequence of the run's newest commit: what the next one expects."""
        self._fresh, self._fresh_bytes, self._kept = 0, 0, 0
        self._log, self._snapshots = log, snapshots
        self._subject = subjects.engine(run_id)
        self._filter = subjects.run(run_id)
        self._sure = self.state
        self._sure_commit = 0
        self._hash = START_HASH
        self._ahead: list[tuple[int, bytes, Commit]] = []

    async def refresh(self) -> None:
        """Read on from `seen` to the log's head."""
        if self.seen == 0 and self._snapshots is not None:
            self._begin(await nearest(self._snapshots, self.run_id))
        records = [record async for record in self._log.read(self._filter, after=self.seen)]
        self._ahead.clear()
        for record in records:
            self._take(record)
        self.state = self._sure

    def _begin(self, folded: Folded) -> None:
        self._sure, self._hash, self.seen = folded.state, folded.hash, folded.seq
        self.first_seq = folded.first_seq
        self.commit_seq = self._sure_commit = folded.commit_seq

    @property
    def folded(self) -> Folded:
        """The run as far as it is sure."""
        return Folded(self._sure, self.seen, self._hash, self.first_seq, self._sure_commit)

    def snapshot(self) -> Snapshot | None:
        """What is worth keeping now: the run as far as it is sure, if enough has happened since the last time."""
        if self._sure.newer is not None or not due(self._fresh, self._fresh_bytes, self._kept):
            return None
        packed = pack(self.folded)
        self._fresh, self._fresh_bytes, self._kept = 0, 0, len(packed.body)
        return packed

    def absorb(self, record: Record) -> None:
        """Fold one record that is known to be the run's next one, own commits aside."""
        if record.seq <= self.seen:
            return
        if not self._ahead:
            self._take(record)
            self.state = self._sure
            return
        earlier = [own for own in self._ahead if own[0] < record.seq]
        later = [own for own in self._ahead if own[0] > record.seq]
        if later:
            for seq, body, commit in earlier:
                self._sure = fold_message(self._sure, commit, seq)
                self._hash = chain(self._hash, body)
        else:
            self._sure = self.state
            for _, body, _ in earlier:
                self._hash = chain(self._hash, body)
        if earlier:
            self._sure_commit = earlier[-1][0]
            self._fresh += len(earlier)
            self._fresh_bytes += sum(len(body) for _, body, _ in earlier)
        self._ahead = later
        self._take(record)
        self.state = self._sure
        for seq, _, commit in later:
            self.state = fold_message(self.state, commit, seq)

    async def commit(
        self, events: tuple[Event, ...], after: RunState, headers: Mapping[str, str] | None = None
    ) -> int:
        """Append one decision; `after` is the state it leads to. Returns its sequence.

        Raises:
            WrongSequence: another engine was first; `refresh`, then decide again.
        """
        commit, body = encode_commit(
            self.run_id, self.state.commits + 1, self.seen, self._hash, events
        )
        done = await self._log.append(
            self._subject, body, id=commit.id, expect=self.commit_seq, headers=headers
        )
        self.state = replace(after, commits=commit.n)
        self.commit_seq = done.seq
        self.first_seq = self.first_seq or done.seq
        self._ahead.append((done.seq, body, commit))
        return done.seq

    def settle(self) -> None:
        """Take the own commits as sure: for a decider that knows itself to be the only writer."""
        if not self._ahead:
            return
        for _, body, _ in self._ahead:
            self._hash = chain(self._hash, body)
        self.seen = self._sure_commit = self._ahead[-1][0]
        self._sure = self.state
        self._ahead.clear()

    def _take(self, record: Record) -> None:
        self.seen = record.seq
        self.first_seq = self.first_seq or record.seq
        self._hash = chain(self._hash, record.body)
        try:
            message = decode_known(record.body)
        except InvalidInput as error:
            raise InvalidInput(
                error.problem.code,
                f"the log of {self.run_id} holds what cannot be read: {error.problem.message}",
                where=f"{record.subject} at {record.seq}",
                fix="run `partsong run replay` on it, and update Partsong if the log is newer",
                fault="platform",
            ) from error
        if isinstance(message, Commit):
            self.commit_seq = self._sure_commit = record.seq
        self._fresh += 1
        self._fresh_bytes += len(record.body)
        self._sure = fold_message(self._sure, message, record.seq)
