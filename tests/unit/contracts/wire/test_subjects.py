"""Subjects: what goes into one comes out of it again, and nothing that could mean something else gets in."""

from __future__ import annotations

import inspect
import string
import zlib
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from partsong.contracts.errors import InvalidInput
from partsong.contracts.events import CallClaimed
from partsong.contracts.events.envelope import encode_report
from partsong.contracts.ids import check_id
from partsong.contracts.wire.placement import placed, stray
from partsong.contracts.wire.subjects import (
    LANES,
    PARTITIONS,
    FiredSubject,
    LogSubject,
    RequestSubject,
    Subjects,
    call_token,
    partition_of,
)
from partsong.log.subject import compile_filter
from partsong.runtime.clock import new_run_id

ALPHABET = string.ascii_letters + string.digits + "_-:/~@+="
ids = st.text(ALPHABET, min_size=1, max_size=200).filter(lambda id_: id_ != "~")
prefixes = st.lists(st.from_regex(r"[a-z0-9]{1,8}", fullmatch=True), min_size=1, max_size=3).map(
    ".".join
)

FILTERS = {
    "alives", "beginnings", "calls", "chunks", "commits", "deads", "fireds", "into_lanes", "lane", "log", "owner",
    "parse_fired", "parse_log", "parse_request", "partition", "partition_in", "requests", "run", "schedules",
    "stops", "timers", "works",
    "genesis", "lost", "restored", "seal",
}  # fmt: skip
HOSTILE = {
    "a dot": "a.b",
    "one wildcard": "a*",
    "the other wildcard": ">",
    "a space": "a b",
    "a tab": "a\tb",
    "a line break at the end": "a\n",
    "a null": "a\0b",
    "a carriage return": "a\rPUB x 0",
    "an umlaut": "größe",
    "an emoji": "run🎵",
    "a look-alike": "r_\uff10",
    "a quote": 'a"b',
}


@given(prefixes, ids, ids)
def test_a_log_subject_comes_apart_as_it_was_put_together(
    prefix: str, run_id: str, call_id: str
) -> None:
    subjects, partition = Subjects(prefix), partition_of(run_id)
    for subject, expected in (
        (subjects.engine(run_id), LogSubject(partition, run_id, "engine")),
        (subjects.fact(run_id), LogSubject(partition, run_id, "fact")),
        (subjects.call(run_id, call_id), LogSubject(partition, run_id, "call", call_id)),
        (
            subjects.command(run_id, call_id),
            LogSubject(partition, run_id, "command", request_id=call_id),
        ),
        (subjects.owner(partition), LogSubject(partition, "~", "owner")),
    ):
        assert subjects.parse_log(subject) == expected


@given(prefixes, st.integers(0, PARTITIONS - 1))
def test_the_logs_own_records_are_of_no_run_and_lie_within_the_log(
    prefix: str, partition: int
) -> None:
    subjects = Subjects(prefix)
    for subject, expected in (
        (subjects.genesis(), LogSubject(-1, "~", "genesis")),
        (subjects.restored(), LogSubject(-1, "~", "restored")),
        (subjects.lost(), LogSubject(-1, "~", "lost")),
        (subjects.owner(partition), LogSubject(partition, "~", "owner")),
        (subjects.seal(partition), LogSubject(partition, "~", "seal")),
    ):
        assert subjects.parse_log(subject) == expected
        assert subjects.parse_log(subject).own
        assert compile_filter(subjects.log()).fullmatch(subject)
        assert not compile_filter(subjects.commits()).fullmatch(subject)
    assert not subjects.parse_log(subjects.engine("r~1")).own


def test_no_run_can_take_the_place_of_the_logs_own_records() -> None:
    with pytest.raises(InvalidInput, match=r"id\.invalid"):
        Subjects().engine("~")
    with pytest.raises(InvalidInput, match=r"subject\.invalid"):
        Subjects().parse_log("partsong.log.3.~.engine")


@given(prefixes, ids, ids)
def test_a_timer_that_fired_is_a_runs_or_a_schedules_and_never_both(
    prefix: str, one: str, other: str
) -> None:
    subjects = Subjects(prefix)
    for subject, expected in (
        (subjects.fired(one, other), FiredSubject(one, other)),
        (subjects.fired("schedule", other), FiredSubject("schedule", other)),
        (subjects.scheduled(one), FiredSubject(schedule=one)),
        (subjects.unscheduled(one), FiredSubject(schedule=one, ends=True)),
    ):
        assert subjects.parse_fired(subject) == expected
    for strange in (subjects.timer(one, other), f"x{subjects.fired(one, other)}", "ok"):
        with pytest.raises(InvalidInput, match="not the subject of a timer that fired"):
            subjects.parse_fired(strange)


