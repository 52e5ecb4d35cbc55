"""Open runs: what headers say, without folding anything."""

from __future__ import annotations

import pytest

from partsong.contracts.wire.headers import SEEN
from partsong.contracts.wire.subjects import Subjects
from partsong.graph_engine.open_runs import OpenRuns
from partsong.log.port import Record

SUBJECTS, RUN = Subjects(), "r_1"


def note(runs: OpenRuns, seq: int, subject: str, **headers: str) -> None:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    runs.note(Record(seq, subject, b"", f"{seq}", named), SUBJECTS.parse_log(subject))


def commit(
    runs: OpenRuns, seq: int, status: str, seen: int | str | None = None, **more: str
) -> None:
    said = {} if seen is None else {SEEN.replace("-", "_"): f"{seen}"}
    note(runs, seq, SUBJECTS.engine(RUN), Partsong_Status=status, **said, **more)


def test_a_command_opens_a_run_and_its_last_commit_closes_it() -> None:
    runs = OpenRuns()
    note(runs, 1, SUBJECTS.command(RUN, "q"))
    assert RUN in runs
    commit(runs, 2, "running", 1)
    assert runs.newest == {RUN: 2}
    commit(runs, 3, "completed", 2)
    assert RUN not in runs


def test_a_request_behind_what_the_last_commit_had_seen_keeps_the_run_open() -> None:
    runs = OpenRuns()
    note(runs, 1, SUBJECTS.command(RUN, "q"))
    note(runs, 2, SUBJECTS.command(RUN, "late"))
    commit(runs, 3, "completed", 1)
    assert runs.newest == {RUN: 3}


@pytest.mark.parametrize("seen", ["9" * 5_000, "-1", "1e3", "٣" * 30, ""])
def test_a_commit_that_names_no_sequence_says_only_how_the_run_stands(seen: str) -> None:
    """Anybody may have written it, and a number of 5,000 digits is refused by the language itself."""
    runs = OpenRuns({RUN: 7})
    commit(runs, 8, "completed", seen)
    assert RUN not in runs


def test_that_holds_across_a_checkpoint() -> None:
    runs = OpenRuns({RUN: 2})
    commit(runs, 3, "completed", 1)
    assert RUN in runs


def test_a_request_that_the_last_commit_had_seen_and_left_for_later_keeps_the_run_open() -> None:
    runs = OpenRuns()
    note(runs, 1, SUBJECTS.command(RUN, "q"))
    note(runs, 2, SUBJECTS.command(RUN, "later"))
    commit(runs, 3, "refused", 2, Partsong_Pending="1")
    assert runs.newest == {RUN: 3}
    commit(runs, 4, "refused", 3)
    assert RUN not in runs


def test_a_run_whose_webhook_is_not_told_is_open() -> None:
    runs = OpenRuns()
    commit(runs, 1, "completed", 0, Partsong_Webhook="open")
    assert RUN in runs


@pytest.mark.parametrize(
    "status", ["completed", "failed", "cancelled", "limit_exceeded", "refused"]
)
def test_a_commit_of_an_earlier_version_says_only_how_the_run_stands(status: str) -> None:
    runs = OpenRuns({RUN: 7})
    commit(runs, 8, status)
    assert RUN not in runs


def test_a_report_about_a_run_that_is_not_open_opens_nothing() -> None:
    runs = OpenRuns()
    note(runs, 1, SUBJECTS.fact(RUN))
    note(runs, 2, SUBJECTS.call(RUN, "c"))
    assert RUN not in runs
    note(runs, 3, SUBJECTS.command(RUN, "q"))
    note(runs, 4, SUBJECTS.fact(RUN))
    assert runs.of(RUN) == 4
