"""The pure core: which events change which approvals, which decisions count, what an id looks like."""

from __future__ import annotations

import json
from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from partsong.approval.core.approval import Approval, Position, id_of, parse_id
from partsong.approval.core.decision import Closed, Decision, after, decide, is_repeat
from partsong.approval.core.inbox import Change, Message, concerns, project, read
from partsong.contracts import events as e
from partsong.contracts.errors import Conflict, InvalidInput, NotFound, Problem
from partsong.contracts.events.envelope import START_HASH, encode_commit, encode_report
from partsong.contracts.wire.subjects import LogSubject
from partsong.web.origin import refusal
from tests.services.approval.support import NOON, asked

RUN = "r_1"
ENGINE = LogSubject(0, RUN, "engine")
IDS = st.text("abcXYZ019_-:/~@+=", min_size=1, max_size=30)


def call_subject(call: str) -> LogSubject:
    return LogSubject(0, RUN, "call", call)


def message(*events: e.Event) -> Message:
    return Message(tuple(enumerate(events)), ())


def given_asked(*calls: str) -> dict[str, Approval]:
    """Open approvals, asked for by one commit at sequence 1."""
    changes = project(ENGINE, 1, message(*(asked(RUN, call) for call in calls)), {})
    assert [change.what for change in changes] == ["created"] * len(calls)
    return {change.approval.call_id: change.approval for change in changes}


def ends(changes: tuple[Change, ...]) -> list[tuple[str, str, str]]:
    return [(c.what, c.approval.call_id, c.approval.status) for c in changes if c.what != "guarded"]


CLOSINGS: list[tuple[e.Event, str, str, str | None]] = [
    (
        e.ApprovalDecided(id="d", call_id="a:1", decision="approve", by="ann"),
        "decided",
        "approved",
        "approve",
    ),
    (
        e.ApprovalDecided(id="d", call_id="a:1", decision="reject", by="ann"),
        "decided",
        "rejected",
        "reject",
    ),
    (e.ApprovalExpired(id="d", call_id="a:1"), "expired", "expired", "reject"),
    (e.CallCancelled(id="d", call_id="a:1", reason="stop"), "cancelled", "cancelled", None),
    (e.NodeCompleted(id="d", exec="a:1"), "cancelled", "cancelled", None),
    (
        e.NodeFailed(id="d", exec="a:1", error=Problem(code="x", message="y")),
        "cancelled",
        "cancelled",
        None,
    ),
    (e.RunCompleted(id="d"), "cancelled", "cancelled", None),
    (e.RunCancelled(id="d"), "cancelled", "cancelled", None),
    (
        e.RunFailedEvent(id="d", error=Problem(code="x", message="y")),
        "cancelled",
        "cancelled",
        None,
    ),
    (
        e.RunLimitExceeded(id="d", error=Problem(code="x", message="y")),
        "cancelled",
        "cancelled",
        None,
    ),
]


@pytest.mark.parametrize(("event", "what", "status", "decision"), CLOSINGS)
def test_an_event_that_closes_an_approval(
    event: e.Event, what: str, status: str, decision: str | None
) -> None:
    changes = project(ENGINE, 7, message(e.OwnerChanged(owner="o"), event), given_asked("a:1"))
    assert ends(changes) == [(what, "a:1", status)]
    closure = changes[-1].approval.closure
    assert closure is not None
    assert (closure.position, closure.event, closure.decision) == (Position(7, 1), "d", decision)


@pytest.mark.parametrize(("event", "_what", "_status", "_decision"), CLOSINGS)
def test_an_event_that_closes_another_call_changes_nothing(
    event: e.Event, _what: str, _status: str, _decision: str | None
) -> None:
    assert project(ENGINE, 7, message(event), {}) == ()


def test_the_first_event_that_closes_an_approval_counts() -> None:
    both: list[e.Event] = [
        e.ApprovalExpired(id="x", call_id="a:1"),
        e.CallCancelled(id="y", call_id="a:1"),
    ]
    assert ends(project(ENGINE, 7, message(*both), given_asked("a:1"))) == [
        ("expired", "a:1", "expired")
    ]


def test_an_approval_asked_for_and_decided_in_one_commit_is_two_changes() -> None:
    decided = e.ApprovalDecided(id="d", call_id="a:1", decision="approve", by="callback")
    assert ends(project(ENGINE, 1, message(asked(RUN, "a:1"), decided), {})) == [
        ("created", "a:1", "pending"),
        ("decided", "a:1", "approved"),
    ]


def test_an_execution_that_ends_takes_only_its_own_approvals_with_it() -> None:
    open_ones = given_asked("a:1", "a:1/t1/c0/u1", "b:1", "a:2")
    changes = project(ENGINE, 7, message(e.NodeCompleted(exec="a:1")), open_ones)
    assert [change.approval.call_id for change in changes] == ["a:1", "a:1/t1/c0/u1"]


def test_a_request_made_twice_is_one_approval() -> None:
    assert project(ENGINE, 7, message(asked(RUN, "a:1", title="again")), given_asked("a:1")) == ()


def test_any_record_on_the_calls_subject_moves_its_guard() -> None:
    (change,) = project(call_subject("a:1"), 7, Message((), ()), given_asked("a:1", "b:1"))
    assert (change.what, change.approval.call_id, change.approval.guard) == ("guarded", "a:1", 7)


