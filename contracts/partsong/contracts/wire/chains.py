"""A run's chain checked without folding the run: counters, content hashes and running hashes of its commits.

The same rules as `verify`, at a tenth of its cost, for whoever reads a whole log. It keeps the running hashes since the
last record that a commit vouches for, so memory is bounded by what workers report between two commits.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field

from partsong.contracts.errors import Problem
from partsong.contracts.events.envelope import START_HASH, chain, content_hash

__all__ = ["Chain"]


@dataclass(slots=True)
class Chain:
    """One run's records, taken in log order; stops at the first finding, for all that follow would be wrong too."""

    run_id: str
    n: int = 0
    """Its newest commit."""
    verified: int = 0
    """Sequence up to which a commit vouches for every record."""
    broken: Problem | None = None
    at: int = 0
    """Where the finding is; 0 without one."""
    _hash: bytes = START_HASH
    _hashes: dict[int, bytes] = field(default_factory=lambda: {0: START_HASH})

    def take(self, seq: int, body: bytes, *, commit: bool) -> None:
        """Read one record; of `commit`s the content is looked at."""
        if commit and self.broken is None:
            self._check(seq, body)
        self._hash = chain(self._hash, body)
        self._hashes[seq] = self._hash

    def lose(self, seq: int, why: str) -> None:
        """A record that cannot be read."""
        self._found(seq, "log.unreadable", why)

    def _check(self, seq: int, body: bytes) -> None:
        try:
            raw = json.loads(body)
            run, n, seen = raw["run"], int(raw["n"]), int(raw["seen"])
            before, digest = str(raw["prev_hash"]), str(raw["hash"])
        except (ValueError, TypeError, KeyError, OverflowError, RecursionError) as error:
            self._found(seq, "log.unreadable", f"not a commit: {error!r}")
            return
        if content_hash(body) != digest:
            self._found(seq, "log.commit_changed", f"commit {n} is not what its own hash says")
        elif run != self.run_id:
            self._found(seq, "log.other_run", f"a commit of run {run}")
        elif n != self.n + 1:
            self._found(seq, "log.commit_missing", f"after commit {self.n} comes commit {n}")
        elif (known := self._hashes.get(seen)) is None:
            self._found(
                seq, "log.record_missing", f"commit {n} had seen record {seen}, which is not there"
            )
        elif known.hex()[:32] != before:
            said = f"a record after {self.verified} and up to {seen} was lost, changed or put in"
            self._found(seq, "log.history_changed", said)
        else:
            self.n, self.verified = n, seen
            self._hashes = {at: h for at, h in self._hashes.items() if at >= seen}

    def _found(self, seq: int, code: str, message: str) -> None:
        self.at = self.at or seq
        fix = "restore the records of this range from a mirror or a backup of the log"
        self.broken = self.broken or Problem(
            code=code, message=message, where=f"{self.run_id} at {seq}", fix=fix, fault="platform"
        )