@given(prefixes, ids, ids, st.integers(0, LANES - 1))
def test_a_request_comes_apart_as_its_caller_and_as_the_stream_wrote_it(
    prefix: str, caller: str, run_id: str, lane: int
) -> None:
    subjects = Subjects(prefix)
    asked = subjects.beginning("run", caller, run_id)
    stored = asked.replace(".request.run.", f".request.run.{lane}.", 1)
    assert subjects.parse_request(subjects.request("cancel")) == RequestSubject("cancel")
    assert subjects.parse_request(asked) == RequestSubject("run", None, caller, run_id)
    assert subjects.parse_request(stored) == RequestSubject("run", lane, caller, run_id)
    for filter in (subjects.lane(lane), subjects.beginnings(run_id), subjects.requests()):
        assert compile_filter(filter).fullmatch(stored)
    for strange in (
        "run.7.ann.r",
        f"x{asked}",
        f"{stored}.more",
        subjects.request("cancel") + ".7.a.r",
        "ok",
    ):
        with pytest.raises(InvalidInput, match="not the subject of a request"):
            subjects.parse_request(strange)


@given(ids, ids)
def test_filters_take_what_they_say_and_no_more(run_id: str, call_id: str) -> None:
    subjects, partition = Subjects(), partition_of(run_id)
    engine, fact = subjects.engine(run_id), subjects.fact(run_id)
    call, chunk = subjects.call(run_id, call_id), subjects.chunk(run_id, "node", call_id)
    command, owner = subjects.command(run_id, call_id), subjects.owner(partition)
    everything = {engine, fact, call, command, owner, chunk}

    def taken(filter: str) -> set[str]:
        return {subject for subject in everything if compile_filter(filter).fullmatch(subject)}

    assert taken(subjects.run(run_id)) == {engine, fact, call, command}
    assert taken(subjects.log()) == taken(subjects.partition(partition))
    assert taken(subjects.log()) == {engine, fact, call, command, owner}
    assert taken(subjects.partition((partition + 1) % PARTITIONS)) == set()
    assert taken(subjects.commits()) == taken(subjects.commits(partition)) == {engine}
    assert taken(subjects.commits((partition + 1) % PARTITIONS)) == set()
    assert taken(subjects.calls()) == {call}
    assert taken(subjects.chunks(run_id)) == taken(subjects.chunks()) == {chunk}
    assert taken(subjects.run(f"{run_id[:-1]}-other"[:200])) == set()


@given(st.text(max_size=20) | st.text(ALPHABET + ".*> \n", max_size=210))
def test_an_id_is_kept_as_it_is_or_refused(text: str) -> None:
    if 1 <= len(text) <= 200 and set(text) <= set(ALPHABET):
        assert check_id("run_id", text) == text
        return
    with pytest.raises(InvalidInput) as refused:
        check_id("run_id", text)
    assert refused.value.problem.code == "id.invalid"
    assert refused.value.problem.where == "run_id"
    assert refused.value.problem.fix


