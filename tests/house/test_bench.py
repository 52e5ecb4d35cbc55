"""The bench harness: every measurement can be found, every promise is judged the right way round."""

from __future__ import annotations

import importlib
import inspect

import pytest

from bench.__main__ import main
from bench.bars import BARS, Bar
from bench.harness import names
from bench.others import PeerReport, beside
from bench.row import PeerValue, Row


def row(name: str) -> Row:
    return Row(name=name, work="w", value=1.0, unit="ms", command="python -m bench")


@pytest.mark.parametrize("name", names())
def test_every_module_in_rows_measures(name: str) -> None:
    measure = importlib.import_module(f"bench.rows.{name}").measure
    assert inspect.iscoroutinefunction(measure)
    assert list(inspect.signature(measure).parameters) == ["context"]


@pytest.mark.parametrize(
    ("better", "value", "holds"),
    [
        ("less", 1.9, True),
        ("less", 2.0, True),
        ("less", 2.1, False),
        ("more", 1.9, False),
        ("more", 2.0, True),
        ("more", 2.1, True),
    ],
)
def test_a_bar_is_judged_in_its_own_direction(better: str, value: float, holds: bool) -> None:
    assert Bar("work", "ms", 2.0, "more" if better == "more" else "less").holds(value) is holds


def test_a_peers_figure_stands_beside_the_same_work_only() -> None:
    report = PeerReport("Other 1.0", {"sequential_step": PeerValue(value=3.1, unit="ms")})
    assert beside(row("step.across"), [report]).peers["Other 1.0"].value == 3.1
    assert beside(row("up.help"), [report]).peers == {}
    assert beside(row("log.append.file"), [report]).peers == {}


def test_peers_report_the_units_of_the_bars_they_stand_beside() -> None:
    in_scripts = {"sequential_step": "ms", "concurrent_runs": "runs/s", "concurrent_p99": "s"}
    for bar in BARS.values():
        if bar.peer and bar.peer.name in in_scripts:
            assert bar.unit == in_scripts[bar.peer.name]


def test_an_unknown_measurement_is_refused_with_the_known_ones(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["--only", "nothing"]) == 2
    said = capsys.readouterr().err
    assert "no measurement nothing" in said
    assert ", ".join(names()) in said
