"""Wide runs: their state is the one that plain dicts give, and what an event costs hardly grows with the width."""

from __future__ import annotations

import asyncio
import functools
import itertools
import json
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from math import isqrt
from types import FrameType
from typing import Any
from unittest import mock

import pytest
from hypothesis import given as forall
from hypothesis import settings
from hypothesis import strategies as st
from pydantic import TypeAdapter

from partsong.contracts import persistent
from partsong.contracts.events.envelope import Commit, decode
from partsong.contracts.persistent import PersistentMap
from partsong.contracts.state.fold import fold, fold_message
from partsong.contracts.state.serialization import dump_state, load_state
from partsong.contracts.state.state import RunState
from partsong.contracts.state.timeline import checkpoints, state_at
from partsong.contracts.state.verify import replay
from partsong.contracts.wire.subjects import Subjects
from partsong.engine.ledger import Ledger
from partsong.graph_engine.children import abandoned
from partsong.log.memory import MemoryLog
from partsong.log.packed import text_of, unpacked
from partsong.workflow import WorkflowGraph
from tests.support.graphs_strategy import Example, examples
from tests.support.player import Player
from tests.support.wide import NODES, RUN, Records, made_anew, records
from tests.unit.engine.test_model import PATIENCE

pytestmark = pytest.mark.timeout(PATIENCE)

NEVER = 10**9
FEW = 8
"""So few keys are enough here for a map to be more than a dict."""
WIDTH, NARROW = 80, 50
MOST = 4.4
"""Times the work for four times the width; whatever looks through all there is for each item comes to more."""
DEADLINE = "2026-02-01T00:00:00.000Z"

log_of = functools.cache(records)
kinds = pytest.mark.parametrize("node", NODES)


@contextmanager
def small(most: int) -> Iterator[None]:
    """Maps of so many keys are still plain dicts."""
    with mock.patch.object(persistent, "_SMALL", most):
        yield


def written(state: RunState, *, shared: bool = False) -> str:
    """The state as JSON, with all orders in it."""
    return json.dumps(dump_state(state, shared=shared))


def states(log: Records) -> list[RunState]:
    """The state before the log's first event and after each."""
    found = [RunState(RUN)]
    for seq, body in log:
        for event in decode(body).events:
            found.append(fold(found[-1], event, seq))
    return found


@settings(max_examples=25)
@forall(examples(most=6), st.integers(0, 1000), st.integers(0, 3))
def test_a_run_is_the_same_with_and_without_plain_dicts(
    example: Example, seed: int, most: int
) -> None:
    with small(NEVER):
        plain = Player.start(example, seed).play()
    with small(most):
        layered = Player.start(example, seed).play()
    assert layered.log == plain.log
    assert layered.state == plain.state
    assert written(layered.state) == written(plain.state)


@settings(max_examples=25)
@forall(examples(most=6), st.integers(0, 1000), st.integers(0, 3))
def test_no_state_changes_when_a_later_event_is_folded(
    example: Example, seed: int, most: int
) -> None:
    log = Player.start(example, seed).play().log
    plain, layered = [RunState("r_1")], [RunState("r_1")]
    for seq, message in enumerate(log, 1):
        with small(NEVER):
            plain.append(fold_message(plain[-1], message, seq))
        with small(most):
            layered.append(fold_message(layered[-1], message, seq))
    assert [written(state) for state in layered] == [written(state) for state in plain]
    assert layered == plain
    assert [state.phase for state in layered] == [state.phase for state in plain]


@kinds
@pytest.mark.parametrize("deadline", [None, DEADLINE])
def test_every_state_of_a_wide_map_is_the_one_of_plain_dicts(
    node: str, deadline: str | None
) -> None:
    with small(NEVER):
        log = records(node, WIDTH, deadline=deadline)
        plain = states(log)
    with small(FEW):
        assert records(node, WIDTH, deadline=deadline) == log
        layered = states(log)
    assert any(isinstance(state.calls, PersistentMap) for state in layered)
    for place in range(0, len(plain), 61):
        assert written(layered[place]) == written(plain[place])
    assert layered == plain


@kinds
@pytest.mark.parametrize("shared", [False, True])
def test_a_wide_run_goes_on_from_its_snapshot(node: str, shared: bool) -> None:
    log = log_of(node, WIDTH)
    middle = len(log) // 4
    with small(FEW):
        state = state_at(RUN, log, middle)
        assert isinstance(state.scopes, PersistentMap)
        again = load_state(RUN, json.loads(written(state, shared=shared)))
        assert again == state
        for seq, body in log[middle:]:
            again = fold_message(again, decode(body), seq)
        assert written(again) == written(replay(RUN, log).state)


