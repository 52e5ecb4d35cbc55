"""Recorded runs: what a log holds of them, and the turns that models took in them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from partsong.contracts import events as e
from partsong.contracts.errors import NotFound
from partsong.contracts.events.envelope import decode
from partsong.contracts.state.fold import fold
from partsong.contracts.state.state import RunState
from partsong.contracts.wire.work import TurnWork
from partsong.engine.work.hints import work_of
from partsong.log.port import Record

__all__ = ["Recording", "RunLog", "TurnTaken", "recorded", "turns"]

RunLog: TypeAlias = "str | Path | Iterable[Record]"
"""The file of a log, or records out of any log."""

Recording: TypeAlias = "list[Record]"
"""The records of one run, in log order."""


@dataclass(frozen=True, slots=True)
class TurnTaken:
    """A turn that a model was asked for, and its answer."""

    work: TurnWork
    answer: e.AgentTurnCompleted


def recorded(log: RunLog, run_id: str | None = None) -> Mapping[str, Recording]:
    """The runs of a log by id, or just one of them. The file is only read, also while a run is being written to it.

    Raises:
        NotFound: `run.unknown`, there is no such run, or none at all.
        InvalidInput: `log.not_a_log`, `envelope.malformed`.
        Unavailable: `log.corrupt`.
    """
    runs: dict[str, Recording] = {}
    for record in _records(log):
        runs.setdefault(decode(record.body).run, []).append(record)
    if not runs or (run_id is not None and run_id not in runs):
        there = ", ".join(runs) or "none"
        raise NotFound(
            "run.unknown",
            f"the log holds no run{f' {run_id}' if run_id else ''}; there are: {there}",
            where=str(log) if isinstance(log, str | Path) else "log",
            fix="give the path or the records of a log with a run in it",
        )
    return runs if run_id is None else {run_id: runs[run_id]}


def turns(run_id: str, records: Recording) -> Iterator[TurnTaken]:
    """The answered turns of a run, in the order of their answers, with the conversation that each one answers."""
    state = RunState(run_id)
    asked: dict[tuple[str, int], TurnWork] = {}
    for record in records:
        for event in decode(record.body).events:
            state = fold(state, event, record.seq)
            match event:
                case e.AgentTurnRequested():
                    call = state.calls.get(event.call_id)
                    work = work_of(state, call) if call is not None else None
                    if isinstance(work, TurnWork):
                        asked[work.call_id, work.attempt] = work
                case e.AgentTurnCompleted():
                    if work := asked.get((event.call_id, event.attempt)):
                        yield TurnTaken(work, event)
                case _:
                    pass


def _records(log: RunLog) -> Iterable[Record]:
    if not isinstance(log, str | Path):
        return log
    from partsong.log.journal import read

    return read(Path(log))
