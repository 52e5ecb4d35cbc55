"""The HTTP API on a real server, over a log in memory and in JetStream."""

from __future__ import annotations

import asyncio
from collections import Counter

import pytest
from pydantic import JsonValue

from partsong.contracts import events as e
from partsong.contracts.events.envelope import decode
from partsong.contracts.wire.subjects import Subjects
from partsong.log.port import Log
from partsong.runtime import clock
from tests.services.approval.support import NOON, Office, Scribe, asked

RUN = "r_01TEST"
YES = {"decision": "approve", "by": "ann"}
PROBLEM = "application/problem+json"


async def test_an_approval_that_the_engine_asks_for_is_listed(
    office: Office, scribe: Scribe
) -> None:
    await office.shows(
        await scribe.ask(
            RUN,
            "refund:1",
            title="Refund 120 €?",
            detail="Order 7",
            context={"amount": 120, "big": 2**80},
            deadline="2099-01-01T00:00:00.000Z",
        )
    )
    page = (await office.http.get("/api/approvals?status=pending")).json()
    assert page["next"] is None
    assert page["items"] == [
        {
            "id": f"{RUN}.refund:1",
            "run_id": RUN,
            "call_id": "refund:1",
            "exec": "refund:1",
            "status": "pending",
            "title": "Refund 120 €?",
            "detail": "Order 7",
            "context": {"amount": 120, "big": 2**80},
            "editable": None,
            "edit_schema": None,
            "requested_at": NOON,
            "deadline": "2099-01-01T00:00:00.000Z",
            "otherwise": "reject",
            "decision": None,
            "by": None,
            "reason": None,
            "edited": None,
            "closed_at": None,
        }
    ]


async def test_a_decision_is_appended_to_the_calls_own_subject(
    office: Office, scribe: Scribe, log: Log, subjects: Subjects
) -> None:
    await scribe.ask(RUN, "refund:1")
    answer = await office.http.post(
        f"/api/approvals/{RUN}.refund:1/decision",
        json={"decision": "reject", "by": " ann ", "reason": "too much"},
    )
    assert (answer.status_code, answer.json()["status"]) == (200, "rejected")
    record = await log.last(subjects.call(RUN, "refund:1"))
    assert record is not None
    (event,) = decode(record.body).events
    assert isinstance(event, e.ApprovalDecided)
    assert (event.decision, event.by, event.reason) == ("reject", "ann", "too much")
    assert (event.call_id, event.cause) == ("refund:1", f"{RUN}.refund:1.requested")
    assert record.id == event.id
    assert record.headers["traceparent"].startswith("00-")


AMOUNT = {"editable": "amount", "context": {"amount": 120}, "edit_schema": {"maximum": 100}}


async def test_an_edit_is_approved_in_the_place_of_the_value_that_was_shown(
    office: Office, scribe: Scribe, log: Log, subjects: Subjects
) -> None:
    await office.shows(await scribe.ask(RUN, "refund:1", **AMOUNT))
    path = f"/api/approvals/{RUN}.refund:1"
    shown = (await office.http.get(path)).json()
    assert (shown["editable"], shown["edit_schema"]) == ("amount", {"maximum": 100})
    answer = await office.http.post(f"{path}/decision", json={**YES, "edit": 90})
    assert (answer.status_code, answer.json()["edited"]) == (200, 90)
    assert (await office.http.get(path)).json()["edited"] == 90
    record = await log.last(subjects.call(RUN, "refund:1"))
    assert record is not None
    (event,) = decode(record.body).events
    assert isinstance(event, e.ApprovalDecided)
    assert event.edited == 90


@pytest.mark.parametrize(
    ("body", "code", "where"),
    [
        ({**YES, "edit": 101}, "approval.bad_edit", "amount"),
        ({**YES, "decision": "reject", "edit": 90}, "approval.not_editable", "edit"),
    ],
)
async def test_an_edit_that_may_not_be_is_refused_and_decides_nothing(
    office: Office, scribe: Scribe, body: dict[str, JsonValue], code: str, where: str
) -> None:
    await scribe.ask(RUN, "refund:1", **AMOUNT)
    path = f"/api/approvals/{RUN}.refund:1"
    answer = await office.http.post(f"{path}/decision", json=body)
    assert (answer.status_code, answer.json()["code"]) == (400, code)
    assert answer.json()["where"] == where
    assert (await office.http.get(path)).json()["status"] == "pending"


