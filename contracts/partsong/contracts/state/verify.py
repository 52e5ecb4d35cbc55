"""A run read again from its log: what it amounts to, and whether the log still is what its commits say it was.

Every commit vouches for two things: its own content (`hash`), and all that its decider had folded (`prev_hash`, the
running hash of the run's records up to `seen`). So a lost, changed or inserted record shows at the next commit that
had seen it. What lies behind the newest commit's `seen` nobody vouches for yet.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from partsong.contracts.errors import InvalidInput, Problem
from partsong.contracts.events.envelope import START_HASH, Commit, chain, content_hash, decode_known
from partsong.contracts.state.fold import fold_message
from partsong.contracts.state.state import RunState

__all__ = ["Replay", "replay", "sound_part"]

_RESTORE = "restore the records of this range from a mirror or a backup of the log"


@dataclass(frozen=True, slots=True)
class Replay:
    """What a run's log amounts to, folded anew; nobody was called for it."""

    run_id: str
    state: RunState
    records: int
    events: int
    verified: int
    """Sequence up to which a commit vouches for every record of the run, its content included."""
    findings: tuple[Problem, ...] = ()
    """What is wrong with the log, in its order; `where` names the sequence."""

    @property
    def ok(self) -> bool:
        """Whether the log is what its commits say it was."""
        return not self.findings


@dataclass(slots=True)
class _Reader:
    """What is known of a log when it has been read up to some record."""

    run_id: str
    state: RunState
    hashes: dict[int, bytes] = field(default_factory=lambda: {0: START_HASH})
    """The running hash after each record."""
    hash: bytes = START_HASH
    records: int = 0
    events: int = 0
    commits: int = 0
    verified: int = 0
    broken: bool = False
    """A commit's `prev_hash` was wrong: so would be all that follow."""
    findings: list[Problem] = field(default_factory=list)
    bad: Mapping[int, Problem] = field(default_factory=dict)


def replay(
    run_id: str,
    records: Iterable[tuple[int, bytes]],
    bad: Mapping[int, Problem] | None = None,
) -> Replay:
    """Fold a run's records, given as (sequence, body) in log order, and check every commit among them.

    `bad` says of which records whoever has fetched them knows that they cannot be read, and why; the body of one that
    could not be had is empty.
    """
    reader = _Reader(run_id, RunState(run_id), bad=bad or {})
    for seq, body in records:
        _take(reader, seq, body)
    return Replay(
        run_id, reader.state, reader.records, reader.events, reader.verified, tuple(reader.findings)
    )


def sound_part(
    run_id: str,
    records: Sequence[tuple[int, bytes]],
    bad: Mapping[int, Problem] | None = None,
) -> Sequence[tuple[int, bytes]]:
    """The records of a run before the first one that shows that something is wrong with its log; `bad` as in `replay`."""
    reader = _Reader(run_id, RunState(run_id), bad=bad or {})
    for count, (seq, body) in enumerate(records):
        _take(reader, seq, body)
        if reader.findings:
            return records[:count]
    return records


def _take(reader: _Reader, seq: int, body: bytes) -> None:
    reader.records += 1
    try:
        if (why := reader.bad.get(seq)) is not None:
            reader.broken = reader.broken or not body  # nobody can say how the hash goes on
            raise InvalidInput.of(why)
        message = decode_known(body)
    except InvalidInput as error:
        _found(reader, seq, "log.unreadable", error.problem.message, error.problem.fix or _RESTORE)
    else:
        if message.run != reader.run_id:
            said = f"a record of run {message.run} stands in the log of {reader.run_id}"
            _found(reader, seq, "log.other_run", said)
        if isinstance(message, Commit):
            _check_commit(reader, seq, body, message)
        if message.newer is not None:
            fix = message.newer.fix or _RESTORE
            _found(reader, seq, "log.newer", f"needs a newer reader: {message.newer.message}", fix)
        reader.events += len(message.events)
        reader.state = fold_message(reader.state, message, seq)
    reader.hash = chain(reader.hash, body)
    reader.hashes[seq] = reader.hash


def _check_commit(reader: _Reader, seq: int, body: bytes, commit: Commit) -> None:
    if commit.n != reader.commits + 1:
        said = f"after commit {reader.commits} comes commit {commit.n}"
        _found(reader, seq, "log.commit_missing", said)
    reader.commits = commit.n
    digest = content_hash(body)
    if digest != commit.hash:
        said = f"commit {commit.n} says its content has the hash {commit.hash}, it has {digest}"
        _found(reader, seq, "log.commit_changed", said)
    if not reader.broken:
        _check_history(reader, seq, commit)


def _check_history(reader: _Reader, seq: int, commit: Commit) -> None:
    """Compare what the commit's decider had folded with what the log holds."""
    before = reader.hashes.get(commit.seen)
    between = f"after {reader.verified} and up to {commit.seen}"
    if before is None:
        reader.broken = True
        said = f"commit {commit.n} had seen record {commit.seen}, which the log does not hold"
        _found(reader, seq, "log.record_missing", f"{said}; look {between}")
    elif before.hex()[:32] != commit.prev_hash:
        reader.broken = True
        said = (
            f"commit {commit.n} was decided on records up to {commit.seen} with the running hash {commit.prev_hash}, "
            f"the log's is {before.hex()[:32]}; a record was lost, changed or put in {between}"
        )
        _found(reader, seq, "log.history_changed", said)
    else:
        reader.verified = max(reader.verified, commit.seen)


def _found(reader: _Reader, seq: int, code: str, message: str, fix: str = _RESTORE) -> None:
    reader.findings.append(
        Problem(code=code, message=message, where=f"seq {seq}", fix=fix, fault="platform")
    )
