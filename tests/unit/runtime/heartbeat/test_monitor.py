"""Who is alive and who holds what, from heartbeats over a real server, with a clock that the test moves."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator

import pytest

from partsong.contracts.wire.heartbeat import Beat, Blocked, HeldCall
from partsong.runtime import clock
from partsong.runtime.heartbeat.identity import worker_id
from partsong.runtime.heartbeat.monitor import SILENCE, LivenessMonitor
from partsong.runtime.heartbeat.task import TaskHeartbeat
from partsong.testing.nats import Bus

PATIENCE = 30.0


class Time:
    """What `clock.monotonic` says."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def time(monkeypatch: pytest.MonkeyPatch) -> Time:
    made = Time()
    monkeypatch.setattr(clock, "monotonic", made)
    return made


@pytest.fixture
async def watch(bus: Bus, time: Time) -> AsyncIterator[LivenessMonitor]:
    made = LivenessMonitor(bus.nc, bus.subjects)
    await made.start()
    yield made
    await made.stop()


class Beats:
    """Beats of workers, each heard before the next."""

    def __init__(self, bus: Bus, watch: LivenessMonitor, time: Time) -> None:
        self._bus, self._watch, self._time = bus, watch, time

    async def __call__(
        self,
        worker: str,
        *held: HeldCall,
        stopped: bool = False,
        draining: bool = False,
        held_more: int = 0,
        blocked: Blocked | None = None,
    ) -> None:
        name, _, incarnation = worker.partition("~")
        beat = Beat(
            service="tool-runner",
            name=name,
            incarnation=incarnation,
            started="",
            stopped=stopped,
            draining=draining,
            blocked=blocked,
            held=held,
            held_more=held_more,
        )
        self._watch._news.clear()
        await self._bus.nc.publish(
            self._bus.subjects.alive("tool-runner", name), beat.model_dump_json().encode()
        )
        async with asyncio.timeout(PATIENCE):
            await self._watch._news.wait()

    async def for_(self, seconds: float, *others: str) -> None:
        """Let time pass, in which we and `others` beat."""
        for _ in range(math.ceil(seconds)):
            self._time.now += seconds / math.ceil(seconds)
            for worker in ("me~1", *others):
                await self(worker)


@pytest.fixture
def beat(bus: Bus, watch: LivenessMonitor, time: Time) -> Beats:
    return Beats(bus, watch, time)


async def test_a_worker_that_beats_is_not_silent_and_one_that_stopped_beating_is(
    beat: Beats, watch: LivenessMonitor, time: Time
) -> None:
    await beat("a~1")
    await beat.for_(SILENCE - 0.1, "b~1")
    assert not watch.silent("a~1")
    time.now += 0.2
    assert watch.silent("a~1")
    assert not watch.silent("b~1")


async def test_a_worker_never_heard_is_silent_a_while_after_the_first_question(
    beat: Beats, watch: LivenessMonitor, time: Time
) -> None:
    await beat.for_(20)
    assert not watch.silent("new~1")
    await beat.for_(SILENCE + 0.1)
    assert watch.silent("new~1")
    await beat("new~1")
    assert not watch.silent("new~1")


async def test_who_hears_nobody_calls_nobody_silent(
    beat: Beats, watch: LivenessMonitor, time: Time
) -> None:
    await beat("a~1")
    time.now += 100
    assert not watch.silent("a~1")


async def test_silence_while_we_were_cut_off_is_not_held_against_anybody(
    beat: Beats, watch: LivenessMonitor, time: Time
) -> None:
    await beat("a~1")
    time.now += 100
    await beat("b~1")
    assert not watch.silent("a~1")
    await beat.for_(SILENCE + 0.1)
    assert watch.silent("a~1")


async def test_a_newer_incarnation_means_the_older_one_is_dead(
    beat: Beats, watch: LivenessMonitor, time: Time
) -> None:
    await beat("a~1")
    time.now += 0.5
    await beat("a~2")
    assert watch.silent("a~1")
    assert not watch.silent("a~2")


async def test_two_workers_of_one_name_that_both_beat_are_both_alive(
    beat: Beats, watch: LivenessMonitor, time: Time
) -> None:
    for _ in range(3):
        for worker in ("a~1", "a~2"):
            time.now += 0.5
            await beat(worker)
    assert not watch.silent("a~1")
    assert not watch.silent("a~2")


async def test_an_older_incarnation_never_heard_is_dead_once_the_newer_one_is_known_for_a_while(
    beat: Beats, watch: LivenessMonitor, time: Time
) -> None:
    await beat("a~2")
    assert not watch.silent("a~1")
    time.now += 2.6
    await beat("a~2")
    assert watch.silent("a~1")


async def test_who_says_goodbye_is_not_waited_for(beat: Beats, watch: LivenessMonitor) -> None:
    await beat("a~1")
    assert not watch.silent("a~1")
    await beat("a~1", stopped=True)
    assert watch.silent("a~1")
    assert await watch.heard("a", within=0.0) is None


