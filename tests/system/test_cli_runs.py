"""`partsong run …` against services in the test's own process: what is asked of a run, and what its past says."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path

import click
import pytest

from partsong.cli.log import command as log_group
from partsong.cli.run import command as run_group
from partsong.cli.schedule import command as schedule_group
from partsong.testing.nats import Bus
from tests.system import nodes
from tests.system.engines import until
from tests.system.platform import a_platform
from tests.system.terminal import Terminal

GATE = """
name: gate
nodes:
  gate: {type: wait, signal: go, output: word, deadline: 2h}
"""


INNER = """
name: inner
nodes:
  twice: {type: transform, set: {n: "state.n * 2"}}
  broken: {type: transform, set: {n: "state.nowhere"}}
edges:
  - {from: twice, to: broken, when: "state.n > 4"}
  - {from: twice, to: END, else: true}
"""
MIDDLE = """
name: middle
nodes:
  inside-it: {type: subgraph, graph: inner.yaml, detached: true}
"""
OUTER = """
name: outer
nodes:
  child: {type: subgraph, graph: middle.yaml, detached: true, max_visits: 2}
  stop: {type: transform, set: {done: "true"}}
edges:
  - {from: child, to: child, when: "state.n < 4"}
  - {from: child, to: END, else: true}
  - {from: child, to: stop, on: failure}
