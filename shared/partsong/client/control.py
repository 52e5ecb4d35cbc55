"""What can be asked of a run: begin, stop, pause, go on, hear a signal, and begin again from its past."""

from __future__ import annotations

import asyncio
import hashlib
import json
import math
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from typing import Literal, cast

from pydantic import JsonValue

from partsong.client.catalogue import Catalogue
from partsong.client.comparison import begun_by
from partsong.client.graphs import BringsTools, GraphLike, a_request, spec_of
from partsong.client.lacking import lacking, offers, say
from partsong.client.past import Past
from partsong.contracts.deadlines import Deadline
from partsong.contracts.errors import InvalidInput, PartsongError, Problem, Unavailable
from partsong.contracts.events import Event
from partsong.contracts.graph import Graph
from partsong.contracts.graph.validate import parse_graph
from partsong.contracts.ids import check_id
from partsong.contracts.plain import plain
from partsong.contracts.wire.offers import Offer
from partsong.contracts.wire.requests import (
    CancelRequest,
    ForkRequest,
    PauseRequest,
    ResumeRequest,
    RetryRequest,
    RunRequest,
    SignalRequest,
)
from partsong.log.reading import Unreadable, message_of
from partsong.runtime import clock

__all__ = ["Control", "OnBusy"]

OnBusy = Literal["allow", "reject", "enqueue", "cancel_previous"]
"""What happens to a run whose thread has another one open."""

_NO_CHANGE = frozenset({"command.received", "command.settled"})
"""Events about a request that are there whether it changed anything or not."""
_SAID = 30.0
"""Seconds for which a graph is not looked at again for what no worker has."""
_LOST = 3.0
"""Seconds to look for a run whose beginning was not answered."""


