"""What is typed every day: refusals that say why, labels, pages of runs, names instead of hashes."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from partsong.client import Client
from partsong.contracts.errors import InvalidInput
from partsong.testing.nats import Bus
from tests.system.platform import a_platform
from tests.system.terminal import Terminal

GATE = """
name: gate
nodes:
  gate: {type: wait, signal: go, output: word, deadline: 2h}
"""
DONE = """
name: done
nodes:
  a: {type: transform, set: {x: "1"}}
"""


@pytest.fixture
async def partsong(bus: Bus, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Terminal]:
    monkeypatch.setenv("PARTSONG_NATS_URL", bus.url)
    monkeypatch.setenv("PARTSONG_PREFIX", bus.subjects.prefix)
    async with a_platform(bus) as platform:
        yield Terminal(platform, monkeypatch)


@pytest.fixture
def gate(tmp_path: Path) -> Path:
    file = tmp_path / "gate.yaml"
    file.write_text(GATE)
    return file


@pytest.fixture
def done(tmp_path: Path) -> Path:
    file = tmp_path / "done.yaml"
    file.write_text(DONE)
    return file


async def test_what_changes_nothing_says_so(partsong: Terminal, gate: Path) -> None:
    await partsong("run", "start", gate, "--run-id", "r_1")
    said = await partsong("run", "resume", "r_1", code=1)
    assert "run.not_paused" in said
    assert "not paused" in said
    await partsong("run", "pause", "r_1")
    assert "run.paused" in await partsong("run", "pause", "r_1", code=1)
    await partsong("run", "resume", "r_1")
    await partsong("run", "cancel", "r_1", "--reason", "enough")
    await partsong.platform.client.result("r_1", timeout=30)
    for verb in ("cancel", "pause", "resume"):
        words = ["run", verb, "r_1", *(["--reason", "again"] if verb == "cancel" else [])]
        said = await partsong(*words, code=1)
        assert "run.ended" in said
        assert "it is cancelled" in said


async def test_the_client_says_whether_anything_changed(partsong: Terminal, gate: Path) -> None:
    await partsong("run", "start", gate, "--run-id", "r_1")
    client = partsong.platform.client
    assert [await client.pause("r_1"), await client.pause("r_1")] == [True, False]
    assert [await client.resume("r_1"), await client.resume("r_1")] == [True, False]
    assert await client.cancel("r_1")
    await client.result("r_1", timeout=30)
    assert not await client.cancel("r_1")


async def test_a_place_that_the_log_has_not_reached_is_refused(
    partsong: Terminal, done: Path
) -> None:
    await partsong("run", "start", done, "--run-id", "r_1", "--wait")
    last = (await partsong.rows("run", "history", "r_1"))[-1]["seq"]
    for words in (
        ("run", "state", "r_1", "--at", 99_999),
        ("run", "diff", "r_1", 1, 99_999),
        ("run", "fork", "r_1", "--at", 99_999),
    ):
        said = await partsong(*words, code=2)
        assert "position.beyond" in said
        assert "99999" in said
        assert str(last) in said
    assert (await partsong.record("run", "state", "r_1", "--at", last)) == {"x": 1}
    assert "run.unknown" in await partsong("run", "state", "r_no", "--at", 99_999, code=3)


async def test_a_timer_is_shown_with_what_waits_for_it(partsong: Terminal, gate: Path) -> None:
    await partsong("run", "start", gate, "--run-id", "r_1")
    lines = (await partsong("run", "events", "r_1")).splitlines()
    timer = next(line for line in lines if "timer.set" in line)
    assert timer.split()[-1] == "gate:1"
    assert not any(line.endswith("None") for line in lines)


async def test_a_schedule_needs_one_of_its_two_options(partsong: Terminal, done: Path) -> None:
    for extra, says in (
        ((), "--every DURATION or --cron"),
        (("--every", "1h", "--cron", "0 0 0 * * *"), "not both"),
    ):
        said = await partsong("schedule", "add", "s", done, *extra, code=2)
        assert says in said
        assert "input_value" not in said


async def test_a_schedule_is_listed_with_the_name_of_its_graph(
    partsong: Terminal, done: Path
) -> None:
    await partsong("schedule", "add", "s", done, "--every", "1h", "--label", "team=ops")
    (row,) = await partsong.rows("schedule", "list")
    assert row["graph"] == "done"
    assert str(row["graph_hash"]).startswith("sha256:")
    table = await partsong("schedule", "list")
    assert "done" in table
    assert "sha256" not in table
    assert "sha256" in await partsong("schedule", "list", "-o", "wide")
    assert row["every"] == 3600.0
    assert " 1h " in table


async def test_the_same_command_with_the_time_that_a_run_has_is_the_same_run(
    partsong: Terminal, gate: Path
) -> None:
    words = ["run", "start", gate, "--run-id", "r_1", "--deadline"]
    await partsong(*words, "1h")
    await partsong(*words, "1h")
    await partsong(*words, "PT60M")
    assert len(await partsong.rows("run", "list")) == 1
    assert "run.exists" in await partsong(*words, "2h", code=1)


async def test_a_wrong_duration_names_its_option_and_the_forms(
    partsong: Terminal, done: Path
) -> None:
    for words in (
        ("run", "start", done, "--wait", "--timeout", "soon"),
        ("run", "watch", "r_1", "--timeout", "nan"),
        ("schedule", "add", "s", done, "--every", "P1M"),
        ("run", "retry", "r_1", "--deadline", "-1h"),
        ("down", "--timeout", "-1"),
    ):
        said = await partsong(*words, code=2)
        assert str(words[-2]) in said
        assert "PT1H30M" in said


async def test_labels_are_given_and_shown(partsong: Terminal, done: Path) -> None:
    words = ["run", "start", done, "--run-id", "r_1", "--label", "team=ops", "--label", "why=a=b"]
    await partsong(*words, "--wait")
    wanted = {"team": "ops", "why": "a=b"}
    assert (await partsong.record("run", "show", "r_1"))["labels"] == wanted
    assert "team=ops, why=a=b" in await partsong("run", "show", "r_1")
    assert (await partsong.rows("run", "list"))[0]["labels"] == wanted
    assert "team=ops, why=a=b" in await partsong("run", "list", "-o", "wide")
    assert "team=ops" not in await partsong("run", "list")
    await partsong("run", "fork", "r_1", "--run-id", "r_2", "--wait")
    assert await partsong.platform.client.labels(["r_2", "r_1"]) == dict.fromkeys(
        ("r_2", "r_1"), wanted
    )
    for bad in ("team", "=ops"):
        assert "KEY=VALUE" in await partsong("run", "start", done, "--label", bad, code=2)
    twice = ("--label", "a=1", "--label", "a=2")
    assert "twice" in await partsong("run", "start", done, *twice, code=2)


async def test_runs_are_listed_by_pages_the_newest_first(partsong: Terminal, done: Path) -> None:
    for n in range(5):
        await partsong("run", "start", done, "--run-id", f"r_{n}", "--wait")
    seen, after = [], list[str]()
    while True:
        page = await partsong.rows("run", "list", "--limit", 2, *after)
        seen += [row["run_id"] for row in page]
        if "--after" not in partsong.said:
            break
        after = partsong.said.split("there are more: ")[1].split()
    assert seen == ["r_4", "r_3", "r_2", "r_1", "r_0"]
    assert "run.unknown" in await partsong("run", "list", "--after", "r_no", code=3)


async def test_a_page_goes_on_behind_a_run_that_fits_no_more(
    partsong: Terminal, gate: Path
) -> None:
    client: Client = partsong.platform.client
    for n in range(3):
        await partsong("run", "start", gate, "--run-id", f"r_{n}")
    assert [run.run_id for run in await client.runs(status="waiting", limit=1)] == ["r_2"]
    await client.cancel("r_2")
    await client.result("r_2", timeout=30)
    left = await client.runs(status="waiting", after="r_2")
    assert [run.run_id for run in left] == ["r_1", "r_0"]


async def test_arguments_that_do_not_fit_are_the_typists(partsong: Terminal) -> None:
    said = await partsong("tool", "call", "calculator", code=2)
    assert "tool.invalid_arguments" in said
    assert "division" in await partsong(
        "tool", "call", "calculator", "-i", "expression=1/0", code=1
    )


async def test_a_worker_is_given_its_prefix(
    partsong: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PARTSONG_PREFIX", "other")
    said = await partsong("worker", "start", "tool-runner", "--prefix", "a b", code=2)
    assert "a b" in said, json.dumps(said)


async def test_a_program_reads_the_same_of_a_schedule_and_of_a_place(
    partsong: Terminal, done: Path
) -> None:
    client = partsong.platform.client
    for given in ({}, {"every": "1h", "cron": "0 0 0 * * *"}):
        with pytest.raises(InvalidInput, match="either `every` or `cron`") as refused:
            await client.schedule("s", {"name": "g"}, **given)  # type: ignore[arg-type]
        assert "input_value" not in refused.value.problem.message
    await partsong("run", "start", done, "--run-id", "r_1", "--wait")
    for asking in (client.state("r_1", at=99_999), client.fork("r_1", 99_999)):
        with pytest.raises(InvalidInput) as beyond:
            await asking
        assert beyond.value.problem.code == "position.beyond"