"""


@pytest.fixture
async def partsong(bus: Bus, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Terminal]:
    monkeypatch.setenv("PARTSONG_NATS_URL", bus.url)
    monkeypatch.setenv("PARTSONG_PREFIX", bus.subjects.prefix)
    nodes.called.clear()
    nodes.mended.clear()
    async with a_platform(bus) as platform:
        yield Terminal(platform, monkeypatch)


async def test_a_failed_run_is_looked_into_forked_compared_and_retried(partsong: Terminal) -> None:
    await partsong(
        "run", "start", "tests.system.graphs:shop", "-i", "amount=40", "--run-id", "r_1", "--wait", code=4
    )  # fmt: skip
    history = await partsong.rows("run", "history", "r_1")
    priced = next(row["seq"] for row in history if "node.completed price:1" in str(row["did"]))
    assert await partsong.record("run", "state", "r_1", "--at", priced) == {
        "amount": 40,
        "total": 120,
    }
    assert await partsong.rows("run", "diff", "r_1", history[0]["seq"], priced) == [
        {"path": "total", "before": None, "after": 120, "kind": "added"}
    ]

    forked = await partsong.record(
        "run", "fork", "r_1", "--at", priced, "--set", "total=90", "--run-id", "r_2", "--wait"
    )
    assert (forked["status"], forked["run_id"]) == ("completed", "r_2")
    compared = await partsong.record("run", "compare", "r_1", "r_2")
    assert compared["parted"] == {"run_id": "r_1", "seq": priced}
    assert compared["executions"] == [
        {"path": "pay:1", "kind": "changed", "a": "function.raised", "b": "completed"}
    ]
    table = await partsong("run", "compare", "r_1", "r_2")
    assert f"r_1 at {priced}" in table
    assert ["state", "total", "120", "90"] in [line.split() for line in table.splitlines()]
    assert (await partsong.record("run", "show", "r_1"))["forks"] == ["r_2"]
    assert f"r_1 at {priced}" in await partsong("run", "show", "r_2")

    nodes.called.clear()
    nodes.mended.set()
    retried = await partsong.record("run", "retry", "r_1", "--reason", "the till works", "--wait")
    assert (retried["status"], nodes.called) == ("completed", ["pay"])
    assert "run.completed" in await partsong("run", "retry", "r_1", code=1)


async def test_a_runs_path_is_seen_on_its_graph_and_a_forks_from_where_it_came(
    partsong: Terminal,
) -> None:
    await partsong(
        "run", "start", "tests.system.graphs:shop", "-i", "amount=40", "--run-id", "r_1", "--wait", code=4
    )  # fmt: skip
    picture = await partsong("graph", "show", "--run", "r_1", "--mermaid")
    assert "class n0 done" in picture
    assert "class n1 failed" in picture
    assert "n0 ==> n1" in picture
    shown = await partsong("graph", "show", "shop", "--run", "r_1")
    assert [line.split()[:4] for line in shown.splitlines()[1:]] == [
        ["price", "function", "1", "done"],
        ["pay", "function", "1", "function.raised"],
    ]
    priced = next(
        row["seq"]
        for row in await partsong.rows("run", "history", "r_1")
        if "node.completed price:1" in str(row["did"])
    )
    await partsong(
        "run", "fork", "r_1", "--at", priced, "--set", "total=9", "--run-id", "r_2", "--wait"
    )
    forked = await partsong.record("graph", "show", "--run", "r_2")
    done = {"visits": 1, "stands": "done", "error": None}
    assert forked["visited"] == {"price": done, "pay": done}
    assert forked["taken"] == [{"in": "", "from": "price", "to": "pay", "times": 1}]

    assert json.loads(await partsong("graph", "show", "shop", "--json"))["name"] == "shop"
    other = await partsong("graph", "show", "tests.system.graphs:chain", "--run", "r_1", code=1)
    assert "graph.not_the_runs" in other
    assert "graph.unknown" in await partsong("graph", "show", "nobody", code=3)
    assert "run.unknown" in await partsong("graph", "show", "--run", "r_nobody", code=3)


async def test_a_large_state_is_shortened_for_people_and_never_in_data(
    partsong: Terminal, tmp_path: Path
) -> None:
    (tmp_path / "gate.yaml").write_text(GATE)
    (tmp_path / "given.json").write_text(json.dumps({"text": "x" * 100_000, "kind": "refund"}))
    started = ("run", "start", tmp_path / "gate.yaml", "-i", f"@{tmp_path / 'given.json'}")
    run_id = (await partsong.record(*started))["run_id"]
    await until(partsong.platform, run_id, "waiting")

    shown = await partsong("run", "show", run_id)
    assert len(shown) < 5_000
    assert '"kind": "refund"' in shown
    assert "x… (100,000 characters)" in shown
    assert "--full" in partsong.said

    for whole in (("--full",), ("-o", "json"), ("-o", "jsonl"), ("-o", "yaml")):
        assert "x" * 100_000 in await partsong("run", "show", run_id, *whole)
        assert "--full" not in partsong.said
    await partsong("run", "signal", run_id, "go", "1")
    ended = await partsong(*started, "--run-id", run_id, "--wait")
    assert len(ended) < 5_000
    assert f"partsong run state {run_id}" in partsong.said


async def test_a_waiting_run_says_what_for_pauses_and_hears_a_signal(
    partsong: Terminal, tmp_path_factory: pytest.TempPathFactory
) -> None:
    graph = tmp_path_factory.mktemp("graphs") / "gate.yaml"
    graph.write_text(GATE)
    await partsong(
        "run", "start", graph, "--run-id", "r_1", "--thread", "talk", "--on-busy", "reject",
        "--max-cost", "0.5", "--max-steps", "9", "--deadline", "3h", "--webhook", "https://127.0.0.1:9/told",
    )  # fmt: skip
    state = await until(partsong.platform, "r_1", "waiting")
    assert (state.options.max_cost, state.options.max_steps) == (0.5, 9)
    assert state.options.deadline is not None
    shown = await partsong.record("run", "show", "r_1")
    waits = state.waits_on
    assert waits is not None
    assert shown["waits_on"] == {
        "on": "signal", "what": "go", "since": waits.since, "until": waits.until, "reason": "",
    }  # fmt: skip
    table = await partsong("run", "show", "r_1")
    assert f"signal go since {waits.since} until {waits.until}" in table
    busy = await partsong("run", "start", "gate", "--thread", "talk", "--on-busy", "reject", code=1)
    assert "thread.busy" in busy

    await partsong("run", "pause", "r_1", "--reason", "lunch")
    assert (await partsong.record("run", "show", "r_1"))["status"] == "paused"
    await partsong("run", "signal", "r_1", "go", '{"sum": 3}', "--id", "payment-7")
    await partsong("run", "resume", "r_1")
    await until(partsong.platform, "r_1", "completed")
    assert await partsong.record("run", "state", "r_1") == {"word": {"sum": 3}}


async def test_what_cannot_be_done_says_why_and_what_to_do(partsong: Terminal) -> None:
    await partsong(
        "run", "start", "tests.system.graphs:shop", "-i", "amount=1", "--run-id", "r_1", "--wait"
    )
    assert "run.unknown" in await partsong("run", "pause", "r_nobody", code=3)
    assert "run.unknown" in await partsong("run", "history", "r_nobody", code=3)
    assert "run.ended" in await partsong("run", "signal", "r_1", "go", code=1)
    said = await partsong("run", "fork", "r_1", "--returned", "pay:2={}", code=2)
    assert "fork.unknown_output" in said
    assert "fix" in said
    assert "request.malformed" in await partsong(
        "run", "fork", "r_1", "--returned", "pay:1=3", code=2
    )
    assert "run.bad_deadline" in await partsong("run", "retry", "r_1", "--deadline", "soon", code=2)
    assert "on-busy" in await partsong("run", "start", "gate", "--on-busy", "wait", code=2)


async def test_a_schedule_is_added_listed_and_removed(
    partsong: Terminal, tmp_path_factory: pytest.TempPathFactory
) -> None:
    graph = tmp_path_factory.mktemp("graphs") / "gate.yaml"
    graph.write_text(GATE)
    await partsong(
        "schedule", "add", "leap", graph, "-i", "x=1", "--cron", "0 0 0 29 2 *", "--timezone", "Europe/Berlin"
    )  # fmt: skip
    kept = await partsong.rows("schedule", "list")
    assert [(row["name"], row["input"]) for row in kept] == [("leap", {"x": 1})]
    assert (kept[0]["graph"], str(kept[0]["graph_hash"])[:7]) == ("gate", "sha256:")
    await partsong("schedule", "remove", "leap")
    assert await partsong.rows("schedule", "list") == []
    assert "schedule.unknown" in await partsong("schedule", "remove", "leap", code=3)
    assert "schedule.bad_cron" in await partsong(
        "schedule", "add", "leap", graph, "--cron", "at noon", code=2
    )


@pytest.mark.parametrize("group", ["run", "schedule", "log"])
def test_every_verb_shows_an_example_that_names_it(group: str) -> None:
    commands = {"run": run_group, "schedule": schedule_group, "log": log_group}[group].commands
    for verb, command in commands.items():
        assert f"Example: partsong {group} {verb}" in command.get_help(click.Context(command))


async def test_a_runs_path_leads_through_the_detached_runs_it_waited_for(
    partsong: Terminal, tmp_path: Path
) -> None:
    for name, text in {"inner": INNER, "middle": MIDDLE, "outer": OUTER}.items():
        (tmp_path / f"{name}.yaml").write_text(text)
    graph = tmp_path / "outer.yaml"
    for run_id, n in (("r_1", 1), ("r_3", 3)):
        await partsong("run", "start", graph, "-i", f"n={n}", "--run-id", run_id, "--wait")

    shown = await partsong.record("graph", "show", "--run", "r_1")
    twice = {"visits": 2, "stands": "done", "error": None}
    paths = ("child", "child/inside-it", "child/inside-it/twice")
    assert shown["visited"] == dict.fromkeys(paths, twice)
    end = {"in": "child/inside-it", "from": "twice", "to": "END", "else": True, "times": 2}
    assert end in shown["taken"]

    failed = await partsong.record("graph", "show", "--run", "r_3")
    assert failed["visited"]["child/inside-it/broken"]["stands"] == "failed"
    assert failed["visited"]["stop"]["stands"] == "done"
