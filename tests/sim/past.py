"""A run's past, read from its log alone, and what is wrong with any run, however it came about."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from partsong.contracts import events as e
from partsong.contracts.events.envelope import START_HASH, chain, decode
from partsong.contracts.state.fold import fold_message
from partsong.contracts.state.state import RunState
from partsong.contracts.state.verify import Replay, replay
from partsong.log.port import Record

__all__ = ["ENDS", "Past", "flaws"]

ENDS = e.RunCompleted | e.RunFailedEvent | e.RunCancelled | e.RunLimitExceeded


class Past:
    """One run's log, read by the plain fold."""

    def __init__(self, run_id: str, records: Sequence[Record]) -> None:
        self.run_id, self.records = run_id, records
        self.replay: Replay = replay(run_id, [(r.seq, r.body) for r in records])
        self.messages = [decode(record.body) for record in records]
        self.states = [RunState(run_id)]
        """Before the first record, and after each."""
        self.hashes = [START_HASH]
        for record, message in zip(records, self.messages, strict=True):
            self.states.append(fold_message(self.states[-1], message, record.seq))
            self.hashes.append(chain(self.hashes[-1], record.body))

    def at(self, seq: int) -> int:
        """How many records there are up to a sequence."""
        return sum(record.seq <= seq for record in self.records)

    def between(self, first: int, last: int) -> list[RunState]:
        """Every state the run had while the log's head went from one sequence to the other."""
        return self.states[self.at(first) : self.at(last) + 1]

    @property
    def events(self) -> Iterator[e.Event]:
        for message in self.messages:
            yield from message.events


def flaws(past: Past) -> Iterator[str]:
    """What should not be in any run that has had the time to end."""
    for problem in past.replay.findings:
        yield f"{problem.code} at {problem.where}: {problem.message}"
    state = past.replay.state
    if state != past.states[-1]:
        yield "replay differs from the plain fold"
    yield from _decided(past)
    yield from _settled(past)
    if state.graph is None:
        if state.pending or not state.commits:
            yield "has records, but nothing was decided"
    elif not state.ended:
        waits = f"waits on {state.waits_on}" if state.waits_on else "waits for nothing"
        yield f"is {state.phase} at the end, {waits}"
    commits = [record for record in past.records if record.subject.endswith(".engine")]
    told = commits[-1].headers.get("Partsong-Status") if commits else ""
    if state.ended and told != state.status:
        yield f"lists say {told}, it is {state.status}"
    log = state.values.get("log", [])
    if isinstance(log, list) and len(log) != len({str(entry) for entry in log}):
        yield f"a result counts twice: {log}"


def _settled(past: Past) -> Iterator[str]:
    """Each request is one command, and each command has one outcome."""
    received = Counter(x.request_id for x in past.events if isinstance(x, e.CommandReceived))
    settled = Counter(x.request_id for x in past.events if isinstance(x, e.CommandSettled))
    for request_id in received.keys() | settled.keys():
        counts = received[request_id], settled[request_id]
        if counts != (1, 1):
            yield f"request {request_id} is {counts[0]} commands with {counts[1]} outcomes"


def _decided(past: Past) -> Iterator[str]:
    """What was decided more often than once: an end per round, everything else at all."""
    ends, seen = 0, set[str]()
    for event in past.events:
        if isinstance(event, e.RunRetried):
            ends = 0
        elif isinstance(event, ENDS):
            ends += 1
        elif isinstance(event, e.NodeScheduled | e.CallRequested | e.RunStarted):
            if event.id in seen:
                yield f"{event.id} is decided twice"
            seen.add(event.id)
        if ends > 1:
            yield f"ends again with {event.id}"
    if past.replay.state.ended and ends != 1:
        yield f"has {ends} ends"
