"""Two thousand cases: whatever arrives, nobody dies, hangs, repeats without end or is silent."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from partsong.contracts import plain
from partsong.contracts.errors import InvalidInput
from partsong.contracts.foreign import cel
from partsong.contracts.wire import requests
from tests.fuzz import live, pure
from tests.fuzz.apart import play
from tests.fuzz.cli import again, apart, main, platform
from tests.fuzz.draw import Draw
from tests.fuzz.kinds import KINDS, KNOWN, SHARES, cases, found_in
from tests.fuzz.live import cases as live_cases
from tests.house.sources import ROOT

SEED = 1
WHOLE, THERE = 2000, 500
"""So many cases, and so many of them on a platform."""

pytestmark = pytest.mark.timeout(400)


async def test_whatever_is_read_in_one_process_is_answered_or_refused() -> None:
    found = [
        f"{again(SEED, finding.case)}\n    {finding.said}"
        async for finding in apart(SEED, cases(WHOLE - THERE), 2)
        if finding.said
    ]
    assert not found, "\n".join(found)


async def test_whatever_arrives_at_a_platform_its_honest_runs_do_not_notice(tmp_path: Path) -> None:
    found = await platform(tmp_path / "field", SEED, live_cases(THERE))
    assert not found, "\n".join(found[:20])


def test_the_kinds_are_played_as_often_as_they_should_be() -> None:
    names = cases(1000)
    assert len({*names}) == 1000
    for kind, share in SHARES.items():
        assert sum(name.startswith(f"{kind}/") for name in names) == share * 10
    assert {*SHARES} == {*KINDS}
    assert sum(SHARES.values()) == 100


@pytest.mark.parametrize("kind", [*KINDS])
def test_a_case_is_the_same_in_any_process(kind: str) -> None:
    here = [Draw(f"{SEED} {kind}/3").value() for _ in range(2)]
    there = subprocess.run(
        [
            sys.executable,
            "-c",
            f"from tests.fuzz.draw import Draw; print(repr(Draw('{SEED} {kind}/3').value()))",
        ],
        cwd=ROOT,
        env={**os.environ, "PYTHONHASHSEED": "99"},
        capture_output=True,
        text=True,
        timeout=100,
        check=True,
    ).stdout
    assert repr(here[0]) == repr(here[1]) == there.strip()


def test_what_is_known_to_be_wrong_is_wrong_still() -> None:
    for said, case in KNOWN.items():
        assert said in found_in(SEED, case), f"it has been mended: take {said!r} out of KNOWN"


def test_one_case_is_played_again_by_its_name(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--seed", "1", "--case", "request/3"]) == 0
    assert "0 findings in request/3, seed 1" in capsys.readouterr().out


# --- what is planted is found ---------------------------------------------------------------------------------------


def first_found(kind: str, most: int) -> str:
    for number in range(most):
        if found := found_in(SEED, f"{kind}/{number}"):
            return "\n".join(found)
    raise AssertionError(f"the breach went unseen in {most} cases")


def test_a_gate_without_a_floor_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plain, "DEEPEST", 10**6)
    assert "Recursion" in first_found("value", 2000)


def test_a_gate_that_lets_half_a_character_through_is_found(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(plain, "_text", lambda value, *_: value)
    assert "surrogate" in first_found("value", 400)


def test_a_door_that_does_not_look_how_deep_a_body_is_is_found(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(requests, "read_json", json.loads)
    assert "RecursionError" in first_found("request", 400)


def test_an_id_that_is_not_found_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pure, "request_id", lambda _body, _headers: "")
    assert "the answer would go to ''" in first_found("request", 100)


def test_an_error_as_long_as_what_was_sent_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    def check(expression: str, name: str = "state") -> None:
        raise InvalidInput("cel.syntax", f"{name}: {expression}")

    monkeypatch.setattr(cel, "check", check)
    assert "characters" in first_found("cel", 400)


async def test_a_case_that_kills_its_process_or_never_ends_is_found_and_the_others_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A plug-in for every interpreter that is started here: as a library that crashes would do it."""
    (tmp_path / "sitecustomize.py").write_text(_PLANT, "utf-8")
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}{os.pathsep}{os.environ.get('PYTHONPATH', '')}")
    names = ["value/1", "value/2", "value/3", "value/4", "value/5"]
    found = {finding.case: finding.said async for finding in play(SEED, names)}
    assert [*found] == names
    assert found["value/1"] == found["value/3"] == found["value/5"] == []
    assert found["value/2"] == ["its process dies with code -9"]
    assert "times what the largest request takes" in found["value/4"][0]


_PLANT = """
import os, random
real = random.Random.seed
def seed(self, name=None, *more):
    real(self, name, *more)
    if name == "1 value/2":
        os.kill(os.getpid(), 9)
    while name == "1 value/4":
        pass
random.Random.seed = seed
"""


async def test_a_platform_that_forgets_a_request_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "sitecustomize.py").write_text(_FORGETFUL, "utf-8")
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}{os.pathsep}{os.environ.get('PYTHONPATH', '')}")
    monkeypatch.setattr(live, "_OVERTAKEN", 20)
    found = await platform(tmp_path / "field", SEED, ["door/0", "door/7", "door/8", "door/17"])
    assert any("was sent 1 times and answered 0 times" in said for said in found), found


_FORGETFUL = """
import partsong.graph_engine.app as app
real = app._answer
async def answer(context, reply):
    if reply.id not in {"z7", "z17"}:
        await real(context, reply)
app._answer = answer
"""
