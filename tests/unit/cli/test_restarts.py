"""How often a service that ended is started again, and when that is a trouble."""

from __future__ import annotations

from partsong.cli.restarts import HEALTHY, Restarts


def test_who_dies_at_once_is_started_ever_more_slowly_and_that_is_told() -> None:
    restarts = Restarts()
    waits = [restarts.died(1.0, "exit code 1") for _ in range(4)]
    assert waits == sorted(waits)
    assert waits[0] < waits[-1]
    assert not restarts.trouble
    waits = [restarts.died(1.0, "exit code 1") for _ in range(20)]
    assert max(waits) == 10.0
    assert "24 times" in restarts.trouble
    assert "exit code 1" in restarts.trouble


def test_a_good_life_makes_up_for_short_ones() -> None:
    restarts = Restarts()
    first = restarts.died(1.0, "SIGKILL")
    for _ in range(9):
        restarts.died(1.0, "SIGKILL")
    assert restarts.died(HEALTHY + 1, "SIGKILL") < first
    assert not restarts.trouble


def test_who_falls_silent_again_and_again_is_replaced_ever_more_slowly_and_never_rests_long() -> (
    None
):
    restarts, now = Restarts(), 0.0
    waits: list[float] = []
    for _ in range(20):
        now += 15
        waits.append(restarts.replaced(now, "no heartbeat for 15 s"))
        now += waits[-1]
    assert max(waits[:3]) < 1, "the first ones do not wait"
    assert waits[3:8] == [5, 10, 20, 40, 60]
    assert max(waits) == 60, "others wait for it, who have not silenced it"
    assert restarts.replaced(now + 600, "no heartbeat") < 1


def test_a_call_that_silences_its_workers_holds_others_up_no_longer_than_its_attempts() -> None:
    """The first delivery is not counted, and three attempts are: four workers, of which the fourth is replaced too."""
    restarts = Restarts()
    assert sum(restarts.replaced(30.0 * n, "no heartbeat for 15 s") for n in range(4)) < 10


def test_what_is_replaced_too_often_is_a_trouble_that_says_why_and_until_when() -> None:
    restarts = Restarts()
    for at in (0.0, 30.0, 60.0):
        assert restarts.replaced(at, "no heartbeat") < 1
        assert not restarts.trouble
    wait = restarts.replaced(90.0, "no heartbeat for 16 s")
    assert wait == 5
    for word in ("3 times", "600 s", "no heartbeat for 16 s", f"{wait:.0f} s"):
        assert word in restarts.trouble