async def test_what_is_not_editable_is_approved_as_it_is_or_not_at_all(
    office: Office, scribe: Scribe
) -> None:
    await scribe.ask(RUN, "refund:1", context={"amount": 120})
    path = f"/api/approvals/{RUN}.refund:1/decision"
    answer = await office.http.post(path, json={**YES, "edit": 90})
    assert (answer.status_code, answer.json()["code"]) == (400, "approval.not_editable")


async def test_a_decision_is_seen_by_whoever_reads_after_it(office: Office, scribe: Scribe) -> None:
    await scribe.ask(RUN, "refund:1")
    path = f"/api/approvals/{RUN}.refund:1"
    assert (await office.http.post(f"{path}/decision", json=YES)).status_code == 200
    seen = (await office.http.get(path)).json()
    assert (seen["status"], seen["decision"], seen["by"]) == ("approved", "approve", "ann")
    assert (await office.http.get("/api/approvals?status=pending")).json()["items"] == []


async def test_of_twenty_decisions_at_once_one_wins_and_the_others_hear_who_it_was(
    office: Office, scribe: Scribe, log: Log, subjects: Subjects
) -> None:
    await office.shows(await scribe.ask(RUN, "refund:1"))
    path = f"/api/approvals/{RUN}.refund:1/decision"
    bodies = [{**YES, "by": f"person {n}"} for n in range(20)]
    answers = await asyncio.gather(*(office.http.post(path, json=body) for body in bodies))
    assert Counter(a.status_code for a in answers) == {200: 1, 409: 19}
    (winner,) = [a.json()["by"] for a in answers if a.status_code == 200]
    losers = [a for a in answers if a.status_code == 409]
    assert {a.json()["code"] for a in losers} == {"approval.closed"}
    assert all(f"was approved by {winner} at 20" in a.json()["detail"] for a in losers)
    assert {a.json()["approval"]["by"] for a in losers} == {winner}
    assert len([r async for r in log.read(subjects.calls())]) == 1


async def test_the_same_decision_twice_is_a_conflict_without_an_idempotency_key(
    office: Office, scribe: Scribe
) -> None:
    await scribe.ask(RUN, "refund:1")
    path = f"/api/approvals/{RUN}.refund:1/decision"
    answers = [await office.http.post(path, json=YES) for _ in range(2)]
    assert [a.status_code for a in answers] == [200, 409]


async def test_the_same_decision_twice_is_one_decision_with_an_idempotency_key(
    office: Office, scribe: Scribe
) -> None:
    await scribe.ask(RUN, "refund:1")
    path, key = f"/api/approvals/{RUN}.refund:1/decision", {"Idempotency-Key": "form-7"}
    first, *others = await asyncio.gather(
        *(office.http.post(path, json=YES, headers=key) for _ in range(5))
    )
    assert [a.status_code for a in (first, *others)] == [200] * 5
    assert all(a.json() == first.json() for a in others)
    changed = await office.http.post(path, json={**YES, "by": "bob"}, headers=key)
    assert changed.status_code == 409


async def test_a_decision_after_the_engines_expiry_is_refused(
    office: Office, scribe: Scribe
) -> None:
    await scribe.ask(RUN, "refund:1", otherwise="approve")
    await scribe.close(RUN, e.ApprovalExpired(id="x", time=NOON, call_id="refund:1"))
    answer = await office.http.post(f"/api/approvals/{RUN}.refund:1/decision", json=YES)
    assert answer.status_code == 409
    assert f"expired at {NOON}; approve was taken" in answer.json()["message"]


async def test_a_decision_after_the_deadline_is_refused_before_the_engine_says_so(
    office: Office, scribe: Scribe, log: Log
) -> None:
    seq = await scribe.ask(RUN, "refund:1", deadline="2026-01-01T13:00:00.000Z")
    answer = await office.http.post(f"/api/approvals/{RUN}.refund:1/decision", json=YES)
    assert (answer.status_code, answer.json()["code"]) == (409, "approval.deadline_passed")
    assert await log.head() == seq


async def test_a_decision_for_a_run_that_has_ended_meanwhile_is_refused(
    office: Office, scribe: Scribe
) -> None:
    await scribe.commit(RUN, asked(RUN, "refund:1"), e.RunCompleted(id="end", time=NOON))
    answer = await office.http.post(f"/api/approvals/{RUN}.refund:1/decision", json=YES)
    assert answer.status_code == 409
    assert "was cancelled" in answer.json()["message"]


