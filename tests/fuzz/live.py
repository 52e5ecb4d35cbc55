"""Cases on a platform of real processes, beside runs that have nothing to do with them and must not notice."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import json
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from urllib.parse import urlsplit

import nats.errors
from nats.aio.msg import Msg
from nats.js.errors import APIError
from pydantic import JsonValue

from partsong.client import Client
from partsong.contracts.errors import PartsongError
from partsong.contracts.wire.requests import REPLY, Rejected
from partsong.graph_engine.door import request_id
from partsong.runtime import clock
from tests.fuzz import specs
from tests.fuzz.draw import Draw
from tests.fuzz.judge import problem
from tests.fuzz.records import odd_body, odd_subject
from tests.soak.processes import Fleet, a_fleet_of

__all__ = ["LIVE", "Field", "a_field", "cases"]

LIVE = {"door": 78, "http": 16, "log": 3, "deed": 3}
"""The kinds of cases, and of a hundred so many."""

_TOGETHER = 6
"""So many cases are under way at once."""
_SILENCE = 30.0
"""Seconds without any answer at all, after which what is open counts as unanswered."""
_LOOK = 1.0
_OVERTAKEN = 500
"""So many answers to others: whoever has waited longer waits in vain."""
_ORDINARY = 60
"""So many ordinary requests are sent for comparison, in the same way."""

STEP: dict[str, JsonValue] = {
    "name": "honest",
    "nodes": {"a": {"type": "function", "function": specs.STEP}},
}
_ASKS: dict[str, JsonValue] = {
    "name": "asks",
    "nodes": {
        "ok": {
            "type": "approval",
            "title": "\x1b]0;owned\x07Go on?",
            "editable": "x",
            "edit_schema": {"type": "string", "pattern": "^[a-z]*$"},
        }
    },
}


def cases(count: int) -> list[str]:
    """The names of so many cases, by turns."""
    numbers = dict.fromkeys(LIVE, 0)
    names: list[str] = []
    for at in range(1, count + 1):
        kind = max(LIVE, key=lambda kind: LIVE[kind] * at / 100 - numbers[kind])
        names.append(f"{kind}/{numbers[kind]}")
        numbers[kind] += 1
    return names


@dataclass
class Field:
    """A platform, and what is noted of it."""

    fleet: Fleet
    client: Client
    seed: int
    answers: Counter[str] = field(default_factory=Counter)
    """Answers by the id of their request."""
    due: Counter[str] = field(default_factory=Counter)
    """Requests by the id that is legible in them."""
    times: defaultdict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    """Seconds that each honest run took, by what went on meanwhile."""
    found: list[str] = field(default_factory=list)
    bytes_sent: int = 0
    pids: dict[str, int] = field(default_factory=dict)
    _waits: dict[str, asyncio.Event] = field(default_factory=dict)
    _runs: int = 0

    # --- answers ---

    async def take(self, msg: Msg) -> None:
        """Note an answer, and judge it."""
        id_ = msg.subject.rpartition(".")[2]
        self.answers[id_] += 1
        if (event := self._waits.get(id_)) is not None:
            event.set()
        try:
            reply = REPLY.validate_json(msg.data)
        except ValueError:
            self.found.append(f"the answer to {id_} is none: {msg.data[:200]!r}")
            return
        if isinstance(reply, Rejected):
            self.found += [f"the answer to {id_}: {flaw}" for flaw in problem(reply.error)]
            if "Traceback" in reply.error.message:
                self.found.append(f"the answer to {id_} holds a traceback")

    async def answered(self, id_: str) -> None:
        """Wait for the answer; or as long as there are any."""
        event, asked = self._waits.setdefault(id_, asyncio.Event()), self.answers.total()
        seen, since = asked, clock.monotonic()
        while not event.is_set() and not self.answers[id_]:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(event.wait(), _LOOK)
            if (now := self.answers.total()) > seen:
                seen, since = now, clock.monotonic()
            if now - asked > _OVERTAKEN or clock.monotonic() - since > _SILENCE:
                return

    # --- honest runs ---

    async def honest(self, meanwhile: str) -> None:
        """One run that has nothing to do with any case."""
        self._runs += 1
        began, run_id = clock.monotonic(), f"honest-{self._runs}"
        try:
            await self.client.start(STEP, run_id=run_id)
            done = await self.client.result(run_id, timeout=_SILENCE)
        except (PartsongError, TimeoutError) as error:
            self.found.append(f"an honest run beside {meanwhile}: {error!s:.300}")
            return
        self.times[meanwhile].append(clock.monotonic() - began)
        if done.status != "completed":
            self.found.append(f"an honest run beside {meanwhile} is {done.status}: {done.error}")

    async def beside(self, meanwhile: str, work: Awaitable[None]) -> None:
        """Let honest runs go on as long as the work does, one after the other."""

        over = False

        async def stream() -> None:
            while not over:
                await self.honest(meanwhile)

        going = asyncio.ensure_future(stream())
        try:
            await work
        finally:
            over = True  # a cancellation may be lost where a wait ends just then, and this would go on for ever
            await going

    # --- cases ---

    async def send(self, verb: str, body: bytes, headers: dict[str, str], id_: str) -> None:
        """Publish a request as it is, and wait for the answer to whoever is legible in it."""
        self.bytes_sent += len(body)
        subject, nc = f"{self.client.subjects.prefix}.request.{verb}", self.client.nats
        try:
            if verb in specs.VERBS:
                await nc.jetstream().publish(subject, body, headers=headers, timeout=_SILENCE)
            else:  # no stream takes it
                await nc.publish(subject, body, headers=headers)
        except APIError:
            pass  # no room in the stream, or too large for it: the door answers that, too
        except (nats.errors.Error, ValueError):
            return  # no client can send it
        if id_:
            self.due[id_] += 1
            await self.answered(id_)

    async def ordinary(self) -> None:
        """Requests like those of the cases, but for their oddities."""
        for at in range(_ORDINARY // _TOGETHER):
            await asyncio.gather(*(self._start(f"o{at}-{n}") for n in range(_TOGETHER)))

    async def _start(self, id_: str) -> None:
        body = json.dumps({"id": id_, "graph": STEP, "input": {}}).encode()
        await self.send("run", body, {}, id_)

    async def play(self, names: Sequence[str], told: Callable[[str], None]) -> None:
        """Play cases, some at a time."""
        gate = asyncio.Semaphore(_TOGETHER)

        async def one(name: str) -> None:
            async with gate:
                for flaw in await self.case(name):
                    self.found.append(f"{name}: {flaw}")
                told(name)

        await asyncio.gather(*map(one, names))

    async def case(self, name: str) -> list[str]:
        """Play one case."""
        draw = Draw(f"{self.seed} {name}")
        kind, _, number = name.partition("/")
        match kind:
            case "door":
                return await self._door(draw, number)
            case "http":
                return await self._http(draw)
            case "log":
                return await self._log(draw, number)
            case _:
                return await self._deed(name, number)

    async def _door(self, draw: Draw, number: str) -> list[str]:
        verb = draw.one((*specs.VERBS, *("run",) * 5)) if draw.chance(0.97) else "dance"
        id_, run_id = f"z{number}", f"fz{draw.count(0, 40)}"
        body = draw.body(specs.request(draw, verb, id_, run_id))
        headers = {"Nats-Msg-Id": f"m{number}"} if draw.chance(0.3) else {}
        if draw.chance(0.2):
            headers[draw.one(("traceparent", "X-Odd", "Nats-Expected"))] = draw.one(
                ("", "x", "00-0-0-0", "a" * 500)
            )
        await self.send(verb, body, headers, request_id(body, headers))
        return []

    async def _http(self, draw: Draw) -> list[str]:
        method, path, body, headers = _asked(draw, f"asks-{draw.count(0, 3)}.ok:1")
        status, kind, said = await asyncio.to_thread(
            _ask, self.fleet.http_url, method, path, body, headers
        )
        if status >= 500 and status != 503:
            return [f"{method} {path[:80]!r} gives {status}: {said[:300]!r}"]
        if status < 400:
            return []
        try:
            code = json.loads(said)["code"]
        except (ValueError, KeyError, TypeError):
            return [f"{method} {path[:80]!r} gives {status} as {kind}, no problem: {said[:200]!r}"]
        return [] if code else ["it has no code"]

    async def _log(self, draw: Draw, number: str) -> list[str]:
        """A stranger's record, in the log of a run of its own; whoever asks about that run is told something."""
        run_id = f"stranger-{number}"
        if draw.chance(0.7):
            await self.client.start(
                {"name": "w", "nodes": {"w": {"type": "wait", "signal": "go"}}}, run_id=run_id
            )
        body = odd_body(draw).replace(b'"r_1"', f'"{run_id}"'.encode())
        subject = odd_subject(draw, self.client.subjects, run_id)
        with contextlib.suppress(nats.errors.Error):
            await self.client.nats.publish(subject, body)
        for ask in (self.client.state, self.client.replay):
            with contextlib.suppress(PartsongError):
                await ask(run_id)
        return []

    async def _deed(self, name: str, number: str) -> list[str]:
        """A function that does anything: its run ends, and says why."""
        graph: dict[str, JsonValue] = {
            "name": "deed",
            "nodes": {"a": {"type": "function", "function": "tests.fuzz.work:drawn"}},
        }
        run_id = await self.client.start(
            graph, {"draw": f"{self.seed} {name}"}, run_id=f"deed-{number}"
        )
        done = await self.client.result(run_id, timeout=_SILENCE)
        if done.status not in {"completed", "failed"}:
            return [f"its run is {done.status}"]
        return [*problem(done.error)] if done.status == "failed" else []

    async def prepare(self) -> None:
        """Runs that wait for a decision, for cases to decide on."""
        for n in range(4):
            await self.client.start(_ASKS, {"x": "a"}, run_id=f"asks-{n}")

    # --- how it stands ---

    def slower(self) -> float:
        """How much longer an honest run takes beside cases than beside ordinary requests: the medians, one by the other."""
        before, during = self.times["ordinary requests"], self.times["cases"]
        return median(during) / median(before) if before and during else float("inf")