async def test_a_beat_that_overtook_the_last_one_revives_nobody(
    bus: Bus, beat: Beats, watch: LivenessMonitor
) -> None:
    await beat("a~1", stopped=True)
    late = Beat(service="tool-runner", name="a", incarnation="1", started="")
    await bus.nc.publish(bus.subjects.alive("tool-runner", "a"), late.model_dump_json().encode())
    await beat("b~1")
    assert watch.silent("a~1")


CALL = ("r_1", "n:1", 2)
HELD = HeldCall(run_id="r_1", call_id="n:1", attempt=2)


async def test_a_call_is_held_as_long_as_a_living_worker_says_so(
    beat: Beats, watch: LivenessMonitor, time: Time
) -> None:
    assert not watch.holds(*CALL)
    await beat("a~1", HELD)
    assert watch.holds(*CALL)
    assert not watch.holds("r_1", "n:1", 1)
    assert not watch.holds("r_2", "n:1", 2)
    await beat.for_(SILENCE - 0.1, "b~1")
    assert watch.holds(*CALL)
    time.now += 0.2
    assert not watch.holds(*CALL), "its worker is dead"


async def test_a_call_is_not_held_any_more_when_its_worker_says_so_or_stops(
    beat: Beats, watch: LivenessMonitor
) -> None:
    await beat("a~1", HELD)
    await beat("a~1")
    assert not watch.holds(*CALL)
    await beat("a~1", HELD)
    await beat("a~1", stopped=True)
    assert not watch.holds(*CALL)


async def test_whoever_holds_more_than_it_lists_may_hold_any_call(
    beat: Beats, watch: LivenessMonitor
) -> None:
    await beat("a~1", held_more=1)
    assert watch.holds(*CALL)


async def test_what_one_holds_oneself_is_not_held_by_another(
    beat: Beats, watch: LivenessMonitor
) -> None:
    await beat("a~1", HELD)
    assert not watch.holds(*CALL, but="a~1")
    assert watch.holds(*CALL, but="b~1")


async def test_nonsense_is_no_heartbeat(bus: Bus, beat: Beats, watch: LivenessMonitor) -> None:
    await bus.nc.publish(bus.subjects.alive("tool-runner", "a"), b"?")
    await beat("b~1")
    assert set(watch.beats) == {"b~1"}


async def test_who_is_silent_for_long_is_forgotten_and_dead_all_the_same(
    beat: Beats, watch: LivenessMonitor, time: Time
) -> None:
    await beat("a~1", HELD)
    await beat("a~2", stopped=True)
    time.now += 601
    await beat("b~1")
    await beat.for_(SILENCE + 1)
    assert set(watch.beats) == {"b~1", "me~1"}
    assert not watch.holds(*CALL)
    assert not watch.silent("a~1")
    await beat.for_(SILENCE + 1)
    assert watch.silent("a~1")
    await beat("a~2")
    assert not watch.silent("a~2")


async def test_ten_thousand_forged_workers_take_no_room_and_drive_nobody_out(
    bus: Bus, beat: Beats, watch: LivenessMonitor, time: Time
) -> None:
    await beat("a~1", HELD)

    async def forge(name: str, count: int) -> None:
        for number in range(count):
            body = Beat(
                service="x", name=f"{name}{number}", incarnation="1", started="", held=(HELD,)
            )
            subject = bus.subjects.alive("x", "y")
            await bus.nc.publish(subject, body.model_dump_json().encode())
        await bus.nc.flush()
        assert watch._sub is not None
        while watch._sub.pending_msgs:  # noqa: ASYNC110 — what is heard late is no silence
            await asyncio.sleep(0.001)
        time.now += 1
        await beat("a~1", HELD)

    for wave in range(5):
        await forge(f"w{wave}-", 2_000)
        watch.silent(f"never{wave}~1")
    assert "a~1" in watch.beats
    assert watch.holds(*CALL)
    held = (watch.beats, watch._last, watch._newest, watch._held, watch._asked)
    assert [len(kept) <= 2_000 for kept in held] == [True] * 5
    await beat.for_(SILENCE + 1, "a~1")
    await beat("new~1")
    assert {"a~1", "new~1"} <= set(watch.beats), "those who are silent make room"
    await beat.for_(700, "a~1")
    assert set(watch.beats) == {"a~1", "me~1"}
    assert len(watch._newest) == 2
    assert watch._asked == {}


async def test_a_heartbeat_of_megabytes_is_none(
    bus: Bus, beat: Beats, watch: LivenessMonitor
) -> None:
    large = Beat(service="x", name="large", incarnation="1", started="", url="x" * 2_000_000)
    await bus.nc.publish(bus.subjects.alive("x", "y"), large.model_dump_json().encode())
    await beat("b~1")
    assert set(watch.beats) == {"b~1"}