async def test_a_strange_record_on_the_calls_subject_does_not_keep_people_from_deciding(
    office: Office, scribe: Scribe, subjects: Subjects
) -> None:
    await scribe.ask(RUN, "refund:1")
    await scribe.raw(subjects.call(RUN, "refund:1"), b"garbage")
    answer = await office.http.post(f"/api/approvals/{RUN}.refund:1/decision", json=YES)
    assert answer.status_code == 200


async def test_an_id_stands_in_a_url_as_it_is(office: Office, scribe: Scribe) -> None:
    for call in ("refund:1", "review:12/t2/c0/u1", "a-b_c:1/t1/c0"):
        await office.shows(await scribe.ask(RUN, call))
        (item,) = (await office.http.get("/api/approvals?status=pending")).json()["items"]
        assert set(item["id"]) <= set(
            "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.,:_-"
        )
        answer = await office.http.post(f"/api/approvals/{item['id']}/decision", json=YES)
        assert (answer.status_code, answer.json()["call_id"]) == (200, call)


async def test_an_unknown_approval_is_not_found(office: Office) -> None:
    for id in (f"{RUN}.nothing:1", "nonsense", "r_1.", ".x", "r_1.%20", "r_1.ä"):
        for answer in (
            await office.http.get(f"/api/approvals/{id}"),
            await office.http.post(f"/api/approvals/{id}/decision", json=YES),
        ):
            assert answer.headers["content-type"] == PROBLEM, id
            assert (answer.status_code, answer.json()["code"]) == (404, "approval.unknown"), id


async def test_a_malformed_decision_names_the_field(
    office: Office, scribe: Scribe, log: Log
) -> None:
    seq = await scribe.ask(RUN, "refund:1")
    cases: list[tuple[object, str]] = [
        ({"by": "ann"}, "decision"),
        ({"decision": "maybe", "by": "ann"}, "decision"),
        ({"decision": "approve"}, "by"),
        ({"decision": "approve", "by": "  "}, "by"),
        ({"decision": "approve", "by": "a\nb"}, "by"),
        ({"decision": "approve", "by": 7}, "by"),
        ({"decision": "approve", "by": "ann", "reason": "x" * 4001}, "reason"),
        ({"decision": "approve", "by": "ann", "reason": "\x00"}, "reason"),
        ({"decision": "approve", "by": "ann", "args": {"amount": 1}}, "args"),
        ([], "body"),
        (None, "body"),
    ]
    for body, where in cases:
        answer = await office.http.post(f"/api/approvals/{RUN}.refund:1/decision", json=body)
        assert answer.headers["content-type"] == PROBLEM, body
        assert (answer.status_code, answer.json()["code"]) == (400, "request.malformed"), body
        assert answer.json()["where"] == where, body
    assert await log.head() == seq


async def test_a_body_that_is_not_json_is_malformed(office: Office) -> None:
    for body in (b"", b"yes", b'{"decision":', b'{"by":"\\ud800"}', b"\xff"):
        answer = await office.http.post(f"/api/approvals/{RUN}.refund:1/decision", content=body)
        assert (answer.status_code, answer.headers["content-type"]) == (400, PROBLEM), body
        assert answer.json()["code"] == "request.malformed", body


async def test_a_decision_that_says_two_things_is_malformed(
    office: Office, scribe: Scribe, log: Log
) -> None:
    seq = await scribe.ask(RUN, "refund:1")
    for body in (
        b'{"decision":"reject","by":"ann","decision":"approve"}',
        b'{"decision":"approve","by":"ann","edit":{"amount":1,"amount":9}}',
    ):
        answer = await office.http.post(f"/api/approvals/{RUN}.refund:1/decision", content=body)
        assert (answer.status_code, answer.json()["code"]) == (400, "request.malformed"), body
        assert "stands twice" in answer.json()["message"]
    assert await log.head() == seq


async def test_curl_needs_no_content_type(office: Office, scribe: Scribe) -> None:
    await scribe.ask(RUN, "refund:1")
    answer = await office.http.post(
        f"/api/approvals/{RUN}.refund:1/decision",
        content='{"decision":"approve","by":"ann"}',
        headers={"content-type": "application/x-www-form-urlencoded"},
    )
    assert answer.status_code == 200


