"""Schedules: runs that begin again and again, at the server's own durable timers.

The request is kept in a key-value bucket, its times by the server (`Nats-Schedule`). A firing is delivered until an
engine has started its run, whose id follows from the schedule's name and the moment of the firing: delivered twice, it
is one run. A firing that was due while the server was down comes late, once. A schedule whose timer is lost gets
another one as soon as an engine looks, which each does twice a minute; what was due meanwhile is not made up for. Runs
of a schedule share a thread, so what happens when the one before is still open is what threads do.
"""

from __future__ import annotations

import json
import logging
from datetime import UTC, datetime

import nats.errors
from nats.aio.client import Client
from pydantic import JsonValue, ValidationError

from partsong.bus.bucket import Bucket
from partsong.contracts.errors import InvalidInput, NotFound, Unavailable
from partsong.contracts.graph.misfits import problem_of
from partsong.contracts.wire.headers import (
    SCHEDULE,
    SCHEDULE_NEXT,
    SCHEDULE_TARGET,
    SCHEDULE_TIME_ZONE,
    SCHEDULER,
)
from partsong.contracts.wire.requests import RunRequest, ScheduleRequest
from partsong.contracts.wire.subjects import Subjects
from partsong.graph_engine.core.thread_queue import OnBusy
from partsong.log.port import Log

__all__ = ["Schedules", "run_of"]

_log = logging.getLogger("partsong.graph_engine")

_BAD_PATTERN, _BAD_ZONE = 10189, 10223
_LONGEST = 100 * 365 * 86_400.0
_SHORTEST = 1.0
"""Seconds between two firings that the server can tell apart."""


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

    async def keep(self, request: ScheduleRequest) -> int:
        """Set a schedule, in the place of one of the same name; its runs come behind the sequence returned.

        Raises:
            InvalidInput: `schedule.bad_cron`, `schedule.bad_timezone`, `schedule.too_often`, `schedule.too_seldom`.
            Unavailable: the server did not answer.
        """
        pattern = _pattern(request)
        await self._set(request, pattern)
        body = request.model_dump_json(exclude_none=True).encode()
        await self._bucket.put(request.name, body)
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
            if self._subjects.schedule(name) in waiting:
                continue
            entry = await self._bucket.get(name)
            if entry.value is None:
                continue
            request = _read(name, entry.value)
            if request is None:
                continue
            try:
                await self._set(request, _pattern(request))
            except InvalidInput as error:  # the server has learnt to refuse what it took before
                told = {"schedule": name, "problem": error.problem.code}
                _log.error("schedule not set again", extra=told)
                continue
            _log.warning("schedule set again", extra={"schedule": name})
            if (await self._bucket.get(name)).value is None:  # it was dropped meanwhile
                await self._unset(name)

    async def _waiting(self) -> set[str]:
        """The subjects of all schedules that have a timer."""
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

    async def due(self, name: str, moment_ns: int) -> RunRequest | None:
        """The run of one firing; None if the schedule is no more, or cannot be read.

        Raises:
            Unavailable: the bucket did not answer.
        """
        entry = await self._bucket.get(name)
        request = None if entry.value is None else _read(name, entry.value)
        return None if request is None else run_of(request, moment_ns)

    async def _set(self, request: ScheduleRequest, pattern: str) -> None:
        headers = {
            SCHEDULE: pattern,
            SCHEDULE_TARGET: self._subjects.scheduled(request.name),
        }
        if request.timezone is not None:
            headers[SCHEDULE_TIME_ZONE] = request.timezone
        refused = await self._ask(self._subjects.schedule(request.name), headers)
        match refused:
            case None:
                return
            case {"err_code": code} if code == _BAD_ZONE:
                raise _bad_zone(request.timezone)
            case {"err_code": code} if code == _BAD_PATTERN and request.cron is not None:
                raise _bad_cron(request.cron)
            case _:
                raise Unavailable("schedule.refused", f"schedule {request.name}: {refused}")

    async def _unset(self, name: str) -> None:
        headers = {SCHEDULER: self._subjects.schedule(name), SCHEDULE_NEXT: "purge"}
        await self._ask(self._subjects.unscheduled(name), headers)

    async def _ask(self, subject: str, headers: dict[str, str]) -> dict[str, JsonValue] | None:
        """Store a message among the timers; what the server has against it."""
        try:
            reply = await self._nc.request(subject, b"", timeout=self._within, headers=headers)
        except (nats.errors.Error, TimeoutError) as error:
            raise Unavailable(
                "timer.not_set",
                f"{subject} was not confirmed within {self._within:g} s",
                retryable=True,
            ) from error
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


def run_of(schedule: ScheduleRequest, moment_ns: int) -> RunRequest:
    """The run of one firing."""
    on_busy: OnBusy = "reject" if schedule.overlap == "skip" else schedule.overlap
    moment = datetime.fromtimestamp(moment_ns // 1_000_000 / 1000, UTC)
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


def _pattern(request: ScheduleRequest) -> str:
    zone = request.timezone
    if zone is not None and not (zone.isascii() and zone.isprintable()):
        raise _bad_zone(zone)
    if request.cron is not None:
        sent = request.cron.isascii() and request.cron.isprintable()
        if not sent or request.cron.startswith(("@at", "@every")):
            raise _bad_cron(request.cron)
        return request.cron
    every = request.every or 0.0
    if every < _SHORTEST:
        raise InvalidInput(
            "schedule.too_often",
            f"every {every:g} s is more often than every {_SHORTEST:g} s",
            where="every",
        )
    if every > _LONGEST:
        raise InvalidInput(
            "schedule.too_seldom",
            f"every {every:g} s is more seldom than every {_LONGEST:g} s, a hundred years",
            where="every",
        )
    if zone is not None:
        raise InvalidInput(
            "schedule.bad_timezone",
            "an interval has no time zone",
            where="timezone",
            fix="use `cron`",
        )
    return f"@every {round(every * 1000)}ms"


def _bad_cron(cron: str) -> InvalidInput:
    return InvalidInput(
        "schedule.bad_cron",
        f"{cron!r} is no cron expression that ever comes true",
        where="cron",
        fix="give six fields, seconds first, like `0 30 9 * * mon-fri`, or @hourly, @daily, @weekly, @monthly, @yearly",
    )


def _bad_zone(zone: str | None) -> InvalidInput:
    return InvalidInput(
        "schedule.bad_timezone",
        f"the server knows no time zone {zone!r}",
        where="timezone",
        fix="give an IANA name, like Europe/Berlin",
    )
