"""The oracle: what must be true of every simulation when the faults have stopped and things have settled."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import assert_never

from partsong.contracts import events as e
from partsong.contracts.errors import PartsongError
from partsong.contracts.state.state import RunState
from partsong.contracts.wire.requests import (
    Accepted,
    CancelRequest,
    ForkRequest,
    PauseRequest,
    Rejected,
    ResumeRequest,
    RetryRequest,
    RunRequest,
    ScheduleRequest,
    SignalRequest,
    UnscheduleRequest,
    parse_request,
)
from partsong.contracts.wire.seals import Scrub
from partsong.contracts.wire.subjects import OURS
from partsong.engine.commands import runs, signals
from partsong.log.port import Record
from partsong.log.snapshots.folded import Folded, nearest
from partsong.log.snapshots.port import Snapshots
from tests.sim.broker import SUBJECTS, Answer
from tests.sim.engine import Engine
from tests.sim.past import ENDS, Past, flaws
from tests.sim.world import Asked, World

__all__ = ["judge"]

_OFTEN = 30
_NOW = "2027-01-01T00:00:00.000Z"


async def judge(world: World, engines: Iterable[Engine], snapshots: Snapshots) -> None:
    """Add to the world's findings what should not be."""
    logs = _logs(world)
    pasts = {run_id: Past(run_id, records) for run_id, records in logs.items()}
    for run_id, past in pasts.items():
        for finding in flaws(past):
            world.find(f"{run_id}: {finding}")
        for finding in await _caches(past, engines, snapshots):
            world.find(f"{run_id}: {finding}")
    for finding in (
        *_effects(world),
        *_requests(world, pasts),
        *_seals(world),
        *_refused(world),
        *_threads(world, pasts),
    ):
        world.find(finding)


def _logs(world: World) -> dict[str, list[Record]]:
    logs: dict[str, list[Record]] = {}
    for record in world.broker.log.records:
        run_id = SUBJECTS.parse_log(record.subject).run_id
        if run_id != OURS and run_id not in world.spoiled:
            logs.setdefault(run_id, []).append(record)
    return logs


async def _caches(past: Past, engines: Iterable[Engine], snapshots: Snapshots) -> list[str]:
    found: list[str] = []
    for engine in engines:
        folded = engine.held().get(past.run_id)
        if folded is not None and folded.seq:
            found += _compared(f"{engine.process.name}'s fold", folded, past)
    for seq in await snapshots.list(past.run_id):
        found += _compared("a snapshot", await nearest(snapshots, past.run_id, seq), past)
    return found


def _compared(what: str, folded: Folded, past: Past) -> Iterator[str]:
    at = past.at(folded.seq)
    if folded.state != past.states[at]:
        yield f"{what} up to {folded.seq} differs from the replay"
    if folded.hash != past.hashes[at]:
        yield f"{what} up to {folded.seq} has another hash than the log"


def _seals(world: World) -> Iterator[str]:
    """Every seal agrees with all that its partition holds before it."""
    scrubs = {partition: Scrub() for partition in world.broker.partitions}
    for record in world.broker.log.records:
        where = SUBJECTS.parse_log(record.subject)
        scrub = scrubs[where.partition]
        damage = scrub.take(record.seq, record.body, seal=where.entity == "seal")
        if damage is not None:
            yield f"partition {where.partition}: {damage.why}"


def _effects(world: World) -> Iterator[str]:
    for claimed, times in world.acted.items():
        if times > 1:
            yield f"claim {claimed} was acted on {times} times"
    for (kind, run_id, call_id, attempt), times in world.effects.items():
        if kind in {"guarded", "turn"} and times > 1:
            yield f"{kind} {run_id}/{call_id} attempt {attempt} was made {times} times"