async def test_a_malformed_parameter_is_named(office: Office) -> None:
    for query in ("status=open", "limit=0", "limit=201", "limit=many", "cursor=7"):
        answer = await office.http.get(f"/api/approvals?{query}")
        assert (answer.status_code, answer.headers["content-type"]) == (400, PROBLEM), query
        assert answer.json()["where"] == query.partition("=")[0]


async def test_a_body_that_is_too_large_is_refused(office: Office) -> None:
    answer = await office.http.post("/api/approvals/r.x/decision", json={"by": "x" * 100_000})
    assert (answer.status_code, answer.headers["content-type"]) == (413, PROBLEM)


async def test_a_route_that_is_not_there_is_a_problem_too(office: Office) -> None:
    for path, status in (("/nowhere", 404), ("/api/approvals/r.x/decision", 405)):
        answer = await office.http.get(path)
        assert (answer.status_code, answer.headers["content-type"]) == (status, PROBLEM)
        body = answer.json()
        assert body["status"] == status
        assert body["code"].startswith("http.")
        assert {"title", "detail", "type", "message", "fault"} <= set(body)


async def test_pages_follow_each_other_while_new_approvals_come(
    office: Office, scribe: Scribe
) -> None:
    await scribe.commit(RUN, *(asked(RUN, f"in:{n}") for n in range(3)))
    await office.shows(max([await scribe.ask(RUN, f"one:{n}") for n in range(4)]))
    seen: list[str] = []
    cursor, pages = "", 0
    while cursor is not None:
        path = f"/api/approvals?limit=2{f'&cursor={cursor}' if cursor else ''}"
        page = (await office.http.get(path)).json()
        seen += [item["call_id"] for item in page["items"]]
        cursor, pages = page["next"], pages + 1
        await office.shows(await scribe.ask(RUN, f"later:{pages}"))
    assert seen == ["one:3", "one:2", "one:1", "one:0", "in:2", "in:1", "in:0"]


async def test_a_list_can_be_of_one_run_and_of_one_status(office: Office, scribe: Scribe) -> None:
    for run in ("r_a", "r_b"):
        await scribe.ask(run, "x:1")
        await scribe.ask(run, "y:1")
    await office.shows(
        await scribe.close(
            "r_a", e.CallCancelled(id="c", time=NOON, call_id="x:1", reason="enough")
        )
    )

    async def calls(query: str) -> list[tuple[str, str]]:
        page = (await office.http.get(f"/api/approvals?{query}")).json()
        return [(item["run_id"], item["call_id"]) for item in page["items"]]

    assert await calls("run_id=r_a") == [("r_a", "y:1"), ("r_a", "x:1")]
    assert await calls("run_id=r_a&status=pending") == [("r_a", "y:1")]
    assert await calls("status=cancelled") == [("r_a", "x:1")]
    assert await calls("run_id=r_c") == []


async def test_a_clock_that_is_wrong_is_said_and_stops_nobody(office: Office) -> None:
    clock.set_offset(-7.0)
    try:
        ready = await office.http.get("/readyz")
    finally:
        clock.set_offset(0.0)
    assert ready.status_code == 200
    assert ready.json()["clock"] == "the broker's clock is 7.000 s behind this machine's"


async def test_health_and_readiness(office: Office, scribe: Scribe) -> None:
    await office.shows(seq := await scribe.ask(RUN, "refund:1"))
    assert (await office.http.get("/healthz")).json() == {"status": "ok"}
    ready = await office.http.get("/readyz")
    assert ready.json() == {"status": "ready", "position": seq, "head": seq}


async def test_the_openapi_document_is_served_and_names_nothing_elsewhere(office: Office) -> None:
    answer = await office.http.get("/schema/openapi.json")
    document = answer.json()
    assert answer.status_code == 200
    assert "://" not in answer.text
    assert set(document["paths"]) == {
        "/api/approvals",
        "/api/approvals/{approval_id}",
        "/api/approvals/{approval_id}/decision",
        "/healthz",
        "/readyz",
    }
    responses = document["paths"]["/api/approvals/{approval_id}/decision"]["post"]["responses"]
    assert set(responses) == {"200", "202", "400", "404", "409", "503"}
    assert PROBLEM in responses["409"]["content"]
    assert (await office.http.get("/schema/swagger")).status_code == 404