class Control(Past, Catalogue):
    """Requests. Each returns when an engine has carried it out; what it means is in the log then."""

    async def start(
        self,
        graph: GraphLike,
        input: Mapping[str, object] | None = None,
        *,
        run_id: str | None = None,
        thread: str | None = None,
        on_busy: OnBusy = "enqueue",
        labels: Mapping[str, str] | None = None,
        max_steps: int = 10_000,
        max_cost: float | None = None,
        deadline: Deadline | None = None,
        webhook: str | None = None,
    ) -> str:
        """Start a run, by a graph or by the name or hash of one known to the bus; returns its run id.

        With a `run_id` of yours it is safe to repeat: the same run is found, not a second one started. `max_cost` is in
        US dollars, `deadline` a moment, or the time that the run has, like `1h30m`; a run that meets a limit can be
        retried with a larger one.
        Runs of one `thread` go one after the other unless `on_busy` says otherwise. `webhook` is told of the end.

        Raises:
            InvalidInput: the request was refused; the problem names the field.
            Unavailable: no engine answered in time.
        """
        options = {
            "thread": thread,
            "on_busy": on_busy,
            "labels": dict(labels or {}),
            "max_steps": max_steps,
            "max_cost": max_cost,
            "deadline": deadline,
            "webhook": webhook,
        }
        request = a_request(
            RunRequest,
            run_id=run_id or clock.new_run_id(),
            graph=spec_of(graph),
            input=dict(input or {}),
            options=options,
        )
        await self._refuse_unplaced(graph)
        looking = asyncio.ensure_future(self._new_lacks(graph, request.graph))
        try:
            started = await self._begin("run", request, str(request.run_id), "run_id")
            say(await looking)
        finally:
            looking.cancel()
        return started

    async def lacking(self, graph: GraphLike) -> tuple[Problem, ...]:
        """What no worker has now of what a graph calls, each with what to do; `start` logs it as warnings.

        Nothing is wrong with a run of it: it waits until somebody comes who has it.

        Raises:
            InvalidInput: the graph is not valid; NotFound: `graph.unknown`.
        """
        spec = spec_of(graph)
        known = await self.graph(spec) if isinstance(spec, str) else parse_graph(spec)
        return await lacking(self.nats, self._subjects, known)

    async def offers(self) -> tuple[Offer, ...]:
        """What each tool-runner says of the modules that it has loaded; nothing from those that do not answer."""
        return await offers(self.nats, self._subjects)

    async def _new_lacks(self, graph: GraphLike, spec: JsonValue) -> tuple[Problem, ...]:
        """What was not said of this graph a moment ago; that it cannot be found out is no reason not to start."""
        key = graph.hash if isinstance(graph, Graph) else _digest(spec)
        now = clock.monotonic()
        if now - self._looked.get(key, -math.inf) < _SAID:
            return ()
        self._looked[key] = now
        try:
            return await self.lacking(
                graph if isinstance(graph, Graph | str) else cast("GraphLike", spec)
            )
        except PartsongError:  # whoever takes the request says what is wrong
            return ()

    async def _refuse_unplaced(self, graph: GraphLike) -> None:
        """Refuse a graph with a tool that no other process can import, unless a worker has one of its name.

        Raises:
            InvalidInput: `tool.not_portable`.
        """
        unplaced = graph.unplaced_tools() if isinstance(graph, BringsTools) else {}
        if not unplaced:
            return
        for problem in await self.lacking(graph):
            if problem.code == "worker.lacks_tool" and problem.where in {
                f"?:{n}" for n in unplaced
            }:
                raise InvalidInput.of(unplaced[str(problem.where)[2:]])

    async def cancel(self, run_id: str, reason: str | None = None) -> bool:
        """End a run; does nothing, and returns False, if it has ended or is ending.

        Raises:
            InvalidInput: `run.unknown`.
            Unavailable: no engine answered in time.
        """
        return await self._change("cancel", a_request(CancelRequest, run_id=run_id, reason=reason))

    async def pause(self, run_id: str, reason: str | None = None) -> bool:
        """Begin nothing new in a run; what is in flight goes on and is kept.

        Does nothing, and returns False, if it is paused or has ended.

        Raises:
            InvalidInput: `run.unknown`.
            Unavailable: no engine answered in time.
        """
        return await self._change("pause", a_request(PauseRequest, run_id=run_id, reason=reason))

    async def resume(self, run_id: str) -> bool:
        """Go on with a paused run; does nothing, and returns False, if it is not paused.

        Raises:
            InvalidInput: `run.unknown`.
            Unavailable: no engine answered in time.
        """
        return await self._change("resume", a_request(ResumeRequest, run_id=run_id))

    async def signal(
        self,
        run_id: str,
        name: str,
        payload: object = None,
        *,
        key: str | int | None = None,
        signal_id: str | None = None,
        start: GraphLike | None = None,
        input: Mapping[str, object] | None = None,
        labels: Mapping[str, str] | None = None,
    ) -> None:
        """Send a run a signal; it is kept until a wait node takes it, one with this `key` if there is one.

        With a `signal_id` of yours it is safe to repeat: however often it is sent to this run, it counts once.
        With `start`, a run that nobody has begun begins, of this graph with this `input`, and has the signal; of many
        that send the first signal, one begins it. One that is refused begins nothing.

        Raises:
            InvalidInput: `run.unknown`, `run.ended`, `signal.unknown`: no node waits for that name, `signal.key`: none
                with a key, or none without, `signal.invalid`: the payload does not fit the node's schema; of a run that
                is to begin, as for `start`.
            Unavailable: no engine answered in time.
        """
        if start is None and (input is not None or labels is not None):
            raise InvalidInput(
                "request.malformed",
                "input and labels are those of a run that begins, and no graph says which",
                where="start",
                fix="give the graph as `start`",
            )
        own = None if signal_id is None else f"{run_id}/{check_id('signal_id', signal_id)}"
        begin: dict[str, object] | None = None
        if start is not None:
            given = plain(dict(input or {}), "input", "request.malformed")
            begin = {"graph": spec_of(start), "input": given}
            begin["options"] = {"labels": dict(labels or {})}
        fields = {"run_id": run_id, "name": name, "payload": payload, "start": begin}
        text = None if key is None else str(key)
        await self._ask("signal", a_request(SignalRequest, own, key=text, **fields))

    async def retry(
        self,
        run_id: str,
        *,
        graph: GraphLike | None = None,
        max_steps: int | None = None,
        max_cost: float | None = None,
        deadline: Deadline | None = None,
        reason: str | None = None,
    ) -> None:
        """Go on with a run that failed, was cancelled or met a limit: only what is unfinished runs.

        A `graph` is the mended one; nodes at which the run stands must be in it. Limits that are given take the place
        of the old ones; an old deadline does not hold any more. `result` then waits until the run ends again.

        Raises:
            InvalidInput: `run.unknown`, `run.not_ended`, `run.completed`, `graph.node_missing`.
            Unavailable: no engine answered in time.
        """
        before = await self._newest(run_id)
        given = {"max_steps": max_steps, "max_cost": max_cost, "deadline": deadline}
        request = a_request(
            RetryRequest,
            run_id=run_id,
            graph=None if graph is None else spec_of(graph),
            options=await self._with_limits(run_id, given),
            reason=reason,
        )
        await self._ask("retry", request)
        await self._newest(run_id, behind=before.seq)  # who asks next shall not see the old end

    async def fork(
        self,
        run_id: str,
        seq: int | None = None,
        *,
        new_run_id: str | None = None,
        values: Mapping[str, object] | None = None,
        outputs: Mapping[str, Mapping[str, object]] | None = None,
    ) -> str:
        """Begin a new run where `run_id` was at `seq` (default: its end), perhaps with other values; returns its id.

        `values` are keys of the state, also where what is open took them over, and `sub:1/key` there alone; `outputs`
        what function executions are taken to have returned, by id like `a:1` or `sub:1/a:1`. What was in flight is done again, and people are asked again. A fork belongs to no thread: it goes on beside
        the runs of its origin's, and none waits for it. With a `new_run_id` it is safe to repeat.

        Raises:
            InvalidInput: `run.unknown`, `run.exists`, `fork.unknown_output`, `fork.unknown_scope`.
            Unavailable: no engine answered in time.
        """
        request = a_request(
            ForkRequest,
            run_id=run_id,
            seq=seq,
            new_run_id=new_run_id or clock.new_run_id(),
            values=dict(values or {}),
            outputs=dict(outputs or {}),
        )
        return await self._begin("fork", request, str(request.new_run_id), "new_run_id")

    async def _change(
        self, verb: str, request: CancelRequest | PauseRequest | ResumeRequest
    ) -> bool:
        """Ask for a change of a run, and say whether there was anything to change.

        What did is in the commit that the answer names, unless the request was delivered twice.
        """
        accepted = await self._ask(verb, request)
        async with aclosing(self._told(request.run_id, accepted.seq - 1)) as events:
            async for event in events:
                if event.cause == request.id and event.type not in _NO_CHANGE:
                    return True
        return False

    async def _told(self, run_id: str, after: int) -> AsyncGenerator[Event, None]:
        """The run's events behind a sequence, as far as they can be read."""
        async with aclosing(self.log.read(self._run(run_id), after=after)) as records:
            async for record in records:
                message = message_of(self._subjects, record)
                if not isinstance(message, Unreadable):
                    for event in message.events:
                        yield event

    async def _begin(
        self, verb: str, request: RunRequest | ForkRequest, run_id: str, field: str
    ) -> str:
        """Ask for a new run; that only the answer was lost is no error."""
        try:
            asked = await self._ask(verb, request, caller=self._caller, run_id=run_id)
            return asked.run_id
        except Unavailable as error:
            unheard = error.problem.code == "request.no_answer"
            if unheard and await self._began(run_id, request.id):
                return run_id
            again = f"asking again with this {field} finds the run if it was begun after all"
            update = {"where": f"{field}={run_id}", "fix": f"{error.problem.fix}; {again}"}
            raise Unavailable.of(error.problem.model_copy(update=update)) from error

    async def _began(self, run_id: str, request_id: str) -> bool:
        """Whether this very request began the run."""
        try:
            async with asyncio.timeout(_LOST):
                await self._newest(run_id)
                begun = begun_by(await self._first(run_id))
        except (PartsongError, TimeoutError):
            return False
        return begun is not None and begun.request_id == request_id

    async def _with_limits(
        self, run_id: str, given: Mapping[str, object]
    ) -> dict[str, JsonValue] | None:
        """The run's own options with the limits that are given; None if none is."""
        wanted = {name: value for name, value in given.items() if value is not None}
        if not wanted:
            return None
        old = (await self.state(run_id)).options
        kept = old.model_dump(mode="json", exclude={"deadline"})
        return {**kept, **cast("dict[str, JsonValue]", wanted)}


def _digest(spec: JsonValue) -> str:
    return hashlib.sha256(json.dumps(spec).encode()).hexdigest()
