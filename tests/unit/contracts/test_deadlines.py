"""A run's deadline: a moment, or a duration that stays one until the run begins."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import pytest

from partsong.contracts.deadlines import parse_deadline, seconds_after
from partsong.contracts.errors import InvalidInput
from partsong.contracts.events import RunOptions
from partsong.contracts.wire.requests import RunRequest, parse_request

NOON = "2030-01-31T12:00:00+00:00"


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        (NOON, NOON),
        ("2030-01-31T12:00:00Z", "2030-01-31T12:00:00Z"),
        (datetime(2030, 1, 31, 12, tzinfo=UTC), NOON),
        ("60m", "1h"),
        ("PT1H", "1h"),
        (3600, "1h"),
        ("90", "1m30s"),
        (timedelta(hours=1), "1h"),
    ],
)
def test_a_moment_is_kept_and_a_duration_has_one_form(given: object, kept: str) -> None:
    assert parse_deadline(given) == kept
    body = json.dumps({"id": "q", "graph": "g", "options": {"deadline": given}}, default=str)
    if not isinstance(given, timedelta | datetime):
        request = parse_request("run", body.encode())
        assert isinstance(request, RunRequest)
        assert request.options.deadline == kept


@pytest.mark.parametrize(
    "given",
    ["soon", "", "2030-01-31", "20300131", "2030-01-31T12:00:00", datetime(2030, 1, 1), "P1M", -1, "0s", True, 1e12],  # noqa: DTZ001
)  # fmt: skip
def test_what_is_neither_is_refused_with_the_forms_of_both(given: object) -> None:
    with pytest.raises(InvalidInput) as caught:
        parse_deadline(given, "--deadline")
    problem = caught.value.problem
    assert (problem.code, problem.where) == ("run.bad_deadline", "--deadline")
    assert "RFC 3339" in str(problem.fix)
    assert "1h30m" in str(problem.fix)


def test_a_log_is_read_as_it_is() -> None:
    assert RunOptions.model_validate({"deadline": "whatever it was"}).deadline == "whatever it was"
    assert seconds_after("whatever it was") is None
    assert seconds_after(NOON) is None
    assert seconds_after("1h30m") == 5400
