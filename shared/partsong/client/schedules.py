"""Runs that begin again and again."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import nats.errors
from pydantic import BaseModel, TypeAdapter, ValidationError

from partsong.client.connection import Connection
from partsong.client.graphs import GraphLike, a_request, spec_of
from partsong.contracts.durations import Duration
from partsong.contracts.errors import InvalidInput, Problem, Unavailable
from partsong.contracts.graph.misfits import problem_of
from partsong.contracts.services import GRAPH_ENGINE
from partsong.contracts.wire.requests import ScheduleRequest, UnscheduleRequest

__all__ = ["Overlap", "Scheduling"]

Overlap = Literal["allow", "skip", "enqueue", "cancel_previous"]
"""What happens when a schedule's run before is still open."""


class _Failed(BaseModel):
    error: Problem


_ANSWER: TypeAdapter[list[ScheduleRequest] | _Failed] = TypeAdapter(list[ScheduleRequest] | _Failed)


class Scheduling(Connection):
    """Schedules: kept by the bus, also while no engine and no client runs."""

    async def schedule(
        self,
        name: str,
        graph: GraphLike,
        input: Mapping[str, object] | None = None,
        *,
        every: Duration | None = None,
        cron: str | None = None,
        timezone: str | None = None,
        overlap: Overlap = "skip",
        labels: Mapping[str, str] | None = None,
        max_steps: int = 10_000,
        max_cost: float | None = None,
        webhook: str | None = None,
    ) -> None:
        """Start runs again and again, `every` so many seconds (or `1h30m`), or by `cron`.

        A cron expression has five fields, or six with seconds first, in UTC or the IANA `timezone`. When the clocks
        change, a time of day that is skipped comes once, as much later, one that comes twice the first time; what comes
        every so many minutes goes on as before. A schedule of the same name takes the place of the one before. Its runs
        are called `<name>~<moment>` and share a thread.

        Raises:
            InvalidInput: the request was refused; the problem names the field.
            Unavailable: no engine answered in time.
        """
        if (every is None) == (cron is None):
            raise InvalidInput(
                "request.malformed",
                f"a schedule has either `every` or `cron`, and {'neither' if every is None else 'both'} is given",
                where="every",
                fix="give one of the two",
            )
        options = {
            "labels": dict(labels or {}),
            "max_steps": max_steps,
            "max_cost": max_cost,
            "webhook": webhook,
        }
        request = a_request(
            ScheduleRequest,
            name=name,
            graph=spec_of(graph),
            input=dict(input or {}),
            every=every,
            cron=cron,
            timezone=timezone,
            overlap=overlap,
            options=options,
        )
        await self._ask("schedule", request)

    async def unschedule(self, name: str) -> None:
        """Start no more runs for a schedule; those that run go on.

        Raises:
            InvalidInput: `schedule.unknown`.
            Unavailable: no engine answered in time.
        """
        await self._ask("unschedule", a_request(UnscheduleRequest, name=name))

    async def schedules(self) -> list[ScheduleRequest]:
        """All schedules as they were asked for, by name.

        Raises:
            Unavailable: no engine answered in time.
        """
        question = self._subjects.query(GRAPH_ENGINE, "schedules")
        try:
            answer = await self.nats.request(question, b"{}", timeout=self._timeout)
        except (nats.errors.Error, TimeoutError) as error:
            raise Unavailable(
                "request.no_answer",
                f"no engine says which schedules there are: {error!r}",
                fix="see whether a graph-engine runs: `partsong bus status`",
                retryable=True,
            ) from error
        try:
            found = _ANSWER.validate_json(answer.data)
        except ValidationError as error:
            raise Unavailable.of(problem_of(error, "schedules.unreadable", question)) from error
        if isinstance(found, _Failed):
            raise Unavailable.of(found.error)
        return found