def _asked(draw: Draw, approval: str) -> tuple[str, str, bytes, dict[str, str]]:
    """A request to the approval service."""
    path = draw.one(
        (
            f"/api/approvals/{approval}/decision",
            f"/api/approvals/{approval}/decision",
            "/api/approvals",
            f"/api/approvals/{draw.one(('x', '%00', '..%2f..', 'a' * 3000, '%ff', '{}'))}",
            "/nowhere",
            f"/api/approvals?limit={draw.one((0, 5, 10**30, 'x'))}&cursor={draw.one(('', '%00', '1:2'))}",
            "/readyz",
        )
    )
    method = draw.one(("POST", "POST", "POST", "GET", "DELETE", "PUT", "OPTIONS"))
    made: JsonValue = {
        "decision": draw.one(("reject", "maybe", draw.text())),
        "by": draw.one(("ann", draw.text())),
        "reason": draw.one((None, draw.text())),
        "edit": draw.one((None, draw.value(1))),
    }
    body = draw.body(draw.changed(made) if draw.chance(0.5) else made)[:200_000]
    headers = {
        "Content-Type": draw.one(
            (
                "application/json",
                "application/json",
                "text/plain",
                "application/x-www-form-urlencoded",
                "",
            )
        )
    }
    if draw.chance(0.3):
        headers[draw.one(("Idempotency-Key", "Host", "Origin", "Accept", "Content-Encoding"))] = (
            draw.one(("x", "", "evil.example", "a b", "gzip", "k" * 500, "\u00e9"))
        )
    return method, path, body, headers


