"""A run's log as its decider holds it: folded state, running hash, and the guard for the next commit.

Records reach the engine in log order, but they may lie between what it had seen and its own latest commit. So the
ledger keeps two states: `sure`, folded strictly in log order up to `seen`, and `state`, which lays the engine's own
later commits on top. A fact that turns up in between is folded where it belongs, and `state` is laid anew; an own
commit that is delivered becomes sure. Commits that are wrong in the light of it cannot exist: their guard is the
engine's own subject, and what closes a guarded call is guarded by the call's own.

A commit of another engine is folded only if it is the run's next one, and if its running hash is the one that was
folded. If it is not, something was missed, and the run is built anew from its first record: whoever only read on from
`seen` would never go back to what it lacks.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping

from partsong.contracts.envelope import START_HASH, Commit, chain, decode, encode_commit
from partsong.contracts.errors import InvalidInput, PartsongError
from partsong.contracts.events import Event
from partsong.contracts.fold import fold_message
from partsong.contracts.frozen import replace
from partsong.contracts.state import RunState
from partsong.contracts.subjects import Subjects
from partsong.log.port import Log, Record
from partsong.log.snapshots.folded import Folded, due, nearest, pack
from partsong.log.snapshots.port import Snapshot, Snapshots

__all__ = ["Ledger"]

_log = logging.getLogger("partsong.graph_engine")


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
        """Read on from `seen` to the log's head; if that does not fit what was folded, build the run anew.

        Raises:
            PartsongError: `log.history_changed`: the log is not what its commits say it was.
        """
        if self.seen == 0 and self._snapshots is not None:
            self._begin(await nearest(self._snapshots, self.run_id))
        try:
            await self._read_on()
        except _Misfit as misfit:
            _log.warning("run built anew", extra={"run": self.run_id, "why": str(misfit)})
            self._begin(Folded(RunState(self.run_id)))
            try:
                await self._read_on()
            except _Misfit as again:
                raise PartsongError(
                    "log.history_changed",
                    f"the log of {self.run_id} is not what its commits say: {again}",
                    where=self._filter,
                    fix="run `partsong run replay` on it, and restore its records from a mirror or a backup",
                    fault="platform",
                ) from again

    async def _read_on(self) -> None:
        records = [record async for record in self._log.read(self._filter, after=self.seen)]
        self._ahead.clear()
        hashes = {self.seen: self._hash}
        for record in records:
            self._take(record, hashes)
            hashes[record.seq] = self._hash
        self.state = self._sure

    def _begin(self, folded: Folded) -> None:
        self._sure, self._hash, self.seen = folded.state, folded.hash, folded.seq
        self.first_seq = folded.first_seq
        self.commit_seq = self._sure_commit = folded.commit_seq
        self.state = folded.state
        self._ahead.clear()

    @property
    def folded(self) -> Folded:
        """The run as far as it is sure."""
        return Folded(self._sure, self.seen, self._hash, self.first_seq, self._sure_commit)

    def snapshot(self) -> Snapshot | None:
        """What is worth keeping now: the run as far as it is sure, if enough has happened since the last time."""
        if not due(self._fresh, self._fresh_bytes, self._kept):
            return None
        packed = pack(self.folded)
        self._fresh, self._fresh_bytes, self._kept = 0, 0, len(packed.body)
        return packed

    def absorb(self, record: Record) -> bool:
        """Fold one record, which was delivered as the run's next one; False if it cannot be: then `refresh`."""
        if record.seq <= self.seen:
            return True
        if self._ahead and record.seq >= self._ahead[0][0]:
            return self.is_own(record) and self._become_sure()
        try:
            self._take(record, {self.seen: self._hash})
        except _Misfit as misfit:
            _log.warning("delivery does not fit", extra={"run": self.run_id, "why": str(misfit)})
            return False
        self.state = self._sure
        for seq, _, commit in self._ahead:
            self.state = fold_message(self.state, commit, seq)
        return True

    def is_own(self, record: Record) -> bool:
        """Whether it is the first commit of our own that is not sure yet."""
        return bool(self._ahead) and record.seq == self._ahead[0][0]

    def _become_sure(self) -> bool:
        """The first own commit is folded where it stands."""
        seq, body, commit = self._ahead.pop(0)
        self._sure = self.state if not self._ahead else fold_message(self._sure, commit, seq)
        self._hash = chain(self._hash, body)
        self.seen = self._sure_commit = seq
        self._fresh += 1
        self._fresh_bytes += len(body)
        return True

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

    def _take(self, record: Record, hashes: Mapping[int, bytes]) -> None:
        """Fold the next record; `hashes` are the running hashes known by now, by sequence."""
        try:
            message = decode(record.body)
        except InvalidInput as error:
            raise InvalidInput(
                error.problem.code,
                f"the log of {self.run_id} holds what cannot be read: {error.problem.message}",
                where=f"{record.subject} at {record.seq}",
                fix="run `partsong run replay` on it, and update Partsong if the log is newer",
                fault="platform",
            ) from error
        if isinstance(message, Commit):
            self._check(message, record.seq, hashes)
            self.commit_seq = self._sure_commit = record.seq
        self.seen = record.seq
        self.first_seq = self.first_seq or record.seq
        self._hash = chain(self._hash, record.body)
        self._fresh += 1
        self._fresh_bytes += len(record.body)
        self._sure = fold_message(self._sure, message, record.seq)

    def _check(self, commit: Commit, seq: int, hashes: Mapping[int, bytes]) -> None:
        """Whether a commit is the next one, and its decider had folded what was folded here."""
        if self._ahead or commit.n != self._sure.commits + 1:
            raise _Misfit(f"commit {commit.n} at {seq} comes after commit {self.state.commits}")
        if commit.seen > self.seen:
            raise _Misfit(f"commit {commit.n} at {seq} had seen {commit.seen}, here is {self.seen}")
        known = hashes.get(commit.seen)
        if known is not None and known.hex()[:32] != commit.prev_hash:
            said = f"with the running hash {commit.prev_hash}, here it is {known.hex()[:32]}"
            raise _Misfit(f"commit {commit.n} at {seq} was decided on {commit.seen} {said}")


class _Misfit(Exception):
    """A commit that does not follow from what was folded."""
