"""The simulation over some hundred seeds; what it can find, it finds when it is planted."""

from __future__ import annotations

import asyncio
import os
import shlex
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from partsong.bus import claims
from partsong.engine.ledger import Ledger
from partsong.graph_engine import turn
from partsong.graph_engine.processor import Processor
from partsong.log.port import Appended, Record
from partsong.runtime import clock
from tests.house.sources import ROOT
from tests.sim.cli import main, own_graph, smaller
from tests.sim.loop import EPOCH, Process, Stuck, new_loop
from tests.sim.plan import Knobs, plan_of
from tests.sim.ports import SimLog
from tests.sim.simulation import Outcome, simulate

CHUNK = 30


def failed(outcomes: Iterable[Outcome]) -> list[str]:
    return [f"{o.line}\n    {o.findings[:5]}" for o in outcomes if o.findings]


def first_that_fails(seeds: range, knobs: Knobs) -> Outcome:
    found = next((o for seed in seeds if (o := simulate(seed, knobs)).findings), None)
    assert found is not None, f"the breach went unseen in {len(seeds)} seeds"
    return found


@pytest.mark.parametrize("first", range(0, 300, CHUNK))
def test_whatever_happens_every_run_is_whole(first: int) -> None:
    bad = failed(simulate(seed) for seed in range(first, first + CHUNK))
    assert not bad, "\n".join(bad)


def test_the_same_seed_is_the_same_simulation_in_any_process() -> None:
    mine = simulate(3)
    said = subprocess.run(
        [sys.executable, "-m", "tests.sim", "--seed", "3"],
        cwd=ROOT,
        env={**os.environ, "PYTHONHASHSEED": "99"},
        capture_output=True,
        text=True,
        timeout=100,
        check=True,
    ).stdout
    assert f"log {mine.digest}, {mine.records} records" in said


def test_another_seed_is_another_simulation() -> None:
    assert simulate(3).digest != simulate(4).digest


# --- what is planted is found ---------------------------------------------------------------------------------------


