"""A chain checked without folding says the same as a replay: sound logs are sound, and each damage is found."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from partsong.contracts.events.envelope import Commit, decode
from partsong.contracts.state.verify import replay
from partsong.contracts.wire.chains import Chain

HISTORIES = sorted((Path(__file__).parents[3] / "histories").glob("*/*.jsonl"))
Records = list[tuple[int, bytes]]


def records_of(path: Path) -> Records:
    *lines, _ = path.read_text().splitlines()
    return [(entry["seq"], entry["body"].encode()) for entry in map(json.loads, lines)]


LOOP = records_of(next(path for path in HISTORIES if path.stem == "loop"))


def chained(run_id: str, records: Records) -> Chain:
    found = Chain(run_id)
    for seq, body in records:
        found.take(seq, body, commit=isinstance(decode(body), Commit))
    return found


@pytest.mark.parametrize("path", HISTORIES, ids=lambda path: path.stem)
def test_a_recorded_history_is_whole_and_verified_as_far_as_a_replay_says(path: Path) -> None:
    records = records_of(path)
    found = chained(f"r_{path.stem}", records)
    assert found.broken is None
    assert found.verified == replay(f"r_{path.stem}", records).verified


@given(st.integers(0, len(LOOP) - 1))
def test_whatever_record_is_lost_a_chain_and_a_replay_agree_on_what_is_found(at: int) -> None:
    left = LOOP[:at] + LOOP[at + 1 :]
    found, told = chained("r_loop", left), replay("r_loop", left)
    assert (found.broken is None) == told.ok
    if found.broken is not None:
        assert found.broken.where == f"r_loop {told.findings[0].where}".replace("seq", "at")


@given(st.integers(0, len(LOOP) - 1))
def test_a_changed_commit_is_found(at: int) -> None:
    seq, body = LOOP[at]
    if not isinstance(decode(body), Commit):
        return
    changed = [*LOOP[:at], (seq, body.replace(b'"seen"', b' "seen"', 1)), *LOOP[at + 1 :]]
    found = chained("r_loop", changed)
    assert found.broken is not None
    assert found.broken.code == "log.commit_changed"


def test_a_commit_that_is_none_and_a_record_that_is_lost_are_findings() -> None:
    for body in (b"garbage", b"[]", b'{"n":1}'):
        chain = Chain("r_x")
        chain.take(7, body, commit=True)
        assert chain.broken is not None
        assert chain.broken.code == "log.unreadable"
    chain = Chain("r_x")
    chain.lose(9, "its blob is missing")
    assert chain.broken is not None
    assert chain.broken.where == "r_x at 9"


def test_memory_is_bounded_by_what_lies_between_two_commits() -> None:
    assert len(chained("r_loop", LOOP)._hashes) <= 4
