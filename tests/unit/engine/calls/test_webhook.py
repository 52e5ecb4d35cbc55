"""The webhook of an ended run: asked for with its end, retried, given up, and never a part of the run itself."""

from __future__ import annotations

import pytest

from partsong.contracts import events as e
from partsong.contracts.errors import InvalidInput, Problem
from partsong.contracts.events import RunOptions
from partsong.contracts.graph.validate import parse_graph
from partsong.contracts.state.fold import fold
from partsong.contracts.wire.work import ToolWork
from partsong.engine.commands import runs
from partsong.engine.commands.options import check_options
from partsong.engine.decide import decide
from partsong.engine.work.hints import work_of
from tests.support.scenario import NOW, Scenario

URL = "https://example.com/hook"
GRAPH = parse_graph(
    {"name": "g", "entry": "a", "nodes": {"a": {"type": "function", "function": "m:a"}}}
)


def ended() -> Scenario:
    """A run with a webhook that has just ended."""
    run = Scenario(GRAPH, {"x": 1}, options=RunOptions(webhook=URL, labels={"k": "v"}))
    return run.completes("a:1", {"y": 2})


def failed(run: Scenario, code: str = "webhook.unavailable", *, retryable: bool = True) -> Scenario:
    call = next(iter(run.state.calls.values()))
    problem = Problem(code=code, message="503", retryable=retryable)
    id_ = f"r_1.{call.id}.{call.attempt}.closed"
    return run.when(e.CallFailed(id=id_, call_id=call.id, attempt=call.attempt, error=problem))


def rang(run: Scenario) -> Scenario:
    (timer,) = run.state.timers
    return run.when(*runs.fired(run.state, timer, NOW))


def test_the_call_is_asked_for_in_the_commit_that_ends_the_run() -> None:
    run = ended().stands("completed")
    assert [event.type for event in run.new[-2:]] == ["run.completed", "call.requested"]
    work = work_of(run.state, run.state.calls["webhook"])
    assert isinstance(work, ToolWork)
    assert (work.tool, work.idempotency_key) == ("send_webhook", "r_1/webhook")
    assert isinstance(work.args, dict)
    assert work.args["url"] == URL
    payload = work.args["payload"]
    assert isinstance(payload, dict)
    assert (payload["type"], payload["timestamp"]) == ("run.completed", NOW)
    assert isinstance(payload["data"], dict)
    assert payload["data"]["state"] == {"x": 1, "y": 2}
    assert payload["data"]["labels"] == {"k": "v"}
    assert payload["data"]["error"] is None


def test_a_webhook_that_was_heard_is_noted_and_the_run_stays_as_it_ended() -> None:
    run = ended()
    before = run.state
    assert before.telling
    run.completes("webhook")
    assert [event.type for event in run.new] == ["run.notified"]
    assert not run.state.telling
    assert (run.state.status, run.state.values, run.state.updated) == (
        before.status,
        before.values,
        before.updated,
    )
    assert run.refolded == run.state


def test_what_may_pass_is_tried_again_by_durable_timers_for_about_a_day() -> None:
    run, waits = ended(), 0
    while run.state.telling:
        failed(run, "tool.unknown" if waits % 2 else "webhook.unavailable")
        if run.state.timers:
            assert isinstance(run.new[-1], e.TimerSet)
            rang(run)
            waits += 1
    assert waits == 11
    (given_up,) = run.new
    assert isinstance(given_up, e.RunNotified)
    assert given_up.error is not None
    assert (given_up.attempts, given_up.error.code) == (12, "tool.unknown")
    run.stands("completed")
    assert run.refolded == run.state


def test_a_refusal_for_good_is_not_tried_again() -> None:
    run = failed(ended(), "webhook.refused", retryable=False)
    (given_up,) = run.new
    assert isinstance(given_up, e.RunNotified)
    assert given_up.error is not None
    assert (given_up.error.code, run.state.telling) == ("webhook.refused", False)


def test_a_failed_run_tells_its_error_and_a_retried_one_its_second_end_under_another_key() -> None:
    run = Scenario(GRAPH, options=RunOptions(webhook=URL)).fails("a:1", retryable=False)
    run.stands("failed")
    assert run.state.telling
    run.when(*runs.retry(run.state, None, None, None, "q2", NOW))
    assert "webhook" not in run.state.calls
    run.completes("a:1").stands("completed")
    assert list(run.state.calls)[-1] == "webhook-r1"
    run.completes("webhook").stands("completed")
    assert run.state.telling
    run.completes("webhook-r1")
    assert not run.state.telling


def test_a_run_without_a_webhook_tells_nobody_and_neither_does_one_process() -> None:
    run = Scenario(GRAPH).completes("a:1")
    assert not run.state.telling
    alone = Scenario(GRAPH, options=RunOptions(webhook=URL))
    done = fold(alone.state, alone.completion("a:1"))
    assert decide(done, NOW, park=False).events[-1].type == "run.completed"


@pytest.mark.parametrize(
    "url",
    [
        "",
        "example.com/hook",
        "ftp://example.com",
        "https://",
        "https:///path",
        "https://user:pass@example.com",
        "https://example.com:99999/",
        "https://example.com/a b",
        "https://example.com/\r\nX: y",
        "https://[::1",
        "https://example.com/" + "x" * 2000,
    ],
)
def test_a_url_without_the_form_of_one_is_refused(url: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        check_options("r_1", RunOptions(webhook=url))
    assert (caught.value.problem.code, caught.value.problem.where) == (
        "webhook.bad_url",
        "options.webhook",
    )


def test_a_url_of_the_right_form_is_taken() -> None:
    for url in (URL, "http://127.0.0.1:8080/x?y=z", "https://[::1]:8443/"):
        check_options("r_1", RunOptions(webhook=url))