def test_a_decider_that_takes_its_own_commits_for_sure_is_found(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It steps over what lies between what it had seen and its commit."""
    real = Ledger.commit

    async def commit(self: Ledger, *args: Any) -> int:
        seq = await real(self, *args)
        self.settle()
        return seq

    monkeypatch.setattr(Ledger, "commit", commit)
    found = first_that_fails(range(60), Knobs(engines=2))
    assert any("log.history_changed" in finding for finding in found.findings)


def test_a_request_that_is_stored_unconditionally_is_found(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    real = SimLog.append

    async def append(self: SimLog, subject: str, *args: Any, **named: Any) -> Appended:
        if ".command." in subject:
            named |= {"expect": None, "id": f"{named['id']}.{clock.new_id()}"}
        return await real(self, subject, *args, **named)

    monkeypatch.setattr(SimLog, "append", append)
    found = first_that_fails(range(60), Knobs(engines=2))
    assert any("2 commands" in finding for finding in found.findings)


def test_a_feed_that_loses_a_record_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    real = Processor.receive

    def receive(self: Processor, record: Record, stored: bytes) -> None:
        if record.seq % 13:
            real(self, record, stored)

    monkeypatch.setattr(Processor, "receive", receive)
    first_that_fails(range(20), Knobs(engines=1, faults=0, chaos=False))


def test_a_claim_that_does_not_look_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(claims, "_standing", lambda _last, _mine: "open")
    found = first_that_fails(range(100), Knobs())
    assert any("was made 2 times" in finding for finding in found.findings)


def test_what_fails_is_made_smaller(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(turn, "carry_out", lambda state, _prepared, _now: ((), state))
    small = smaller(simulate(1))
    assert small.findings
    assert (small.knobs.runs, small.knobs.faults, small.knobs.engines) == (1, 0, 1)
    assert small.line.endswith("--seed 1 --engines 1 --runs 1 --faults 0 --no-chaos --no-skew")


def test_a_graph_of_ones_own_is_played(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(
        "name: mine\nentry: a\n"
        "nodes:\n  a: {type: function, function: 'shop:check'}\n  b: {type: wait, signal: paid}\n"
        "edges:\n- {from: a, to: b}\n",
        "utf-8",
    )
    assert main(["--graph", str(path), "--seeds", "5", "--jobs", "1"]) == 0
    assert "5/5 seeds, 0 failed" in capsys.readouterr().out


MINE = """name: mine
entry: a
nodes:
  a: {type: map, over: items, into: totals, collect: total, graph: each.yaml}
  b: {type: wait, seconds: 86400}
edges:
- {from: a, to: b}
"""
EACH = "name: each\nentry: t\nnodes:\n  t: {type: tool, tool: calculator, output: total}\n"


def test_what_fails_of_ones_own_graph_is_named_with_the_graph_and_its_input(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "each.yaml").write_text(EACH, "utf-8")
    (tmp_path / "mine.yaml").write_text(MINE, "utf-8")
    mine = ["--graph", str(tmp_path / "mine.yaml"), "-i", "items=[1, 2]"]
    assert main([*mine, "--seed", "1"]) == 0, "a day's wait is no run that does not end"
    assert "log " in capsys.readouterr().out
    monkeypatch.setattr(turn, "carry_out", lambda state, _prepared, _now: ((), state))
    assert main([*mine, "--seed", "1"]) == 1
    assert f"--seed 1 {shlex.join(mine)}" in capsys.readouterr().out


def test_runs_of_ones_own_graph_have_the_input_that_is_given(tmp_path: Path) -> None:
    (tmp_path / "each.yaml").write_text(EACH, "utf-8")
    (tmp_path / "mine.yaml").write_text(MINE, "utf-8")
    own = own_graph(tmp_path / "mine.yaml", ("items=[1, 2]",))
    assert own is not None
    assert own.input == {"items": [1, 2]}
    calm = Knobs(runs=1, faults=0, chaos=False, skew=False, own=own)
    said = "\n".join(simulate(2, calm, trace=True).trace)
    assert "acts tool r_0/a:1/0/t:1" in said
    assert "acts tool r_0/a:1/1/t:1" in said


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (None, "file.unreadable"),
        ("name: [", "mine.yaml:1"),
        ("name: mine\nnodes: {}\n", "graph.malformed"),
    ],
)
def test_what_is_wrong_with_ones_own_graph_is_said_in_words(
    text: str | None, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "mine.yaml"
    if text is not None:
        path.write_text(text, "utf-8")
    assert main(["--graph", str(path)]) == 2
    printed = capsys.readouterr().err
    assert said in printed
    assert str(path) in printed


@pytest.mark.parametrize("word", ["--engines", "--seeds", "--jobs", "--runs", "--most"])
def test_a_simulation_of_nothing_is_refused(word: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        main([word, "0"])
    assert f"{word}: 0 is less than 1" in capsys.readouterr().err


# --- the loop -------------------------------------------------------------------------------------------------------


def test_time_jumps_and_each_process_has_its_own_clock() -> None:
    loop = new_loop(1)

    async def wait() -> tuple[float, str]:
        await asyncio.sleep(3600)
        return clock.monotonic(), clock.now_text()

    async def both() -> list[tuple[float, str]]:
        right, wrong = Process(loop, "right"), Process(loop, "wrong", skew=60)
        return [await right.spawn(wait()), await wrong.spawn(wait())]

    assert EPOCH == 1_767_225_600
    assert loop.run(both()) == [
        (3600.0, "2026-01-01T01:00:00.000Z"),
        (7200.0, "2026-01-01T02:01:00.000Z"),
    ]


def test_of_a_killed_process_nothing_runs_any_more() -> None:
    loop = new_loop(1)
    said: list[str] = []

    async def work() -> None:
        try:
            await asyncio.sleep(2)
        finally:
            said.append("cleaned up")

    async def kill() -> None:
        process = Process(loop, "victim")
        process.spawn(work())
        process.call(said.append, "began")
        await asyncio.sleep(1)
        process.kill()
        await asyncio.sleep(5)
        assert said == ["began"]

    loop.run(kill())


def test_what_goes_on_for_ever_is_stopped() -> None:
    async def spin() -> None:
        for _ in iter(int, 1):
            await asyncio.sleep(0)

    loop = new_loop(1)
    loop.most_steps = 1_000
    with pytest.raises(Stuck, match="1000 steps"):
        loop.run(spin())


def test_what_waits_for_nothing_is_told() -> None:
    async def wait() -> None:
        await asyncio.get_running_loop().create_future()

    with pytest.raises(Stuck, match="nothing is left"):
        new_loop(1).run(wait())


def test_what_is_held_fixed_is() -> None:
    plan = plan_of(7, Knobs(engines=4, runs=2, faults=1, chaos=False, skew=False))
    assert (plan.engines, len(plan.runs), plan.skew, plan.chaos.lost) == (4, 2, 0.0, 0.0)
    assert len(plan.faults) <= 1
