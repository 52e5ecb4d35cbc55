"""Moments of cron expressions, against a clock that is watched second by second, over the changes of real zones."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from partsong.graph_engine.core.cron import Cron, next_moment, parse_cron

_CHANGES = {
    # put forward, and back, by an hour; at midnight in Cairo, so that a day begins at one
    "Europe/Berlin": ("2026-03-29T01:00", "2026-10-25T01:00"),
    "America/New_York": ("2026-03-08T07:00", "2026-11-01T06:00"),
    "Africa/Cairo": ("2026-04-23T22:00", "2026-10-29T21:00"),
    # by half an hour, by two hours, and by a whole day
    "Australia/Lord_Howe": ("2026-10-03T15:30", "2026-04-04T15:00"),
    "Antarctica/Troll": ("2026-03-29T01:00", "2026-10-25T01:00"),
    "Pacific/Apia": ("2011-12-30T10:00", "2011-12-30T10:00"),
    "Asia/Kolkata": ("2026-03-29T01:00", "2026-10-25T01:00"),
}
_AT = [(name, at) for name, both in _CHANGES.items() for at in both]


def moments(cron: str, zone: str, start: datetime, end: datetime) -> Iterator[datetime]:
    parsed, at = parse_cron(cron), ZoneInfo(zone)
    moment = next_moment(parsed, at, start - timedelta(seconds=1))
    while moment is not None and moment < end:
        yield moment
        moment = next_moment(parsed, at, moment)


def shown(cron: str, zone: str, day: str, days: int = 1) -> list[str]:
    """What the clock shows at each moment of a local day, with its time zone's distance."""
    at = ZoneInfo(zone)
    start = datetime.fromisoformat(day).replace(tzinfo=at).astimezone(UTC)
    end = (datetime.fromisoformat(day) + timedelta(days=days)).replace(tzinfo=at).astimezone(UTC)
    return [f"{one.astimezone(at):%H:%M:%S%z}" for one in moments(cron, zone, start, end)]


def minutes_watched(cron: Cron, zone: ZoneInfo, start: datetime, end: datetime) -> list[datetime]:
    """The model: someone who looks at the clock each minute, and notes on what is skipped when it is put forward."""
    found: set[datetime] = set()
    seen: Counter[datetime] = Counter()
    now = start - timedelta(days=3)
    before = now.astimezone(zone).replace(tzinfo=None)
    while now < end:
        clock = now.astimezone(zone).replace(tzinfo=None)
        if clock - before > timedelta(minutes=1):
            moved = clock - before - timedelta(minutes=1)
            skipped = before + timedelta(minutes=1)
            while skipped < clock:
                if _matches(cron, skipped) and cron.pause > moved.total_seconds():
                    found.add(now + (skipped - before) - timedelta(minutes=1))
                skipped += timedelta(minutes=1)
        if _matches(cron, clock):
            again = _moved_back(zone, now)
            if not seen[clock] or cron.pause <= again.total_seconds():
                found.add(now)
        seen[clock] += 1
        before, now = clock, now + timedelta(minutes=1)
    return sorted(moment for moment in found if start <= moment < end)


def _moved_back(zone: ZoneInfo, now: datetime) -> timedelta:
    offsets = [(now - timedelta(hours=h)).astimezone(zone).utcoffset() for h in range(27)]
    return max(one for one in offsets if one is not None) - (offsets[0] or timedelta())


def _matches(cron: Cron, clock: datetime) -> bool:
    return (
        cron.on(clock.date())
        and clock.hour in cron.hours
        and clock.minute in cron.minutes
        and clock.second in cron.seconds
    )


_MINUTE = st.sampled_from(["0", "30", "45", "59", "*", "*/5", "*/20", "*/30", "15-45/15", "7,52"])
_HOUR = st.sampled_from(["0", "1", "2", "3", "23", "*", "*/2", "1-3", "0,2,23", "9-17"])
_DAYS = st.sampled_from(["* * *", "* * sun", "29,30,31 * *", "* * mon-fri", "1 * sun"])


@given(_MINUTE, _HOUR, _DAYS, st.sampled_from(_AT))
def test_its_moments_are_those_that_a_watcher_of_the_clock_notes(
    minute: str, hour: str, days: str, change: tuple[str, str]
) -> None:
    zone, at = change
    moved = datetime.fromisoformat(at).replace(tzinfo=UTC)
    start, end = moved - timedelta(hours=30), moved + timedelta(hours=30)
    cron = f"{minute} {hour} {days}"
    watched = minutes_watched(parse_cron(cron), ZoneInfo(zone), start, end)
    assert list(moments(cron, zone, start, end)) == watched


@given(
    st.sampled_from(["30 2 * * *", "*/5 * * * *", "0 */2 * * *", "0 0 * * fri"]),
    st.sampled_from(_AT),
    st.integers(-200_000, 200_000),
)
def test_from_wherever_it_is_asked_the_next_moment_is_the_next(
    cron: str, change: tuple[str, str], seconds: int
) -> None:
    zone, at = change
    moved = datetime.fromisoformat(at).replace(tzinfo=UTC)
    all_ = list(moments(cron, zone, moved - timedelta(days=10), moved + timedelta(days=20)))
    asked = moved + timedelta(seconds=seconds)
    following = min(moment for moment in all_ if moment > asked)
    assert next_moment(parse_cron(cron), ZoneInfo(zone), asked) == following


