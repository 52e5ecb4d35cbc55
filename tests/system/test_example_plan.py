"""The example `plan_and_edit`, with a person who edits and one who refuses."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from examples.plan_and_edit.__main__ import KEYS, work


@pytest.fixture(autouse=True)
def _no_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    for key in KEYS:
        monkeypatch.delenv(key, raising=False)


async def test_what_the_person_leaves_in_the_file_is_what_is_done(tmp_path: Path) -> None:
    file = tmp_path / "plan.json"

    def edits(_question: str) -> str:
        plan = json.loads(file.read_text())
        plan["tasks"] = [plan["tasks"][1]]
        file.write_text(json.dumps(plan))
        return "yes"

    result = await work("tea", file, edits)
    assert result.raise_for_status()["summary"] == "The page is written."
    assert '"id": "trade"' in json.dumps(result["done"])
    assert '"id": "origin"' not in json.dumps(result["done"])


async def test_a_plan_that_is_refused_is_not_carried_out(tmp_path: Path) -> None:
    result = await work("tea", tmp_path / "plan.json", lambda _question: "no")
    assert (result.status, result["done"]) == ("failed", [])
