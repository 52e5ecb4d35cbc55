"""A thread's line: who has the thread, who waits, and in which order."""

from __future__ import annotations

import pytest

from partsong.contracts.errors import Conflict
from partsong.graph_engine.core.thread_queue import (
    LONGEST,
    Line,
    OnBusy,
    Place,
    Seat,
    entered,
    returned,
    without,
)

SINCE = "2026-01-01T00:00:00.000Z"


def line(*runs: tuple[str, OnBusy]) -> Line:
    made = Line(thread="t")
    for run_id, on_busy in runs:
        made = entered(made, Place(run_id=run_id, since=SINCE), on_busy)
    return made


def test_the_first_has_the_thread_whatever_it_asked_for() -> None:
    for on_busy in ("allow", "reject", "enqueue", "cancel_previous"):
        assert line(("a", on_busy)).seat("a") == Seat(queued=False, ahead=())


def test_who_waits_goes_in_the_order_of_acceptance() -> None:
    queue = line(("a", "enqueue"), ("b", "enqueue"), ("c", "cancel_previous"))
    assert queue.seat("b") == Seat(queued=True, ahead=("a",))
    assert queue.seat("c") == Seat(queued=True, ahead=("a", "b"))
    assert without(queue, {"a"}).seat("b") == Seat(queued=False, ahead=())
    assert without(queue, {"a", "b"}).seat("c") == Seat(queued=False, ahead=())


def test_who_comes_twice_is_in_line_once() -> None:
    assert line(("a", "enqueue"), ("b", "enqueue"), ("b", "reject")) == line(
        ("a", "enqueue"), ("b", "enqueue")
    )


def test_who_would_be_refused_hears_who_has_the_thread() -> None:
    with pytest.raises(Conflict, match="run a has thread 't' since 2026-01-01") as caught:
        line(("a", "enqueue"), ("b", "reject"))
    assert (caught.value.problem.code, caught.value.problem.where) == (
        "thread.busy",
        "options.thread",
    )


def test_allow_goes_on_beside_and_those_who_wait_wait_for_all() -> None:
    both = line(("a", "enqueue"), ("b", "allow"), ("c", "enqueue"))
    assert both.seat("b") == Seat(queued=False, ahead=("a",))
    assert without(both, {"a"}).seat("c") == Seat(queued=True, ahead=("b",))
    assert without(both, {"a", "b"}).seat("c") == Seat(queued=False, ahead=())


def test_who_leaves_the_queue_lets_nobody_in() -> None:
    left = without(line(("a", "enqueue"), ("b", "enqueue"), ("c", "enqueue")), {"b"})
    assert left.seat("b") is None
    assert left.seat("c") == Seat(queued=True, ahead=("a",))


def test_those_that_are_back_have_the_order_in_which_they_were_accepted() -> None:
    made = Line(thread="t")
    for run_id, since in (("c", "3"), ("a", "1"), ("b", "2"), ("b2", "2")):
        made = returned(made, Place(run_id=run_id, since=since), queued=True, lost="")
    made = returned(made, Place(run_id="open", since="9"), queued=False, lost="")
    assert made.seat("b2") == Seat(queued=True, ahead=("open", "a", "b"))
    assert made.seat("c") == Seat(queued=True, ahead=("open", "a", "b", "b2"))
    assert made.lost == ""


def test_a_line_says_since_when_it_lacks_somebody() -> None:
    made = returned(Line(thread="t"), Place(run_id="a", since="1"), queued=True, lost="5")
    assert returned(made, Place(run_id="b", since="1"), queued=False, lost="7").lost == "5"


def test_nobody_follows_at_once_where_somebody_may_still_come() -> None:
    two = line(("a", "enqueue"), ("b", "enqueue"))
    left = without(two, {"a"}, follows=False)
    assert left.seat("b") == Seat(queued=True, ahead=())
    assert without(left, ()).seat("b") == Seat(queued=False, ahead=())


def test_a_line_knows_the_last_few_that_left_it() -> None:
    made = Line(thread="t")
    for n in range(20):
        made = without(entered(made, Place(run_id=f"r{n}", since="1"), "enqueue"), {f"r{n}"})
    assert made.last == "r19"
    assert made.before == tuple(f"r{n}" for n in range(18, 2, -1))


def test_a_line_has_an_end() -> None:
    full = Line(
        thread="t", queue=tuple(Place(run_id=f"r_{n}", since=SINCE) for n in range(LONGEST))
    )
    more = Place(run_id="r_more", since=SINCE)
    waiting: tuple[OnBusy, ...] = ("enqueue", "allow", "cancel_previous")
    for on_busy in waiting:
        with pytest.raises(Conflict, match=r"thread\.full"):
            entered(full, more, on_busy)
    with pytest.raises(Conflict, match=r"thread\.busy"):
        entered(full, more, "reject")
    assert entered(full, full.queue[7], "enqueue") is full
