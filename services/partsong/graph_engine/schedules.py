"""Schedules: runs that begin again and again, at the server's own durable timers.

The request is kept in a key-value bucket, its next time by the server (`Nats-Schedule`): an interval as such, and of a
cron expression one moment after the other, for the server's own cron knows nothing of clocks that are put forward and
back. A firing is delivered until an engine has set the timer of the next moment and started the run of this one, whose
id follows from the schedule's name and its moment: delivered twice, or to two engines, it is one run. What was due
while the server was down comes late, once; what was due while only the engines were down comes late, each.
A schedule whose timer is lost gets another one as soon as an engine looks, which each does twice a minute; what was due
meanwhile is not made up for. Runs of a schedule share a thread, so what happens when the one before is still open is
what threads do.
"""

from __future__ import annotations

import json
import logging
from datetime import UTC, datetime, timedelta, tzinfo
from typing import NamedTuple

import nats.errors
import nats.js.errors
from nats.aio.client import Client
from pydantic import JsonValue, ValidationError

from partsong.bus.bucket import Bucket
from partsong.contracts.durations import format_duration
from partsong.contracts.errors import InvalidInput, NotFound, Unavailable
from partsong.contracts.graph.misfits import problem_of
from partsong.contracts.wire.headers import (
    LATE,
    SCHEDULE,
    SCHEDULE_NEXT,
    SCHEDULE_TARGET,
    SCHEDULER,
    SET_FOR,
)
from partsong.contracts.wire.requests import RunRequest, ScheduleRequest
from partsong.contracts.wire.subjects import Subjects
from partsong.graph_engine.core.cron import next_moment, parse_cron
from partsong.graph_engine.core.thread_queue import OnBusy
from partsong.log.port import Log
from partsong.runtime import clock
from partsong.runtime.zones import zone_of

__all__ = ["Firing", "Schedules", "run_of"]

_log = logging.getLogger("partsong.graph_engine")

_AT_MOST_LATE = timedelta(seconds=10)
"""How late a server that was not down fires; many timers may be due at once."""
_SHORTEST = 1.0
"""Seconds between two firings that the server can tell apart."""