def _threads(world: World, pasts: dict[str, Past]) -> Iterator[str]:
    """Of the runs of a thread one is open at a time, those apart that asked to be beside others.

    An engine that begins when a line has just been lost cannot know of it.
    """
    begun = [p.began for name, p in world.broker.processes.items() if name.startswith("engine")]
    if world.lines_lost is not None and max(begun) > world.lines_lost:
        return
    shared = {
        run_id: past.replay.state.options.thread
        for run_id, past in pasts.items()
        if past.replay.state.options.on_busy != "allow"
    }
    moments = sorted(
        (
            (record.seq, run_id, event)
            for run_id, past in pasts.items()
            if shared.get(run_id)
            for record, message in zip(past.records, past.messages, strict=True)
            for event in message.events
        ),
        key=lambda moment: moment[0],
    )
    holders: dict[str, set[str]] = {}
    for seq, run_id, event in moments:
        line = holders.setdefault(str(shared[run_id]), set())
        if isinstance(event, ENDS):
            line.discard(run_id)
        elif isinstance(event, e.RunAdmitted | e.RunRetried) or (
            isinstance(event, e.RunStarted) and not event.queued
        ):
            line.add(run_id)
            if len(line) > 1:
                yield f"at {seq} {sorted(line)} are open in one thread"


def _refused(world: World) -> Iterator[str]:
    """A guard that does not hold is found out once, and what it guards is decided anew: nothing is tried over and over."""
    for subject, times in world.broker.log.refused.items():
        if times > _OFTEN:
            yield f"the guard of {subject} did not hold {times} times"


def _requests(world: World, pasts: dict[str, Past]) -> Iterator[str]:
    for asked in world.asked.values():
        answers = world.broker.answers.get(asked.id, [])
        if not answers:
            yield f"request {asked.id} {asked.verb} {asked.run_id} was never answered"
        codes = [_code(answer) for answer in answers]
        if len(set(codes)) > 1 and asked.run_id not in world.spoiled:
            yield f"request {asked.id} {asked.verb} {asked.run_id} was answered {codes}"
        for answer in () if asked.run_id in world.spoiled else answers[:1]:
            if (why := _unjustified(asked, answer, pasts)) is not None:
                yield f"request {asked.id} {asked.verb} {asked.run_id}: {why}"


def _code(answer: Answer) -> str:
    return answer.reply.error.code if isinstance(answer.reply, Rejected) else "accepted"


def _unjustified(asked: Asked, answer: Answer, pasts: dict[str, Past]) -> str | None:
    """Why an answer cannot be understood from any state that the run had between question and answer."""
    request = parse_request(asked.verb, asked.body)
    run_id = request.new_run_id if isinstance(request, ForkRequest) else asked.run_id
    past = pasts.get(run_id or "", Past(run_id or "", []))
    states = past.between(asked.head, answer.head)
    code = _code(answer)
    match request:
        case RunRequest() if isinstance(answer.reply, Accepted):
            return None if states[-1].graph is not None else "accepted, but there is no run"
        case RunRequest():
            return None if code in {"run.exists", "thread.busy"} else f"refused: {code}"
        case ForkRequest() if isinstance(answer.reply, Accepted):
            return None if states[-1].graph is not None else "accepted, but there is no fork"
        case ForkRequest():
            return None if code in {"run.unknown", "run.exists"} else f"refused: {code}"
        case CancelRequest() | PauseRequest() | ResumeRequest() | SignalRequest() | RetryRequest():
            if code == "accepted" and any(
                event.cause == asked.id
                for event in past.events
                if not isinstance(event, e.CommandReceived | e.CommandSettled)
            ):
                return None
            meant = {_meant(request, state) for state in states}
            if isinstance(request, RetryRequest) and any(s.options.thread for s in states):
                meant.add("thread.busy")
            return None if code in meant else f"answered {code}, its states mean {sorted(meant)}"
        case ScheduleRequest() | UnscheduleRequest():
            return None
        case _:
            assert_never(request)


def _meant(
    request: CancelRequest | PauseRequest | ResumeRequest | SignalRequest | RetryRequest,
    state: RunState,
) -> str:
    """What a request means for a state: `accepted` without effect, `an effect`, or the code it is refused with."""
    if state.graph is None:
        return "run.unknown"
    id_ = request.id
    try:
        match request:
            case CancelRequest():
                events = runs.cancel(state, None, id_, _NOW)
            case PauseRequest():
                events = runs.pause(state, None, id_, _NOW)
            case ResumeRequest():
                events = runs.resume(state, id_, _NOW)
            case SignalRequest():
                events = signals.signal(state, request.name, request.payload, id_, _NOW)
            case RetryRequest():
                events = runs.retry(state, None, None, None, id_, _NOW)
            case _:
                assert_never(request)
    except PartsongError as error:
        return error.problem.code
    return "an effect" if events else "accepted"