async def test_a_foreign_page_cannot_decide(office: Office, scribe: Scribe, log: Log) -> None:
    seq = await scribe.ask(RUN, "refund:1")
    for headers in (
        {"origin": "https://evil.example"},
        {"origin": "null"},
        {"origin": "http://127.0.0.1:1"},
        {"host": "evil.example"},
        {"host": "evil.example:80", "origin": "http://evil.example:80"},
    ):
        answer = await office.http.post(
            f"/api/approvals/{RUN}.refund:1/decision", json=YES, headers=headers
        )
        assert (answer.status_code, answer.headers["content-type"]) == (403, PROBLEM), headers
    assert await log.head() == seq


async def test_a_page_of_the_service_itself_may_decide(office: Office, scribe: Scribe) -> None:
    await scribe.ask(RUN, "refund:1")
    answer = await office.http.post(
        f"/api/approvals/{RUN}.refund:1/decision", json=YES, headers={"origin": office.url}
    )
    assert answer.status_code == 200


DEEP = "[" * 1000 + "]" * 1000


@pytest.mark.parametrize(
    "body",
    [
        DEEP,
        f'{{"decision": "approve", "by": "ann", "edit": {DEEP}}}',
        f'{{"decision": {DEEP}, "by": "ann"}}',
        '{"decision": "approve", "by": "ann", "edit": NaN}',
        '{"decision": "approve", "by": "ann", "edit": 1e999}',
        '{"decision": "approve", "by": "ann", "edit": ' + "9" * 5000 + "}",
        '{"decision": "approve", "by": "ann", "edit": {"x": "\\ud800"}}',
        '{"decision": "approve", "by": "ann", "edit": "\\u0000"}',
        '{"decision": "approve", "by": "\\ud800"}',
        '{"decision": "approve", "by": "ann", "\\ud800": 1}',
        '{"decision": {"a": 1}, "by": [1]}',
        "1e400",
        '"\\ud800"',
        "{" * 5000,
    ],
)
async def test_whatever_is_sent_is_answered_by_a_problem_and_decides_nothing(
    office: Office, scribe: Scribe, log: Log, body: str
) -> None:
    seq = await scribe.ask(RUN, "refund:1")
    answer = await office.http.post(f"/api/approvals/{RUN}.refund:1/decision", content=body)
    assert answer.headers["content-type"] == PROBLEM
    assert 400 <= answer.status_code < 500, answer.text[:300]
    assert answer.json()["code"] != "approval.fault"
    assert await log.head() == seq


@pytest.mark.parametrize(
    "path",
    [
        "/api/approvals/%00",
        "/api/approvals/%ff%fe",
        "/api/approvals/" + "a" * 5000,
        "/api/approvals/r.%2e%2e%2fx",
        "/api/approvals/r.%ed%a0%80",
        "/api/approvals?cursor=%00",
        "/api/approvals?cursor=" + "9" * 5000,
        "/api/approvals?cursor=" + "9" * 100 + ":0",
        "/api/approvals?limit=" + "9" * 5000,
        "/api/approvals?run_id=%00",
        "/api/approvals?run_id=%ed%a0%80",
        "/api/approvals?status=%ff",
    ],
)
async def test_whatever_is_asked_for_is_answered(office: Office, path: str) -> None:
    answer = await office.http.get(path)
    assert answer.status_code < 500, answer.text[:300]
    if answer.status_code != 200:
        assert answer.headers["content-type"] == PROBLEM


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (
            b'{"decision": "approve", "by": "ann", "edit": ' + b"[" * 3000 + b"]" * 3000 + b"}",
            "deep",
        ),
        (b'{"decision": "approve", "by": "a\xed\xa0\x80n"}', "UTF-8"),
        (b'{"decision": "approve", "by": "a\xffn"}', "UTF-8"),
    ],
)
async def test_a_body_that_cannot_be_read_is_the_callers_fault(
    office: Office, scribe: Scribe, body: bytes, said: str
) -> None:
    await office.shows(await scribe.ask(RUN, "refund:1", **AMOUNT))
    answer = await office.http.post(
        f"/api/approvals/{RUN}.refund:1/decision",
        content=body,
        headers={"content-type": "application/json"},
    )
    assert (answer.status_code, answer.headers["content-type"]) == (400, PROBLEM)
    assert answer.json()["code"] == "request.malformed"
    assert said in answer.json()["detail"]