class Firing(NamedTuple):
    """A schedule's time has come."""

    stored_ns: int
    """When the server said so."""
    set_for: str = ""
    """The moment that was meant; empty if it is the server that finds them, as it does for an interval."""
    late: bool = False
    """Whether that had passed when the timer was set, there having been no engine to do it before."""

    @property
    def stored(self) -> datetime:
        """When the server said so."""
        return datetime.fromtimestamp(self.stored_ns // 1_000_000 / 1000, UTC)

    @property
    def moment(self) -> datetime:
        """The moment that was meant."""
        return datetime.fromisoformat(self.set_for) if self.set_for else self.stored

    @property
    def made_up_for(self) -> datetime:
        """Where to go on from: what was due since is made up for, unless it was the server that was down."""
        outage = not self.late and self.stored - self.moment > _AT_MOST_LATE
        return self.stored if outage else self.moment


class Schedules:
    """Keeps schedules, and starts their runs."""

    def __init__(
        self,
        nc: Client,
        subjects: Subjects,
        bucket: Bucket,
        log: Log,
        *,
        stream: str,
        within: float = 5.0,
    ) -> None:
        """`stream` is where the timers wait."""
        self._nc, self._subjects, self._bucket, self._log = nc, subjects, bucket, log
        self._stream, self._within = stream, within
        self._set_by_moment: set[str] = set()
        """Cron schedules whose timers are known to be set for one moment each, as 0.1's were not."""

    async def keep(self, request: ScheduleRequest) -> int:
        """Set a schedule, in the place of one of the same name; its runs come behind the sequence returned.

        Raises:
            InvalidInput: `schedule.bad_cron`, `schedule.bad_timezone`, `schedule.too_often`.
            Unavailable: the server did not answer.
        """
        timer = _first_timer(request)
        body = request.model_dump_json(exclude_none=True).encode()
        await self._bucket.put(
            request.name, body
        )  # first, for who is fired looks for the next moment in it
        await self._set(request.name, timer)
        return await self._log.head()

    async def drop(self, name: str) -> int:
        """Start no more runs for a schedule; no new one comes behind the sequence returned.

        Raises:
            NotFound: `schedule.unknown`.
            Unavailable: the server did not answer.
        """
        known = (await self._bucket.get(name)).value is not None
        if known:
            await self._bucket.remove(name)
        await self._unset(name)
        if not known:
            raise NotFound("schedule.unknown", f"no schedule is called {name!r}", where="name")
        return await self._log.head()

    async def restore(self) -> None:
        """Set the timers of schedules that have lost theirs; those that wait are left as they are.

        Raises:
            Unavailable: the server did not answer.
        """
        waiting = await self._waiting()
        for name in await self._bucket.keys():
            if self._subjects.scheduled(name) in waiting:  # and whoever takes it sets the next one
                continue
            waits = self._subjects.schedule(name) in waiting
            if waits and name in self._set_by_moment:
                continue
            entry = await self._bucket.get(name)
            if entry.value is None:
                continue
            request = _read(name, entry.value)
            if request is None or (waits and await self._up_to_date(request)):
                continue
            try:
                await self._set(name, _first_timer(request))
            except InvalidInput as error:  # what was taken before is refused now
                told = {"schedule": name, "problem": error.problem.code}
                _log.error("schedule not set again", extra=told)
                continue
            _log.warning("schedule set again", extra={"schedule": name})
            if (await self._bucket.get(name)).value is None:  # it was dropped meanwhile
                await self._unset(name)

    async def _up_to_date(self, request: ScheduleRequest) -> bool:
        """Whether a timer that waits may stay; one of 0.1 hands a cron expression to the server."""
        if request.cron is not None:
            subject = self._subjects.schedule(request.name)
            try:
                found = await self._nc.jetstream().get_last_msg(self._stream, subject)
            except nats.js.errors.NotFoundError:  # it has fired since
                return True
            except (nats.errors.Error, TimeoutError) as error:
                raise _not_confirmed(subject, self._within) from error
            if SET_FOR not in (found.headers or {}):
                return False
        self._set_by_moment.add(request.name)
        return True

    async def _waiting(self) -> set[str]:
        """The subjects of all schedules that have a timer, or one that has fired and is not dealt with."""
        body = json.dumps({"subjects_filter": self._subjects.schedules()}).encode()
        subject = f"$JS.API.STREAM.INFO.{self._stream}"
        try:
            reply = await self._nc.request(subject, body, timeout=self._within)
            return set(json.loads(reply.data)["state"].get("subjects") or ())
        except (nats.errors.Error, TimeoutError, KeyError) as error:
            raise Unavailable(
                "timer.no_answer",
                f"stream {self._stream} did not say what waits in it: {error!r}",
                retryable=True,
            ) from error

    async def list(self) -> list[dict[str, JsonValue]]:
        """All schedules as they were asked for, by name.

        Raises:
            Unavailable: the bucket did not answer.
        """
        entries = [await self._bucket.get(name) for name in await self._bucket.keys()]
        values = [entry.value for entry in entries if entry.value is not None]
        return [json.loads(value) for value in values if _read("", value) is not None]

    async def due(self, name: str, firing: Firing) -> RunRequest | None:
        """The run of one firing, when the next one is set; None if the schedule is no more, or cannot be read.

        Raises:
            Unavailable: the bucket or the server did not answer, or this machine does not know the time zone.
        """
        entry = await self._bucket.get(name)
        request = None if entry.value is None else _read(name, entry.value)
        if request is None:
            return None
        if request.cron is not None:
            await self._follow(request, firing)
        elif (
            firing.set_for
        ):  # it was a cron expression until now, and its timer took the interval's place
            await self._set(name, _interval(request))
        return run_of(request, firing.moment)

    async def _follow(self, request: ScheduleRequest, firing: Firing) -> None:
        try:
            timer = _next_timer(request, firing.made_up_for)
        except InvalidInput as error:
            if error.problem.code == "schedule.bad_timezone":  # another engine's machine knew it
                raise Unavailable.of(error.problem) from error
            told = {"schedule": request.name, "problem": error.problem.code}
            _log.warning("schedule has no further moment", extra=told)
        else:
            await self._set(request.name, timer)

    async def _set(self, name: str, timer: dict[str, str]) -> None:
        headers = {**timer, SCHEDULE_TARGET: self._subjects.scheduled(name)}
        refused = await self._ask(self._subjects.schedule(name), headers)
        if refused is not None:
            raise Unavailable("schedule.refused", f"schedule {name}: {refused}")
        if SET_FOR in timer:
            self._set_by_moment.add(name)
        else:
            self._set_by_moment.discard(name)

    async def _unset(self, name: str) -> None:
        headers = {SCHEDULER: self._subjects.schedule(name), SCHEDULE_NEXT: "purge"}
        await self._ask(self._subjects.unscheduled(name), headers)

    async def _ask(self, subject: str, headers: dict[str, str]) -> dict[str, JsonValue] | None:
        """Store a message among the timers; what the server has against it."""
        try:
            reply = await self._nc.request(subject, b"", timeout=self._within, headers=headers)
        except (nats.errors.Error, TimeoutError) as error:
            raise _not_confirmed(subject, self._within) from error
        problem: dict[str, JsonValue] | None = json.loads(reply.data).get("error")
        return problem


def _read(name: str, value: bytes) -> ScheduleRequest | None:
    """A schedule as it is kept; one that cannot be read keeps no other from being set."""
    try:
        return ScheduleRequest.model_validate_json(value)
    except ValidationError as error:
        why = problem_of(error, "schedule.malformed").message
        _log.error("schedule passed over, it cannot be read", extra={"schedule": name, "why": why})
        return None


def run_of(schedule: ScheduleRequest, moment: datetime) -> RunRequest:
    """The run of one moment."""
    on_busy: OnBusy = "reject" if schedule.overlap == "skip" else schedule.overlap
    run_id = f"{schedule.name}~{moment:%Y%m%dT%H%M%S}{moment.microsecond // 1000:03}Z"
    asked = schedule.options
    options = asked.model_copy(
        update={
            "thread": asked.thread or f"schedule:{schedule.name}",
            "on_busy": on_busy,
            "labels": {"schedule": schedule.name, **asked.labels},
        }
    )
    return RunRequest(
        id=run_id, run_id=run_id, graph=schedule.graph, input=schedule.input, options=options
    )


def _first_timer(request: ScheduleRequest) -> dict[str, str]:
    return _interval(request) if request.cron is None else _next_timer(request, clock.now())


def _next_timer(request: ScheduleRequest, after: datetime) -> dict[str, str]:
    """The headers of a cron expression's next timer."""
    text = request.cron or ""
    try:
        cron = parse_cron(text)
    except ValueError as error:
        raise _bad_cron(text, str(error)) from None
    moment = next_moment(cron, _zone(request.timezone), after)
    if moment is None:
        raise _bad_cron(text, "it never comes true")
    at = clock.to_text(moment)
    late = {LATE: "1"} if moment < clock.now() else {}
    return {SCHEDULE: f"@at {at}", SET_FOR: at, **late}


def _zone(name: str | None) -> tzinfo:
    try:
        return zone_of(name)
    except LookupError:
        raise InvalidInput(
            "schedule.bad_timezone",
            f"the engine's machine knows no time zone {name!r}",
            where="timezone",
            fix="give an IANA name, like Europe/Berlin",
        ) from None


def _interval(request: ScheduleRequest) -> dict[str, str]:
    """The headers of an interval's timer."""
    every = request.every or 0.0
    if every < _SHORTEST:
        raise InvalidInput(
            "schedule.too_often",
            f"every {format_duration(every)} is more often than every {format_duration(_SHORTEST)}",
            where="every",
        )
    if request.timezone is not None:
        raise InvalidInput(
            "schedule.bad_timezone",
            "an interval has no time zone",
            where="timezone",
            fix="use `cron`",
        )
    return {SCHEDULE: f"@every {round(every * 1000)}ms"}


def _not_confirmed(subject: str, within: float) -> Unavailable:
    message = f"{subject} was not confirmed within {within:g} s"
    return Unavailable("timer.not_set", message, retryable=True)


def _bad_cron(cron: str, why: str) -> InvalidInput:
    return InvalidInput(
        "schedule.bad_cron",
        f"{cron!r} is no cron expression: {why}",
        where="cron",
        fix="give five fields, like `30 9 * * mon-fri`, or six, seconds first, or @hourly, @daily, @weekly, @monthly, @yearly",
    )
