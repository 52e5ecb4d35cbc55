"""The table of subjects: what travels on each, who sends and who hears it, and what keeps it.

That the addresses are those which `contracts/wire/subjects.py` builds is a test.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

from pydantic import BaseModel, JsonValue

from partsong.contracts.services import (
    AGENT_GATEWAY,
    APPROVAL,
    GRAPH_ENGINE,
    SERVICES,
    TOOL_RUNNER,
    WORKERS,
)
from partsong.contracts.spec.schemas import Schema, schema_of
from partsong.contracts.wire.dead_letter import DeadLetter
from partsong.contracts.wire.headers import (
    ERROR,
    GRAPH,
    LATE,
    MSG_ID,
    ORIGIN,
    PENDING,
    SEEN,
    SET_FOR,
    STARTED,
    STATUS,
    UNCOMPENSATED,
    WEBHOOK,
)
from partsong.contracts.wire.offers import (
    LoadedModule,
    Offer,
    OfferQuestion,
    ToolPlace,
    ToolsQuestion,
)
from partsong.contracts.wire.subjects import PARTITIONS

__all__ = ["ANYBODY", "CHANNELS", "HEADERS", "OWN", "PARAMETERS", "Channel"]

PARAMETERS = {
    "partition": f"crc32 of the run id, modulo {PARTITIONS}.",
    "run_id": "The run.",
    "call_id": "The call: `<node>:<visit>`, with `/t<turn>` and `/c<index>` for an agent's turns and their tool calls.",
    "node": "The node's name in the graph.",
    "verb": "What is asked for.",
    "caller": "Who asks; a name of the caller's choice.",
    "request_id": "The `id` of the request.",
    "service": "The service: graph-engine, agent-gateway, tool-runner, approval.",
    "queue": "The queue; `default` unless a deployment sets workers apart.",
    "timer_id": "The timer.",
    "schedule": "The schedule's name.",
    "worker": "The worker's name.",
    "inbox": "The reply subject of the question.",
}


@dataclass(frozen=True, slots=True)
class Channel:
    """One kind of subject."""

    name: str
    address: str
    about: str
    messages: tuple[str, ...]
    """Kinds of published schemas, or of `OWN`; `request*` is the whole family."""
    senders: tuple[str, ...]
    hearers: tuple[str, ...]
    stream: str | None = None
    """Field of `Names`; None if nothing keeps the messages."""
    group: str | None = None
    """Queue group of the hearers: one of them gets each message."""
    answer: str | None = None
    """Channel of the answer."""
    stored: str | None = None
    """The address under which the stream keeps the messages, if it is another."""


ANYBODY = "any program"

CHANNELS = (
    Channel(
        "request", "partsong.request.{verb}", "The door. Set `Nats-Msg-Id` to the request's id.",
        ("request*",), (ANYBODY, GRAPH_ENGINE), (GRAPH_ENGINE,), "requests", answer="reply",
    ),
    Channel(
        "beginning", "partsong.request.{verb}.{caller}.{run_id}",
        "The door for a run that is to begin, `run` or `fork`: callers have it by turns, so nobody waits for another's runs. "
        "The stream puts each caller into a lane.",
        ("request.run", "request.fork"), (ANYBODY,), (GRAPH_ENGINE,), "requests", answer="reply",
        stored="partsong.request.{verb}.{lane}.{caller}.{run_id}",
    ),
    Channel(
        "reply", "partsong.reply.{request_id}",
        "The answer to a request, once its effect is in the log. Listen before you ask.",
        ("reply*",), (GRAPH_ENGINE,), (ANYBODY,),
    ),
    Channel(
        "commits", "partsong.log.{partition}.{run_id}.engine",
        "The graph engine's decisions. Each is appended under the guard of this subject's last sequence.",
        ("commit",), (GRAPH_ENGINE,), (ANYBODY, APPROVAL), "log",
    ),
    Channel(
        "facts", "partsong.log.{partition}.{run_id}.fact",
        "Results of calls that may safely happen twice, and of detached runs. Readers take the first.",
        ("report",), (TOOL_RUNNER, GRAPH_ENGINE), (ANYBODY, GRAPH_ENGINE), "log",
    ),
    Channel(
        "calls", "partsong.log.{partition}.{run_id}.call.{call_id}",
        "One call that must not happen twice: its claim, then its one closing event, each under the guard of this "
        "subject's last sequence.",
        ("report",), (*WORKERS, APPROVAL, GRAPH_ENGINE), (ANYBODY, GRAPH_ENGINE, APPROVAL), "log",
    ),
    Channel(
        "chunks", "partsong.chunk.{run_id}.{node}.{call_id}",
        "Live deltas of a call. Per attempt `seq` starts at 0 and has no gaps, and one terminal chunk comes last.",
        ("chunk*",), WORKERS, (ANYBODY,), "chunks",
    ),
    Channel(
        "work", "partsong.work.{service}.{queue}",
        "Hints that a call is open. A hint may be lost or come twice: the log knows what is open. "
        "A body over 256 KiB is in the object store under the name in the header `Partsong-Blob`. "
        "`Partsong-Seen` is the newest record of the run that its engine knew. "
        "`Partsong-Reminder` says that it was published before: whoever gets it pings the service and sees that nobody holds the call.",
        ("work*",), (GRAPH_ENGINE,), WORKERS, "work",
    ),
    Channel(
        "timer", "partsong.timer.{run_id}.{timer_id}",
        "Where a durable timer waits: `Nats-Schedule` says until when, `Nats-Schedule-Target` names the subject of `fired`.",
        ("timer",), (GRAPH_ENGINE,), (), "timers",
    ),
    Channel(
        "fired", "partsong.fired.{run_id}.{timer_id}", "A durable timer's moment has come; published by the server.",
        ("timer",), ("NATS",), (GRAPH_ENGINE,), "timers",
    ),
    Channel(
        "schedule", "partsong.timer.schedule.start.{schedule}",
        "Where a schedule waits for its next time: `Nats-Schedule` says when, at one moment of a cron expression or every so many seconds.",
        ("moment",), (GRAPH_ENGINE,), (), "timers",
    ),
    Channel(
        "scheduled", "partsong.fired.schedule.start.{schedule}",
        "A schedule's time has come; published by the server. Whoever takes it sets the next moment of a cron expression, and starts a run named after this one.",
        ("moment",), ("NATS",), (GRAPH_ENGINE,), "timers",
    ),
    Channel(
        "unscheduled", "partsong.fired.schedule.end.{schedule}", "A schedule is no more.",
        ("moment",), (GRAPH_ENGINE,), (GRAPH_ENGINE,), "timers",
    ),
    Channel(
        "dead", "partsong.dead.{service}", "What a service could not work off, with the reason.",
        ("dead_letter",), SERVICES, (ANYBODY,), "dead",
    ),
    Channel(
        "alive", "partsong.alive.{service}.{worker}",
        "A heartbeat every second, with the calls that are held. Five seconds of silence, and the worker's claims lapse.",
        ("heartbeat",), SERVICES, (*SERVICES, ANYBODY),
    ),
    Channel(
        "stop", "partsong.stop.{run_id}", "What is being done for this run, or a part of it, may be dropped: the commit that is named says so. "
        "A hint that names a later record in `Partsong-Seen` was sent since, and is wanted.",
        ("stop",), (GRAPH_ENGINE,), WORKERS,
    ),
    Channel(
        "tools", "partsong.query.tool-runner.tools", "A question that every tool-runner answers at once on its reply subject: which tools it has.",
        ("tools_question",), (AGENT_GATEWAY,), (TOOL_RUNNER,), group="tool-runner-tools", answer="tools_answer",
    ),
    Channel(
        "tools_answer", "{inbox}", "The answer: all tools of one tool-runner.",
        ("tools_answer",), (TOOL_RUNNER,), (AGENT_GATEWAY,),
    ),
    Channel(
        "offers", "partsong.query.tool-runner.offers",
        "A question that every tool-runner answers at once on its reply subject: which of these functions and tools it has.",
        ("offers_question",), (ANYBODY,), (TOOL_RUNNER,), answer="offers_answer",
    ),
    Channel(
        "offers_answer", "{inbox}", "The answer: what one tool-runner has of that, and what its modules bring.",
        ("offers_answer",), (TOOL_RUNNER,), (ANYBODY,),
    ),
    Channel(
        "schedules", "partsong.query.graph-engine.schedules",
        "A question, answered at once on its reply subject: which schedules there are.",
        ("schedules_question",), (ANYBODY,), (GRAPH_ENGINE,), group="graph-engine-schedules", answer="schedules_answer",
    ),
    Channel(
        "schedules_answer", "{inbox}", "The answer: all schedules as they were asked for.",
        ("schedules_answer",), (GRAPH_ENGINE,), (ANYBODY,),
    ),
    Channel(
        "ping", "partsong.query.{service}.ping", "A question to every worker of a service, answered at once: are you there?",
        ("ping",), (*SERVICES, ANYBODY), SERVICES, answer="pong",
    ),
    Channel(
        "pong", "{inbox}", "The answer: a heartbeat of each worker, with every call that it holds.",
        ("heartbeat",), SERVICES, (*SERVICES, ANYBODY),
    ),
)  # fmt: skip

_TEXT: Schema = {"type": "string"}


def _letter() -> Schema:
    """A dead letter; what a problem is stands in its own schema."""
    made = schema_of(DeadLetter)
    fields = cast("Schema", made["properties"])
    settled = cast("Schema", cast("Schema", made["$defs"])["Settled"])
    inner: Schema = {
        **fields,
        "reason": {"$ref": "./schemas/problem/v1.json"},
        "settled": {"anyOf": [settled, {"type": "null"}]},
    }
    return {**{name: part for name, part in made.items() if name != "$defs"}, "properties": inner}


def _offers(model: type[BaseModel]) -> Schema:
    """A question or an answer about offers, in one piece."""
    made = {name: part for name, part in schema_of(model).items() if name != "$defs"}
    parts: dict[str, type[BaseModel]] = {"modules": LoadedModule, "tools": ToolPlace}
    fields = cast("dict[str, Schema]", made["properties"])
    whole: dict[str, JsonValue] = {
        name: {**field, "items": schema_of(parts[name])} if name in parts else field
        for name, field in fields.items()
    }
    return {**made, "properties": whole}


OWN: dict[str, Schema] = {
    "timer": {**_TEXT, "description": "The timer's id."},
    "moment": {"description": "Nothing: the subject says it all."},
    "schedules_question": {"type": "object"},
    "schedules_answer": {"type": "array", "items": {"$ref": "./schemas/request.schedule/v1.json"}},
    "tools_question": schema_of(ToolsQuestion),
    "offers_question": _offers(OfferQuestion),
    "offers_answer": _offers(Offer),
    "ping": {"description": "Whatever it is; nobody reads it."},
    "tools_answer": {"type": "array", "items": {"$ref": "./schemas/tool/v1.json"}},
    "dead_letter": _letter(),
}
HEADERS: dict[str, Schema] = {
    "commit": {
        "type": "object",
        "properties": {
            MSG_ID: {**_TEXT, "description": "`<run>.engine.<n>.<first half of hash>`"},
            STATUS: {**_TEXT, "description": "The run's status after this commit."},
            GRAPH: {**_TEXT, "description": "The name of the run's graph."},
            STARTED: {"type": "string", "format": "date-time"},
            SEEN: {
                **_TEXT,
                "description": "The newest record of the run that had been folded; as `seen` in the body.",
            },
            ERROR: {**_TEXT, "description": "The code of the run's error."},
            UNCOMPENSATED: {
                **_TEXT,
                "description": "The executions that could not be undone, the first ten of them.",
            },
            ORIGIN: {**_TEXT, "description": "`<run>@<sequence>` it was forked from."},
            PENDING: {
                **_TEXT,
                "description": "How many requests about the run still wait for their outcome, if any do.",
            },
            WEBHOOK: {
                **_TEXT,
                "description": "`open` until the ended run's webhook has been told.",
            },
        },
        "required": [MSG_ID],
    },
    "moment": {
        "type": "object",
        "properties": {
            SET_FOR: {
                "type": "string",
                "format": "date-time",
                "description": "The moment that is meant; an interval has none.",
            },
            LATE: {**_TEXT, "description": "It had passed when the timer was set."},
        },
    },
    "report": {
        "type": "object",
        "properties": {MSG_ID: {**_TEXT, "description": "The id of the event in it."}},
        "required": [MSG_ID],
    },
}