def test_a_fixed_time_that_is_skipped_happens_once_as_much_later() -> None:
    assert shown("30 2 * * *", "Europe/Berlin", "2026-03-29") == ["03:30:00+0200"]
    assert shown("0 30 2 * * *", "America/New_York", "2026-03-08") == ["03:30:00-0400"]
    assert shown("0 0 * * *", "Africa/Cairo", "2026-04-24") == ["01:00:00+0300"]
    assert shown("15 2 * * *", "Australia/Lord_Howe", "2026-10-04") == ["02:45:00+1100"]


def test_a_fixed_time_that_comes_twice_happens_the_first_time() -> None:
    assert shown("30 2 * * *", "Europe/Berlin", "2026-10-25") == ["02:30:00+0200"]
    assert shown("30 1 * * *", "America/New_York", "2026-11-01") == ["01:30:00-0400"]
    assert shown("45 1 * * *", "Australia/Lord_Howe", "2026-04-05") == ["01:45:00+1100"]
    assert shown("0 0,1,2,3 * * *", "Europe/Berlin", "2026-10-25") == [
        "00:00:00+0200", "01:00:00+0200", "02:00:00+0200", "03:00:00+0100",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("cron", "seconds"),
    [("*/30 * * * * *", 30), ("0 */5 * * * *", 300), ("0 0 * * * *", 3600), ("*/30 * * * sun", 1800)],
)  # fmt: skip
@pytest.mark.parametrize("at", _CHANGES["Europe/Berlin"])
def test_an_interval_neither_pauses_nor_comes_double(cron: str, seconds: int, at: str) -> None:
    moved = datetime.fromisoformat(at).replace(tzinfo=UTC)
    start, end = moved - timedelta(hours=2), moved + timedelta(hours=3)
    found = list(moments(cron, "Europe/Berlin", start, end))
    assert found == [start + timedelta(seconds=n * seconds) for n in range(len(found))]
    assert len(found) == 5 * 3600 // seconds


def test_a_day_that_never_was_is_not_made_up_for() -> None:
    """Samoa went from the 29th to the 31st of December 2011, a day being a day later all the same."""
    found = shown("0 12 * * *", "Pacific/Apia", "2011-12-28", days=4)
    assert found == ["12:00:00-1000", "12:00:00-1000", "12:00:00+1400"]


@pytest.mark.parametrize(
    ("cron", "same"),
    [
        ("30 9 * * mon-fri", "0 30 9 * * 1-5"),
        ("0 0 * * 7", "0 0 0 ? * SUN"),
        ("0 0 * * 5-7", "0 0 * * fri-sun"),
        ("0 0 * * sun-tue", "0 0 * * 0-2"),
        ("@daily", "0 0 0 * * *"),
        ("5/20 * * * *", "5,25,45 * * * *"),
        ("0 0 1 JAN *", "0 0 0 1 1 *"),
        ("0 0 */1 * *", "0 0 * * *"),
    ],
)
def test_what_is_written_otherwise_is_the_same(cron: str, same: str) -> None:
    assert parse_cron(cron) == parse_cron(same)


def test_one_of_both_kinds_of_days_is_enough() -> None:
    parsed = parse_cron("0 12 13 * fri")
    at = datetime(2026, 11, 8, tzinfo=UTC)
    found = []
    for _ in range(4):
        at = next_moment(parsed, UTC, at) or at
        found.append(f"{at:%a %d}")
    assert found == ["Fri 13", "Fri 20", "Fri 27", "Fri 04"]
    assert next_moment(parse_cron("0 0 0 29 2 *"), UTC, at) == datetime(2028, 2, 29, tzinfo=UTC)


@pytest.mark.parametrize(
    ("cron", "why"),
    [
        ("at noon", "2 fields"),
        ("61 * * * * *", "'61' is no second: it lies between 0 and 59"),
        ("* * * * 8", "'8' is no weekday"),
        ("* * * * mon-xyz", "'xyz' is no weekday"),
        ("* * * foo *", "'foo' is no month"),
        ("* 5-3 * * *", "ends before it begins"),
        ("*/0 * * * *", "a step of 0"),
        ("* * 0 * *", "'0' is no day of the month"),
        ("", "0 fields"),
        ("@every 1s", "2 fields"),
        ("* * * * \u0661", "'\u0661' is no weekday"),
    ],
)
def test_what_is_none_is_refused_naming_the_field(cron: str, why: str) -> None:
    with pytest.raises(ValueError, match=why.replace("*", r"\*")):
        parse_cron(cron)


def test_a_day_that_no_calendar_has_never_comes() -> None:
    assert next_moment(parse_cron("0 0 30 2 *"), UTC, datetime(2026, 1, 1, tzinfo=UTC)) is None