def test_an_event_of_a_newer_release_does_not_hide_its_neighbours() -> None:
    body = json.dumps(
        {
            "run": RUN,
            "events": [
                {"id": "n", "type": "moon.risen", "v": 1, "data": {}},
                {"id": "m", "type": "approval.requested", "v": 1, "data": {"call_id": "b:1"}},
                e.write(asked(RUN, "a:1")),
            ],
        }
    ).encode()
    found = read(body)
    assert [(index, event.type) for index, event in found.events] == [(2, "approval.requested")]
    assert [problem.code for problem in found.problems] == ["event.unknown", "event.malformed"]


@pytest.mark.parametrize("body", [b"", b"\xff", b"[]", b"{}", b'{"events":{}}', b"[" * 100_000])
def test_a_message_that_cannot_be_read_is_a_problem(body: bytes) -> None:
    found = read(body)
    assert found.events == ()
    assert [problem.code for problem in found.problems] == ["envelope.malformed"]


def test_a_message_that_asks_concerns_the_inbox_whoever_encoded_it() -> None:
    _, compact = encode_commit(RUN, 1, 0, START_HASH, (asked(RUN, "a:1"),))
    spaced = json.dumps(json.loads(compact), indent=2).encode()
    assert concerns(ENGINE, compact, {})
    assert concerns(ENGINE, spaced, {})


def test_only_a_run_with_open_approvals_is_read_in_full() -> None:
    body = encode_report(RUN, e.RunCompleted(id="x"))
    assert not concerns(ENGINE, body, {})
    assert concerns(ENGINE, body, given_asked("a:1"))
    assert not concerns(LogSubject(0, RUN, "fact"), body, given_asked("a:1"))


@given(IDS, IDS)
def test_an_id_reads_back_as_run_and_call(run: str, call: str) -> None:
    text = id_of(run, call)
    assert "/" not in text
    assert parse_id(text) == (run, call)


@pytest.mark.parametrize(
    "text", ["", ".", "run", "run.", ".call", "r.a b", "r.a.b", "r.a%2Fb", "r.ä"]
)
def test_what_is_no_id_is_no_approval(text: str) -> None:
    with pytest.raises(NotFound, match=r"approval\.unknown"):
        parse_id(text)


def test_positions_sort_by_sequence_first_and_read_back() -> None:
    unsorted = [Position(10, 0), Position(9, 11), Position(9, 2)]
    assert sorted(unsorted) == [Position(9, 2), Position(9, 11), Position(10, 0)]
    assert [Position.parse(str(p), "cursor") for p in unsorted] == unsorted


@pytest.mark.parametrize(
    "text", ["", "7", "7.", ".7", "-1.0", "7.1.2", "\u0667.\u0661", "1e3.0", "9" * 30 + ".0"]
)
def test_what_is_no_position_is_refused(text: str) -> None:
    with pytest.raises(InvalidInput, match=r"position\.invalid"):
        Position.parse(text, "cursor")


def decision(**fields: str) -> Decision:
    values: Mapping[str, str] = {"by": "ann", "key": "k1", **fields}
    return Decision("approve", values["by"], values.get("reason"), values["key"])


def test_a_decision_closes_the_approval_as_the_projection_will_see_it() -> None:
    (approval,) = given_asked("a:1").values()
    event = decide(approval, decision(reason="fine"), NOON)
    (_, change) = project(call_subject("a:1"), 9, message(event), {"a:1": approval})
    assert after(approval, event, Position(9, 0)) == change.approval
    assert is_repeat(change.approval, decision(reason="fine"))
    assert not is_repeat(change.approval, decision(reason="fine", key="k2"))
    assert not is_repeat(change.approval, decision(reason="changed"))
    with pytest.raises(Closed, match=f"was approved by ann at {NOON}: fine"):
        decide(change.approval, decision(by="bob"), NOON)


@pytest.mark.parametrize(
    ("deadline", "in_time"),
    [
        (None, True),
        ("2026-01-01T12:00:00.001Z", True),
        (NOON, False),
        ("2026-01-01T13:59:00+02:00", False),
        ("when it suits you", True),
    ],
)
def test_a_decision_counts_only_before_the_deadline(deadline: str | None, in_time: bool) -> None:
    request = asked(RUN, "a:1", deadline=deadline)
    (change,) = project(ENGINE, 1, message(request), {})
    if in_time:
        assert decide(change.approval, decision(), NOON).by == "ann"
    else:
        with pytest.raises(Conflict, match=r"approval\.deadline_passed"):
            decide(change.approval, decision(), NOON)


@pytest.mark.parametrize(
    ("host", "origin", "loopback", "code"),
    [
        ("127.0.0.1:8420", None, True, None),
        ("localhost:8420", "http://localhost:8420", True, None),
        ("[::1]:8420", "http://[::1]:8420", True, None),
        ("127.0.0.1:8420", "http://localhost:8420", True, "http.foreign_origin"),
        ("127.0.0.1:8420", "http://127.0.0.1:8421", True, "http.foreign_origin"),
        ("127.0.0.1:8420", "null", True, "http.foreign_origin"),
        ("evil.example:8420", "http://evil.example:8420", True, "http.foreign_host"),
        ("localhost.evil.example", None, True, "http.foreign_host"),
        ("", None, True, "http.foreign_host"),
        ("[", None, True, "http.foreign_host"),
        ("approvals.example", "https://approvals.example", False, None),
        ("approvals.example", "https://other.example", False, "http.foreign_origin"),
        ("approvals.example", "https://[", False, "http.foreign_origin"),
        ("", "null", False, "http.foreign_origin"),
    ],
)
def test_which_pages_may_speak_to_the_service(
    host: str, origin: str | None, loopback: bool, code: str | None
) -> None:
    found = refusal(host, origin, loopback=loopback)
    assert (found.code if found else None) == code
