"""Crashes: a log cut anywhere, folded again, goes on to the same end, and nothing that had its result is done twice."""

from __future__ import annotations

import json

import pytest
from hypothesis import assume, settings
from hypothesis import given as forall
from hypothesis import strategies as st
from pydantic import JsonValue

from partsong.contracts import events as e
from partsong.contracts.events.envelope import (
    START_HASH,
    Commit,
    decode,
    encode_commit,
    encode_report,
)
from partsong.contracts.state.fold import fold, fold_message
from partsong.contracts.state.serialization import dump_state, load_state
from partsong.contracts.state.state import RunState
from partsong.engine.commands import runs
from tests.support.graphs_strategy import Example, examples
from tests.support.player import Message, Player
from tests.support.scenario import NOW
from tests.unit.engine.test_model import NIGHTLY, PATIENCE, agrees, exact, meant, plain

FEW = 500 if NIGHTLY else 20

pytestmark = pytest.mark.timeout(PATIENCE)


def reread(message: Message) -> Message:
    """A message as it comes out of a log."""
    if isinstance(message, Commit):
        return decode(
            encode_commit(message.run, message.n, message.seen, START_HASH, message.events)[1]
        )
    return decode(encode_report(message.run, *message.events))


def reloaded(state: RunState) -> RunState:
    """A state that was kept as JSON and read again."""
    return load_state(state.run_id, json.loads(json.dumps(dump_state(state))))


def returned(messages: list[Message]) -> list[str]:
    """Calls that have returned."""
    return [
        event.call_id
        for message in messages
        for event in message.events
        if isinstance(event, e.CallCompleted)
    ]


@settings(max_examples=FEW)
@forall(examples(most=6), st.integers(0, 1000))
def test_a_log_cut_after_any_message_goes_on_to_the_same_end_and_repeats_no_completed_call(
    example: Example, seed: int
) -> None:
    ran = meant(example)
    log = [reread(message) for message in Player.start(example, seed).play().log]
    state = RunState("r_1")
    for seq, message in enumerate(log, 1):
        state = fold_message(state, message, seq)
        kept = reloaded(state)
        assert kept == state
        again = Player(kept, log[:seq], seed + seq).play()
        agrees(ran, example, again)
        assert not set(returned(log[:seq])) & set(again.calls)
        if state.ended:
            assert again.log == log[:seq]


@settings(max_examples=FEW)
@forall(examples(), st.integers(0, 1000))
def test_every_event_of_any_graph_folded_twice_changes_nothing(example: Example, seed: int) -> None:
    state = RunState("r_1")
    for seq, message in enumerate(Player.start(example, seed).play().log, 1):
        for event in message.events:
            state = fold(state, event, seq)
            assert fold(state, event, seq) == state, event


@settings(max_examples=FEW)
@forall(examples(most=6), st.integers(0, 1000))
def test_a_fork_at_any_message_reaches_the_same_end(example: Example, seed: int) -> None:
    ran = meant(example)
    log = Player.start(example, seed).play().log
    state = RunState("r_1")
    for seq, message in enumerate(log, 1):
        state = fold_message(state, message, seq)
        fork = Player(RunState("r_2"), seed=seed + seq)
        fork.decide(*runs.fork(state, seq, "r_2", (), "q2", NOW))
        fork.play()
        if exact(ran, example):
            assert fork.state.status == ("failed" if ran.failed else "completed")
            assert plain(fork.state.values) == plain(ran.state)
        broken = {x.id for x in state.executions.values() if not x.live}
        assert not (set(returned(log[:seq])) - broken) & set(fork.calls)


@settings(max_examples=2 * FEW)
@forall(examples(catching=False), st.integers(0, 1000))
def test_a_run_retried_until_nothing_fails_ends_like_one_in_which_nothing_failed(
    example: Example, seed: int
) -> None:
    ran = meant(Example(example.graph, healed(example.input)))
    assume(ran.failed is None and ran.limit == "no")
    player, retries = Player.start(example, seed).play(), 0
    while player.state.status == "failed":
        retries += 1
        player.answer_late()
        asked = runs.retry(player.state, None, None, None, f"q_{retries}", NOW)
        player.decide(*asked)
        player.play()
    assert player.state.status == "completed"
    assert player.scheduled == ran.must
    assert {**player.state.values, "world": None} == {**ran.state, "world": None}
    done = returned(player.log)
    assert len(done) == len(set(done)), "no call returned twice"


def healed(state: dict[str, JsonValue]) -> dict[str, JsonValue]:
    """The plan without failures."""
    world = state["world"]
    assert isinstance(world, dict)
    plans: dict[str, JsonValue] = {
        name: {key: what for key, what in plan.items() if key != "fails"}
        for name, plan in world.items()
        if isinstance(plan, dict)
    }
    return {**state, "world": plans}