def _ask(
    url: str, method: str, path: str, body: bytes, headers: dict[str, str]
) -> tuple[int, str, bytes]:
    where = urlsplit(url)
    connection = http.client.HTTPConnection(where.hostname or "", where.port, timeout=_SILENCE)
    try:
        connection.request(
            method,
            path,
            body,
            {
                name: value.encode("latin-1", "replace").decode("latin-1")
                for name, value in headers.items()
            },
        )
        answer = connection.getresponse()
        return answer.status, answer.headers.get("content-type", ""), answer.read()
    except http.client.HTTPException as error:
        return 599, type(error).__name__, str(error).encode()
    finally:
        connection.close()


@contextlib.asynccontextmanager
async def a_field(folder: Path, seed: int) -> AsyncIterator[Field]:
    """A platform that is ready, with somebody who hears all answers."""
    fleet = await a_fleet_of(folder, engines=1, workers=1, load="tests.fuzz.work")
    try:
        async with Client(fleet.nats.url, timeout=60) as client:
            made = Field(fleet, client, seed)
            made.pids = {
                worker.name: worker.process.pid for worker in fleet.workers if worker.process
            }
            await client.nats.subscribe(f"{client.subjects.prefix}.reply.*", cb=made.take)
            await client.nats.flush()
            yield made
    finally:
        await fleet.stop()
