"""Cron expressions, and the moments that they mean where clocks are put forward and back.

A time of day that a change of the clocks skips happens once, as much later as the clocks are put forward: half past two
is then half past three. One that comes twice happens at the first of the two. An expression whose times are no further
apart than the clocks are moved (each half minute, five minutes, hour) goes by what the clock shows instead, so it
neither pauses nor comes double. A zone arrives as a `tzinfo`, so that this module reads no files.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from functools import cached_property
from itertools import pairwise

__all__ = ["Cron", "next_moment", "parse_cron"]

_DAY = 86_400
_NEAR = timedelta(hours=26)
"""No zone has ever moved its clocks by more: whole days were skipped and repeated at the date line."""
_SEARCHED = 41 * 366
"""Days until a day comes again at the latest: a 29th of February on a given weekday may take forty years."""
_LAST = datetime(9990, 1, 1, tzinfo=UTC)

_SHORT = {
    "@yearly": "0 0 0 1 1 *",
    "@annually": "0 0 0 1 1 *",
    "@monthly": "0 0 0 1 * *",
    "@weekly": "0 0 0 * * 0",
    "@daily": "0 0 0 * * *",
    "@midnight": "0 0 0 * * *",
    "@hourly": "0 0 * * * *",
}
_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_WEEKDAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
_PART = re.compile(r"(?:[*?]|([a-z]+|[0-9]{1,2})(?:-([a-z]+|[0-9]{1,2}))?)(?:/([0-9]{1,2}))?")


@dataclass(frozen=True)
class Cron:
    """A cron expression taken apart: times of a day, ascending, and which days."""

    hours: tuple[int, ...]
    minutes: tuple[int, ...]
    seconds: tuple[int, ...]
    months: frozenset[int]
    days: frozenset[int] | None
    """Days of the month; None is any."""
    weekdays: frozenset[int] | None
    """Sunday is 0; None is any. If both kinds of days are given, one of them is enough."""

    @cached_property
    def pause(self) -> int:
        """Seconds between two of its times at most, on days on which it happens one after the other."""
        times = list(self.times(0))
        return max(later - earlier for earlier, later in pairwise([*times, times[0] + _DAY]))

    def times(self, since: int) -> Iterator[int]:
        """Its times of a day, from one on, in seconds since midnight."""
        for hour in self.hours:
            for minute in self.minutes if hour >= since // 3600 else ():
                start = hour * 3600 + minute * 60
                for second in self.seconds if start + 59 >= since else ():
                    if start + second >= since:
                        yield start + second

    def on(self, day: date) -> bool:
        """Whether it happens on a day."""
        if day.month not in self.months:
            return False
        weekday = day.isoweekday() % 7
        if self.days is None or self.weekdays is None:
            return (self.days is None or day.day in self.days) and (
                self.weekdays is None or weekday in self.weekdays
            )
        return day.day in self.days or weekday in self.weekdays

    def from_(self, start: datetime) -> Iterator[datetime]:
        """Its times on the calendar, which knows no zones, from one on; ends if there is none for forty years."""
        since = start.hour * 3600 + start.minute * 60 + start.second + bool(start.microsecond)
        day, unseen = start.date(), 0
        while unseen < _SEARCHED and day < date.max:
            if self.on(day):
                midnight, unseen = datetime.combine(day, time()), 0
                for second in self.times(since):
                    yield midnight + timedelta(seconds=second)
            day, since, unseen = day + timedelta(days=1), 0, unseen + 1


def parse_cron(text: str) -> Cron:
    """A cron expression of six fields, seconds first, of five, which begin with minutes, or a name like `@daily`.

    Raises:
        ValueError: saying which field is wrong, and why.
    """
    fields = _SHORT.get(text.strip().lower(), text).lower().split()
    if len(fields) == 5:
        fields = ["0", *fields]
    if len(fields) != 6:
        raise ValueError(f"it has {len(fields)} fields, not five or six")
    seconds = _field("second", fields[0], 0, 59)
    minutes = _field("minute", fields[1], 0, 59)
    hours = _field("hour", fields[2], 0, 23)
    days = _field("day of the month", fields[3], 1, 31)
    months = _field("month", fields[4], 1, 12, _MONTHS)
    weekdays = _field("weekday", fields[5], 0, 7, _WEEKDAYS)
    return Cron(
        hours=tuple(sorted(hours)),
        minutes=tuple(sorted(minutes)),
        seconds=tuple(sorted(seconds)),
        months=months,
        days=None if _any(fields[3]) else days,
        weekdays=None if _any(fields[5]) else frozenset(day % 7 for day in weekdays),
    )


def _any(field: str) -> bool:
    return any(part in {"*", "?", "*/1", "?/1"} for part in field.split(","))


def _field(
    what: str, text: str, least: int, most: int, names: tuple[str, ...] = ()
) -> frozenset[int]:
    found: set[int] = set()
    for part in text.split(","):
        match = _PART.fullmatch(part)
        if match is None:
            raise ValueError(f"{part!r} is no {what}")
        first, last, step = match.groups()
        if first is None:
            low, high = least, 6 if most == 7 else most
        else:
            low = _number(what, first, least, most, names)
            high = low if last is None else _number(what, last, least, most, names)
            if last is None and step is not None:
                high = most
            if most == 7 and last == "sun":  # a week that ends with it, as in `fri-sun`
                high = 7
        if low > high:
            raise ValueError(f"{part!r} ends before it begins")
        if step is not None and int(step) == 0:
            raise ValueError(f"{part!r} has a step of 0")
        found.update(range(low, high + 1, int(step or 1)))
    return frozenset(found)


def _number(what: str, text: str, least: int, most: int, names: tuple[str, ...]) -> int:
    if text in names:
        return names.index(text) + (what == "month")
    if not text.isdecimal():
        raise ValueError(f"{text!r} is no {what}")
    number = int(text)
    if not least <= number <= most:
        raise ValueError(f"{text!r} is no {what}: it lies between {least} and {most}")
    return number


def next_moment(cron: Cron, zone: tzinfo, after: datetime) -> datetime | None:
    """The first moment after one, in UTC; None if there is none for forty years."""
    if after > _LAST:
        return None
    begin = (after + min(_offsets(zone, after))).replace(tzinfo=None)
    found: datetime | None = None
    latest = timedelta()
    for shown in cron.from_(begin):
        if found is not None and shown - latest >= found.replace(tzinfo=None):
            break  # what the clock shows from here on comes after what was found
        for moment in _moments(cron, zone, shown):
            if moment > after and (found is None or moment < found):
                found, latest = moment, max(_offsets(zone, moment))
    return found


def _moments(cron: Cron, zone: tzinfo, shown: datetime) -> tuple[datetime, ...]:
    """When a time on the calendar happens: once, or as often as the clock shows it."""
    first, second = (shown.replace(tzinfo=zone, fold=fold).astimezone(UTC) for fold in (0, 1))
    if first == second:
        return (first,)
    if cron.pause > abs(second - first).total_seconds():
        return (first,)  # of a time that is skipped, this is as much later as the clocks go forward
    return () if first > second else (first, second)


def _offsets(zone: tzinfo, moment: datetime) -> tuple[timedelta, ...]:
    """What a zone's clocks may be ahead of UTC about a moment."""
    around = (moment - _NEAR, moment, moment + _NEAR)
    return tuple(at.astimezone(zone).utcoffset() or timedelta() for at in around)