@pytest.mark.parametrize("value", HOSTILE.values(), ids=HOSTILE)
def test_what_cannot_stand_in_a_subject_is_refused_with_its_place(value: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        Subjects().engine(value)
    at = next(i for i, c in enumerate(value) if c not in ALPHABET)
    assert f"holds {value[at]!r} at position {at}" in refused.value.problem.message
    assert refused.value.problem.fault == "caller"


def test_an_id_that_is_too_long_is_refused_with_both_lengths() -> None:
    with pytest.raises(InvalidInput, match="run_id has 300 characters, at most 200 fit"):
        Subjects().fact("x" * 300)


def test_an_empty_id_is_refused() -> None:
    with pytest.raises(InvalidInput, match="call_id is empty"):
        Subjects().call("r_1", "")


def builders() -> list[tuple[str, Callable[..., str], int]]:
    """Every method that makes a literal subject of ids, with the number of its ids."""
    methods = inspect.getmembers(Subjects(), inspect.ismethod)
    public = [(n, m) for n, m in methods if not n.startswith("_") and n not in FILTERS]
    return [(name, method, len(inspect.signature(method).parameters)) for name, method in public]


@pytest.mark.parametrize(
    ("name", "method", "count"), builders(), ids=[name for name, _, _ in builders()]
)
def test_every_builder_checks_every_id(name: str, method: Callable[..., str], count: int) -> None:
    assert "*" not in method(*["ok"] * count)
    assert count > 0
    for place in range(count):
        arguments = ["ok"] * count
        arguments[place] = "a.>"
        with pytest.raises(InvalidInput):
            method(*arguments)


@given(ids, st.integers(0, PARTITIONS - 1))
def test_the_partition_in_a_subject_is_the_one_that_parsing_finds(run: str, p: int) -> None:
    subjects = Subjects("a.b")
    for subject in (subjects.owner(p), subjects.seal(p)):
        assert subjects.partition_in(subject) == p == subjects.parse_log(subject).partition
    subject = subjects.fact(run)
    assert subjects.partition_in(subject) == subjects.parse_log(subject).partition
    assert subjects.partition_in(subjects.genesis()) is None


@pytest.mark.parametrize(
    "subject",
    [
        "partsong.log",
        "partsong.log.x.r_1.engine",
        "partsong.log.07.r_1.engine",
        "partsong.log.32.r_1.engine",
        "partsong.log.².r_1.engine",
        "partsong.log.².r_1.call.c",
        "partsong.log.7.~.command.c",
        "partsong.log.~.~.engine",
        "partsong.logs.7.r_1.engine",
        "partsong.log.7.r_1.other",
        "partsong.log.7.r_1.call",
        "partsong.log.7.r_1.call.a.b",
        "other.log.7.r_1.engine",
        "partsong.chunk.r_1.a.b",
        "",
    ],
)
def test_a_subject_that_is_not_of_the_log_is_refused(subject: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        Subjects().parse_log(subject)
    assert refused.value.problem.code == "subject.invalid"
    assert repr(subject) in refused.value.problem.message


@given(ids)
def test_the_partition_of_a_run_is_crc32_modulo_32(run_id: str) -> None:
    assert partition_of(run_id) == zlib.crc32(run_id.encode()) % 32


def test_the_partition_of_a_run_never_changes() -> None:
    known = {"r_1": 13, "r_01JABCDEFGHJKMNPQRSTVWXYZ0": 3, "order/4711": 15}
    assert {run_id: partition_of(run_id) for run_id in known} == known


def test_fresh_run_ids_can_stand_in_subjects() -> None:
    run_id = new_run_id()
    assert Subjects().parse_log(Subjects().engine(run_id)).run_id == run_id


@pytest.mark.parametrize("tail", ["0", "x.r_1.fact", "~.~.genesis", ""])
def test_what_a_partitions_filter_does_not_match_is_in_none(tail: str) -> None:
    """Its owner is not delivered it, and whoever reads the whole log must not count it either."""
    subjects = Subjects("p")
    assert compile_filter(subjects.partition(0)).fullmatch(f"p.log.{tail}") is None
    assert subjects.partition_in(f"p.log.{tail}") is None


@pytest.mark.parametrize(
    "tail",
    ["0.a\x0bb.fact", "0.\\xff.engine", f"0.{'r' * 201}.engine", "0.r.call.a b", "0.r.command.é",
     f"0.r.call.{'c' * 1001}"],
)  # fmt: skip
def test_an_id_that_nobody_of_ours_could_name_is_no_subject_of_the_log(tail: str) -> None:
    with pytest.raises(InvalidInput, match=r"subject\.invalid"):
        Subjects("p").parse_log(f"p.log.{tail}")


@pytest.mark.parametrize(
    ("tail", "run_id"),
    [("3.r_1.rubbish", "r_1"), ("3.r_1.fact.more", "r_1"), ("3.r_1", None), ("3.~.x", None), ("3", None),
     ("3.\\xff.x", None), ("x.r_1.fact", None)],
)  # fmt: skip
def test_a_stray_record_is_part_of_a_run_if_the_runs_filter_matches_it(
    tail: str, run_id: str | None
) -> None:
    found = stray(Subjects("p"), f"p.log.{tail}")
    assert (found.run_id if found is not None else None) == run_id


def test_the_call_of_a_hook_has_a_subject_of_its_own() -> None:
    subjects = Subjects()
    for hook in ("a:1/h.before_node", "a:1/t1/c0/h.before_tool_call.2", "h.before_run"):
        subject = subjects.call("r_1", hook)
        where = subjects.parse_log(subject)
        assert where.call_id == call_token(hook)
        claim = CallClaimed(id="c", call_id=hook, attempt=1, worker="w")
        assert placed(subjects, subject, encode_report("r_1", claim)).events == (claim,)
    assert call_token("a:1/x=h") == "a:1/x=h"
    with pytest.raises(InvalidInput):
        subjects.call("r_1", "a.b")
