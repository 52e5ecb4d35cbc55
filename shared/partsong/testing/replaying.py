"""Replaying: a recorded run is folded anew where nobody can be called, and must be what it was."""

from __future__ import annotations

import hashlib
import json
import sys
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import FrameType

from partsong.contracts.state.results import RunResult
from partsong.contracts.state.serialization import dump_state
from partsong.contracts.state.state import ENDED, RunState
from partsong.contracts.state.timeline import diff
from partsong.contracts.state.verify import replay
from partsong.contracts.wire.headers import STATUS
from partsong.testing.network import closed_network
from partsong.testing.recorded import Recording, RunLog, recorded

__all__ = ["Replayed", "counted", "hash_state", "replay_run"]

_LANGUAGE = "partsong.contracts."


@dataclass(frozen=True, slots=True)
class Replayed:
    """A run as its log tells it."""

    run_id: str
    state: RunState
    state_hash: str
    """Of the whole state; to be kept beside a recording."""
    records: int
    events: int
    calls: Mapping[str, int] = field(default_factory=dict)
    """Functions of Partsong, other than the fold and the language it is written in, that ran meanwhile."""
    connections: tuple[str, ...] = ()
    """What was tried to reach meanwhile."""


def hash_state(state: RunState) -> str:
    """A fingerprint of everything in a run's state."""
    text = json.dumps(dump_state(state), sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return f"sha256:{hashlib.sha256(text.encode()).hexdigest()}"


def replay_run(
    log: RunLog,
    run_id: str | None = None,
    *,
    result: RunResult | None = None,
    state_hash: str | None = None,
) -> Replayed:
    """Fold a run of a log again, with the network closed and every call counted, and compare.

    The log must be what its commits say it was, and whole; nobody may have been called. With `result`, its status, state
    and error must come out, with `state_hash` the very same state. Without a `run_id` the log must hold just one run, or the
    result says which.

    Raises:
        AssertionError: something differs; the message says what.
        NotFound: `run.unknown`.
    """
    wanted = run_id if run_id is not None or result is None else result.run_id
    found, records = _only(recorded(log, wanted))
    pairs = [(record.seq, record.body) for record in records]
    with closed_network() as tried, counted() as calls:
        told = replay(found, pairs)
    replayed = Replayed(
        found,
        told.state,
        hash_state(told.state),
        told.records,
        told.events,
        dict(calls),
        tuple(tried),
    )
    assert not told.findings, f"the log is damaged: {told.findings[0].message}"
    assert not replayed.calls, f"a replay calls nobody, this one called {dict(calls)}"
    assert not replayed.connections, f"a replay reaches nobody, this one tried {tried}"
    _compare(replayed, records, result, state_hash)
    return replayed


def _only(runs: Mapping[str, Recording]) -> tuple[str, Recording]:
    assert len(runs) == 1, f"the log holds {', '.join(runs)}: say which run to replay"
    return next(iter(runs.items()))


def _compare(
    replayed: Replayed, records: Recording, result: RunResult | None, state_hash: str | None
) -> None:
    state = replayed.state
    said = next((r.headers[STATUS] for r in reversed(records) if STATUS in r.headers), None)
    if said in ENDED:
        assert state.phase == said, (
            f"the log says that the run is {said}, replayed it is {state.phase}"
        )
    if result is not None:
        assert state.phase == result.status, f"it was {result.status}, replayed it is {state.phase}"
        change = next(diff(result.state, state.values), None)
        assert change is None, f"the state differs: {change}"
        assert state.error == result.error, f"the error was {result.error}, is now {state.error}"
    if state_hash is not None:
        said = replayed.state_hash
        assert said == state_hash, f"the state's hash was {state_hash}, is now {said}"


@contextmanager
def counted() -> Iterator[Counter[str]]:
    """Counts the functions of Partsong that are called in this thread, the language's own aside.

    Providers, tools, functions and hooks are all called by Partsong's code outside `contracts`, so none of them can run
    unnoticed. A profiler that was at work is asked to wait.
    """
    calls: Counter[str] = Counter()

    def called(frame: FrameType, event: str, _arg: object) -> None:
        module = str(frame.f_globals.get("__name__", ""))
        foreign = module.startswith("partsong.") and not module.startswith(_LANGUAGE)
        if event == "call" and foreign and module not in {__name__, closed_network.__module__}:
            calls[f"{module}.{frame.f_code.co_qualname}"] += 1

    before = sys.getprofile()
    sys.setprofile(called)
    try:
        yield calls
    finally:
        sys.setprofile(before)