def test_the_fingerprint_of_a_state_sees_what_its_maps_hold() -> None:
    schema = TypeAdapter(RunState).json_schema(mode="serialization")
    for key, kind in {"calls": "Call", "scopes": "Scope", "timers": "Timer"}.items():
        held = schema["properties"][key]["additionalProperties"]
        assert held == {"$ref": f"#/$defs/{kind}"}
    assert schema["properties"]["due"]["items"] == {"type": "string"}


def lines(work: Callable[[], object]) -> int:
    """How many lines of ours are run; each turn of a comprehension is one."""
    count = 0

    def trace(frame: FrameType, what: str, _arg: object) -> Any:
        nonlocal count
        count += what == "line"
        return trace if "partsong" in frame.f_code.co_filename else None

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        work()
    finally:
        sys.settrace(before)
    return count


@kinds
def test_four_times_the_width_takes_little_more_than_four_times_the_reading(node: str) -> None:
    def read(width: int) -> int:
        log = log_of(node, width, deadline=DEADLINE)
        return lines(lambda: (replay(RUN, log), [*checkpoints(RUN, log)]))

    with small(FEW):
        assert read(4 * NARROW) < MOST * read(NARROW)


@pytest.mark.parametrize("batch", [1, 7, NEVER])
def test_four_times_the_width_takes_little_more_than_four_times_the_deciding(batch: int) -> None:
    def decided(width: int) -> int:
        return lines(lambda: records("function", width, batch=batch))

    with small(FEW):
        assert decided(4 * NARROW) < MOST * decided(NARROW)


def test_four_times_the_width_takes_little_more_than_four_times_the_driving() -> None:
    """In one process: calls are begun, heard and let go."""

    def driven(width: int) -> int:
        graph = WorkflowGraph("wide")
        graph.add_map("m", lambda state: {"y": state["item"]}, over="l", into="out", collect="y")
        return lines(lambda: asyncio.run(graph.execute({"l": list(range(width))})))

    driven(1)  # what is only made once
    with small(FEW):
        assert driven(4 * NARROW) < MOST * driven(NARROW)


@pytest.mark.parametrize("width", [NARROW, 4 * NARROW])
async def test_what_is_kept_of_a_wide_run_is_no_more_than_eight_times_its_log(width: int) -> None:
    """Its snapshots as they are before they are compressed, for that is what making them costs."""
    log, subjects = MemoryLog(), Subjects()
    for seq, body in log_of("function", width):
        commit = isinstance(decode(body), Commit)
        subject = subjects.engine(RUN) if commit else subjects.fact(RUN)
        await log.append(subject, body, id=str(seq))
    ledger, kept, written_ = Ledger(log, subjects, RUN), 0, 0
    async for record in log.read(subjects.run(RUN)):
        ledger.fold(record)
        written_ += len(record.body)
        snapshot = ledger.snapshot()
        kept += len(text_of(unpacked(snapshot.body))) if snapshot is not None else 0
    assert 0 < kept < 8 * written_


def test_whom_a_wide_run_abandons_is_not_looked_for_in_a_graph_that_begins_no_runs() -> None:
    def looked(width: int) -> int:
        state = replay(RUN, log_of("function", width)).state
        return lines(lambda: abandoned(state, state))

    assert looked(4 * NARROW) == looked(NARROW)


@kinds
def test_an_event_copies_little_of_a_wide_state(node: str) -> None:
    for width in (WIDTH, 4 * WIDTH):
        with small(FEW):
            found = states(log_of(node, width, deadline=DEADLINE))
        copied = sum(copies(before, after) for before, after in itertools.pairwise(found))
        assert copied / len(found) < 4 * isqrt(width)
        every = [mapping for state in found for mapping in maps_of(state)]
        assert all(isinstance(m, PersistentMap) for m in every if len(m) > FEW)


def copies(before: RunState, after: RunState) -> int:
    """How many entries of the run's wide maps an event has written anew."""
    return sum(map(made_anew, maps_of(before), maps_of(after)))


def maps_of(state: RunState) -> list[Mapping[Any, Any]]:
    active = state.root.active.values() if state.scopes else ()
    results = [execution.results for execution in active]
    return [state.calls, state.scopes, state.timers, state.due, *results]