def test_incarnations_sort_by_time() -> None:
    (first, _), (second, _) = worker_id("w"), worker_id("w")
    assert first[:10] <= second[:10]
    assert first != second


async def test_those_who_answer_a_ping_are_known_at_once(bus: Bus) -> None:
    watch = LivenessMonitor(bus.nc, bus.subjects)
    hearts = [
        TaskHeartbeat(bus.nc, bus.subjects, "graph-engine", name, "1", in_flight=lambda: 0)
        for name in "abc"
    ]
    for heart in hearts:
        await heart.start()
    await watch.start()
    await watch.meet("graph-engine")
    assert watch.living("graph-engine") == {"a~1", "b~1", "c~1"}
    for heart in hearts:
        await heart.stop()
    await watch.stop()


async def test_where_nobody_is_nobody_is_waited_for(bus: Bus) -> None:
    watch = LivenessMonitor(bus.nc, bus.subjects)
    await watch.start()
    async with asyncio.timeout(PATIENCE):
        await watch.meet("graph-engine")
    assert watch.living("graph-engine") == set()
    await watch.stop()


MINE = HeldCall(run_id="r_1", call_id="a:1")
BESIDE = HeldCall(run_id="r_2", call_id="a:1")


async def test_what_a_dead_worker_had_in_its_hands_may_have_killed_it(
    beat: Beats, watch: LivenessMonitor
) -> None:
    await beat("a~1", MINE)
    assert not watch.orphaned("r_1", "a:1", 1)
    await beat("a~1", MINE, stopped=True)
    assert watch.orphaned("r_1", "a:1", 1)
    assert not watch.orphaned("r_1", "a:1", 2)
    assert not watch.orphaned("r_2", "a:1", 1)


async def test_what_a_worker_that_was_told_to_stop_had_in_its_hands_has_not_killed_it(
    beat: Beats, watch: LivenessMonitor
) -> None:
    await beat("a~1", MINE, draining=True)
    assert watch.told_to_stop("a~1")
    await beat("a~1", MINE, draining=True, stopped=True)
    assert not watch.orphaned("r_1", "a:1", 1)
    assert watch.told_to_stop("a~1")
    assert not watch.told_to_stop("b~1")


async def test_what_a_silent_worker_has_in_its_hands_may_be_why(
    beat: Beats, watch: LivenessMonitor
) -> None:
    await beat("a~1", MINE)
    await beat.for_(SILENCE + 1)
    assert watch.orphaned("r_1", "a:1", 1)


async def test_a_call_that_a_living_worker_makes_is_attended(
    beat: Beats, watch: LivenessMonitor, time: Time
) -> None:
    assert watch.unattended("r_1", "a:1", 1) is None
    await beat("a~1", MINE)
    time.now += 1
    assert watch.unattended("r_1", "a:1", 1) is None


async def test_a_call_whose_worker_is_gone_is_unattended_until_another_one_has_it(
    beat: Beats, watch: LivenessMonitor
) -> None:
    await beat("a~1", MINE)
    await beat.for_(SILENCE + 1)
    assert watch.unattended("r_1", "a:1", 1) == pytest.approx((SILENCE + 1, SILENCE + 1))
    await beat("b~1", MINE)
    assert watch.unattended("r_1", "a:1", 1) is None


async def test_a_call_that_blocks_its_worker_is_unattended_and_its_neighbours_are_not(
    beat: Beats, watch: LivenessMonitor, time: Time
) -> None:
    loop = Blocked(since="", run_id="r_1", call_id="a:1")
    await beat("a~1", MINE, BESIDE)
    time.now += 1
    await beat("a~1", MINE, BESIDE, blocked=loop)
    time.now += 1
    assert watch.unattended("r_1", "a:1", 1) == pytest.approx((2, 1)), "before, it could speak"
    assert watch.unattended("r_2", "a:1", 1) is None
    await beat("a~1", MINE, BESIDE, blocked=Blocked(since="", process=True))
    assert watch.unattended("r_1", "a:1", 1) is None
    await beat("a~1", MINE, blocked=Blocked(since="", process=True))
    assert watch.unattended("r_1", "a:1", 1) == pytest.approx((2, 1))
    asking = BESIDE.model_copy(update={"asking": True})
    await beat("a~1", MINE, asking, blocked=Blocked(since="", process=True))
    assert watch.unattended("r_1", "a:1", 1) == pytest.approx((2, 1)), (
        "what has not begun blocks nothing"
    )
    await beat("a~1", MINE)
    await beat("a~1", MINE, blocked=loop)
    assert watch.unattended("r_1", "a:1", 1) == pytest.approx((2, 0)), "it spoke in between"


async def test_a_call_that_its_worker_has_not_begun_is_not_unattended(
    beat: Beats, watch: LivenessMonitor
) -> None:
    await beat("a~1", HeldCall(run_id="r_1", call_id="a:1", asking=True))
    await beat.for_(SILENCE + 1)
    assert watch.unattended("r_1", "a:1", 1) is None
