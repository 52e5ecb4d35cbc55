"""Recorded histories of every released version are read and folded for ever."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from partsong.contracts.state.verify import replay

HISTORIES = sorted(Path(__file__).parent.glob("*/*.jsonl"))


def test_there_are_histories() -> None:
    assert HISTORIES


@pytest.mark.parametrize("path", HISTORIES, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_a_recorded_history_still_means_what_it_meant(path: Path) -> None:
    *lines, last = path.read_text().splitlines()
    records = [(entry["seq"], entry["body"].encode()) for entry in map(json.loads, lines)]
    outcome = json.loads(last)
    found = replay(f"r_{path.stem}", records)
    assert found.findings == ()
    assert found.state.phase == outcome["status"]
    assert found.state.values == outcome["state"]
