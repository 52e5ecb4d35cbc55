"""Log lines: an event, key=value, and the run they belong to."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator

import pytest

from partsong.runtime import logs


@pytest.fixture(autouse=True)
def _root_as_it_was() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)


def line(capsys: pytest.CaptureFixture[str]) -> str:
    return capsys.readouterr().err.strip()


def test_text_is_time_level_service_event_and_pairs(capsys: pytest.CaptureFixture[str]) -> None:
    logs.set_up("tool-runner")
    logging.getLogger("partsong.x").info("job done", extra={"call": "a:1", "took": 3})
    time, rest = line(capsys).split(" ", 1)
    assert time.endswith("Z")
    assert rest == "info    tool-runner job done call=a:1 took=3"


def test_json_is_one_object_with_the_same_fields(capsys: pytest.CaptureFixture[str]) -> None:
    logs.set_up("tool-runner", form="json")
    logging.getLogger("partsong.x").warning("odd", extra={"path": object, "n": 1})
    found = json.loads(line(capsys))
    assert {key: found[key] for key in ("level", "service", "event", "n")} == {
        "level": "warning",
        "service": "tool-runner",
        "event": "odd",
        "n": 1,
    }


def test_the_run_and_the_trace_stand_in_every_line_of_their_task(
    capsys: pytest.CaptureFixture[str],
) -> None:
    logs.set_up("x", form="json")
    run, trace = logs.current_run.set("r_1"), logs.current_trace.set("t1")
    logging.getLogger("partsong.x").info("inside")
    logs.current_run.reset(run)
    logs.current_trace.reset(trace)
    logging.getLogger("partsong.x").info("outside")
    inside, outside = map(json.loads, line(capsys).splitlines())
    assert (inside["run"], inside["trace"]) == ("r_1", "t1")
    assert "run" not in outside


def test_an_exception_is_a_field_of_its_line(capsys: pytest.CaptureFixture[str]) -> None:
    logs.set_up("x", form="json")
    try:
        raise ValueError("no luck")
    except ValueError:
        logging.getLogger("partsong.x").exception("failed")
    found = json.loads(line(capsys))
    assert found["event"] == "failed"
    assert "ValueError: no luck" in found["error"]


@pytest.mark.parametrize(
    ("value", "word"),
    [
        ("a b", '"a b"'),
        ("a\nb", '"a\\nb"'),
        ("", '""'),
        ('say "x"', '"say \\"x\\""'),
        ("ä=1", '"ä=1"'),
    ],
)
def test_in_text_a_value_that_is_no_word_is_quoted(
    capsys: pytest.CaptureFixture[str], value: str, word: str
) -> None:
    logs.set_up("x")
    logging.getLogger("partsong.x").info("told", extra={"said": value})
    assert line(capsys).endswith(f"x told said={word}")


def test_in_text_a_traceback_follows_its_line(capsys: pytest.CaptureFixture[str]) -> None:
    logs.set_up("x")
    try:
        raise ValueError("no luck")
    except ValueError:
        logging.getLogger("partsong.x").exception("failed", extra={"n": 1})
    lines = line(capsys).splitlines()
    assert lines[0].endswith("x failed n=1")
    assert lines[1].startswith("    Traceback")
    assert lines[-1] == "    ValueError: no luck"


def test_below_the_level_nothing_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    logs.set_up("x", level="WARNING")
    logging.getLogger("partsong.x").info("chatter")
    assert line(capsys) == ""


def test_a_traceback_of_elsewhere_stands_below_its_line_and_in_json_as_a_field(
    capsys: pytest.CaptureFixture[str],
) -> None:
    told = {"call": "a:1", "traceback": "Traceback:\n  File x\nValueError: \x1b[2J"}
    logs.set_up("tool-runner")
    logging.getLogger("partsong.x").warning("call failed", extra=told)
    first, *below = line(capsys).splitlines()
    assert first.endswith("call failed call=a:1")
    assert below == ["    Traceback:", "      File x", "    ValueError: \\x1b[2J"]
    logs.set_up("tool-runner", form="json")
    logging.getLogger("partsong.x").warning("call failed", extra=told)
    assert json.loads(line(capsys))["traceback"] == told["traceback"]
